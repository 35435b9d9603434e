#include "engine/base/new_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

namespace quorum {
namespace {

constexpr std::size_t kGathered = std::size_t{64} << 10;

// What errno says, without strerror's shared buffer.
std::string ErrnoText() { return std::generic_category().message(errno); }

Error CannotWrite(const std::string& path, const std::string& why) {
  return InvalidArgument("cannot write " + path + ": " + why);
}

}  // namespace

int GiveName(const std::string& temporary, const std::string& path, bool replace) {
  if (!replace) {
    if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) return 0;
    if (errno == EEXIST) return EEXIST;  // else the file system may only know rename
  }
  return ::rename(temporary.c_str(), path.c_str()) == 0 ? 0 : errno;
}

Result<NewFile> NewFile::Create(const std::string& path, bool replace) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) == 0) {
    const bool leads_somewhere = ::stat(path.c_str(), &info) == 0;  // unlike some links
    if (leads_somewhere && S_ISDIR(info.st_mode)) return InvalidArgument(path + " is a folder");
    if (leads_somewhere && !S_ISREG(info.st_mode)) {
      const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
      if (fd < 0) return CannotWrite(path, ErrnoText());
      return NewFile(path, {}, fd, replace);
    }
    if (!replace) return InvalidArgument(path + " exists already");
  }
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::string name = path + ".partial-" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
    const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) return NewFile(path, std::move(name), fd, replace);
    if (errno != EEXIST) return CannotWrite(path, ErrnoText());
  }
  return CannotWrite(path, "many unfinished " + path + ".partial-* lie beside it");
}

NewFile::NewFile(std::string path, std::string name, int fd, bool replace)
    : path_(std::move(path)), name_(std::move(name)), fd_(fd), replace_(replace) {}

NewFile::NewFile(NewFile&& other) noexcept
    : path_(std::move(other.path_)),
      name_(std::exchange(other.name_, {})),
      fd_(std::exchange(other.fd_, -1)),
      replace_(other.replace_),
      gathered_(std::move(other.gathered_)) {}

NewFile::~NewFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!name_.empty()) ::unlink(name_.c_str());
}

Error NewFile::Failed(const std::string& why) const { return CannotWrite(path_, why); }

Status NewFile::Reserve(std::uint64_t bytes) {
  if (bytes > 0 && ::fallocate(fd_, 0, 0, static_cast<off_t>(bytes)) != 0 && errno == ENOSPC) {
    return Failed("no room for " + std::to_string(bytes) + " bytes");
  }
  return {};
}

Status NewFile::WriteAll(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed(ErrnoText());
    if (n == 0) return Failed("the system took no bytes");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Status NewFile::Flush() {
  QUORUM_TRY(WriteAll(gathered_));
  gathered_.clear();
  return {};
}

Status NewFile::Write(std::span<const std::byte> bytes) {
  if (gathered_.size() + bytes.size() > kGathered) QUORUM_TRY(Flush());
  if (bytes.size() > kGathered) return WriteAll(bytes);
  gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
  return {};
}

Status NewFile::Publish() {
  QUORUM_TRY(Flush());
  if (!name_.empty() && ::fsync(fd_) != 0) return Failed(ErrnoText());
  if (::close(std::exchange(fd_, -1)) != 0) return Failed(ErrnoText());
  if (name_.empty()) return {};
  const int error = GiveName(name_, path_, replace_);
  if (error == EEXIST) return InvalidArgument(path_ + " exists already");
  if (error != 0) return Failed(ErrnoText());
  name_.clear();
  return {};
}

}  // namespace quorum
