#include "engine/base/mapped_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace quorum {

/// One entry of a list that only grows: a signal handler can walk it at any time. A free entry has no bytes.
struct MappedFile::Guard {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::atomic<bool> damaged{false};
  std::atomic<bool> taken{false};
  Guard* next = nullptr;

  static std::atomic<Guard*> first;
  static struct sigaction before;

  static void OnBusError(int, siginfo_t* info, void*) {
    const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
    for (Guard* guard = first.load(); guard != nullptr; guard = guard->next) {
      const std::uintptr_t end = guard->end.load();
      if (at < guard->begin.load() || at >= end) continue;
      // All that lies behind is gone too: zeros in its place, down to the mapping's end.
      constexpr std::uintptr_t kPage = 4096;
      void* const page = reinterpret_cast<void*>(at / kPage * kPage);
      const int saved = errno;
      const void* zeros = ::mmap(page, end - at / kPage * kPage, PROT_READ,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
      errno = saved;
      if (zeros == MAP_FAILED) break;
      guard->damaged.store(true);
      return;
    }
    ::sigaction(SIGBUS, &before, nullptr);  // not ours: the access happens again and meets whoever was here before
  }

  static Guard* Take(const void* data, std::size_t size) {
    static std::once_flag installed;
    std::call_once(installed, [] {
      struct sigaction action{};
      action.sa_sigaction = OnBusError;
      action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
      ::sigaction(SIGBUS, &action, &before);
    });
    Guard* guard = first.load();
    while (guard != nullptr && guard->taken.exchange(true)) guard = guard->next;
    if (guard == nullptr) {
      guard = new Guard;  // never freed: the handler may be looking at it
      guard->taken.store(true);
      guard->next = first.load();
      while (!first.compare_exchange_weak(guard->next, guard)) {
      }
    }
    guard->damaged.store(false);
    guard->begin.store(reinterpret_cast<std::uintptr_t>(data));
    guard->end.store(reinterpret_cast<std::uintptr_t>(data) + size);
    return guard;
  }

  void Free() {
    end.store(0);
    begin.store(0);
    taken.store(false);
  }
};

std::atomic<MappedFile::Guard*> MappedFile::Guard::first{nullptr};
struct sigaction MappedFile::Guard::before{};

namespace {

std::map<std::string, std::string>& Names() {
  static std::map<std::string, std::string> names;
  return names;
}

}  // namespace

void MappedFile::Name(const std::string& name, const std::string& path) { Names()[name] = path; }

Result<MappedFile> MappedFile::Open(const std::string& path) {
  const auto named = Names().find(path);
  const std::string& real = named == Names().end() ? path : named->second;
  const int fd = ::open(real.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO would wait for its writer
  if (fd < 0) {
    const std::string why = std::strerror(errno);
    if (errno == ENOENT) return NotFound("cannot open " + path + ": " + why);
    return InvalidArgument("cannot open " + path + ": " + why);
  }
  struct stat info{};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return InvalidArgument(path + " is not a regular file");
  }
  if (info.st_size == 0) {
    ::close(fd);
    return InvalidArgument(path + " is empty");
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  ::close(fd);
  if (data == MAP_FAILED) return Internal("cannot map " + path + ": " + std::strerror(errno));
  return MappedFile(path, data, size);
}

MappedFile::MappedFile(std::string path, void* data, std::size_t size)
    : path_(std::move(path)), data_(data), size_(size), guard_(Guard::Take(data, size)) {}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      guard_(std::exchange(other.guard_, nullptr)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(guard_, other.guard_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  ::munmap(data_, size_);
  guard_->Free();
}

Status MappedFile::CheckIntact() const {
  if (guard_ == nullptr || !guard_->damaged.load()) return {};
  return DataLoss(path_ + ": the file became shorter, or could not be read, while it was being loaded");
}

void MappedFile::Advise(std::span<const std::byte> part, bool will_need) const {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  if (part.empty()) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(part.data()) / page * page;
  // Whole pages, those at the edges too: what is dropped and read once more comes back from the file.
  const auto end = (reinterpret_cast<std::uintptr_t>(part.data()) + part.size() + page - 1) / page * page;
  ::madvise(reinterpret_cast<void*>(begin), end - begin, will_need ? MADV_WILLNEED : MADV_DONTNEED);
}

}  // namespace quorum
