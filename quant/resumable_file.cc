#include "quant/resumable_file.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "engine/base/check.h"
#include "engine/base/mapped_file.h"
#include "engine/base/new_file.h"
#include "engine/base/units.h"
#include "quant/background_append.h"
#include "quant/gguf_parser.h"
#include "quant/gguf_writer.h"

namespace quorum::quant {
namespace {

constexpr std::size_t kPiece = std::size_t{4} << 20;
constexpr std::uint64_t kMostHead = std::uint64_t{64} << 20;  // metadata that is looked at

std::string ErrnoText() { return std::generic_category().message(errno); }

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  QUORUM_CHECK(context_ != nullptr &&
               EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

void Sha256::Add(std::span<const std::byte> bytes) {
  QUORUM_CHECK(EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size()) == 1);
}

std::string Sha256::Finish() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  QUORUM_CHECK(EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), digest, &size) == 1);
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

Result<ResumableFile> ResumableFile::Open(const std::string& path, bool replace) {
  struct stat info{};
  if (::stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return InvalidArgument(path + " is a folder");
    if (!S_ISREG(info.st_mode)) return InvalidArgument(path + " is not a regular file");
    if (!replace) return InvalidArgument(path + " exists already");
  }
  const std::string partial = path + ".partial";
  const int fd = ::open(partial.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (fd < 0) return InvalidArgument("cannot write " + partial + ": " + ErrnoText());
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    return Error{ErrorCode::kUnavailable, partial + " is being written by another program", {}, {}};
  }
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return InvalidArgument(partial + " is not a regular file");
  }
  return ResumableFile(path, fd, replace, static_cast<std::uint64_t>(info.st_size));
}

ResumableFile::ResumableFile(std::string path, int fd, bool replace, std::uint64_t size)
    : path_(std::move(path)), fd_(fd), replace_(replace), size_(size) {}

ResumableFile::ResumableFile(ResumableFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), replace_(other.replace_), size_(other.size_) {}

ResumableFile::~ResumableFile() {
  if (fd_ < 0) return;
  if (size_ == 0) ::unlink((path_ + ".partial").c_str());  // nothing to go on with
  ::close(fd_);
}

Error ResumableFile::Failed(const std::string& why) const {
  return InvalidArgument("cannot write " + path_ + ".partial: " + why);
}

Status ResumableFile::Read(std::uint64_t at, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return DataLoss(path_ + ".partial: cannot read it at byte " + std::to_string(at));
    at += static_cast<std::uint64_t>(n);
    out = out.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Status ResumableFile::Hash(std::uint64_t begin, std::uint64_t end, Sha256& hash) const {
  std::vector<std::byte> room(kPiece);
  while (begin < end) {
    const auto piece = std::span(room).first(static_cast<std::size_t>(std::min<std::uint64_t>(end - begin, kPiece)));
    QUORUM_TRY(Read(begin, piece));
    hash.Add(piece);
    begin += piece.size();
  }
  return {};
}

Status ResumableFile::Truncate(std::uint64_t size) {
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) return Failed(ErrnoText());
  size_ = size;
  return {};
}

Status ResumableFile::WriteAt(std::uint64_t at, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Failed(ErrnoText());
    if (n == 0) return Failed("the system took no bytes");
    at += static_cast<std::uint64_t>(n);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Status ResumableFile::Append(std::span<const std::byte> bytes) {
  QUORUM_TRY(WriteAt(size_, bytes));
  // The disk begins now, so that Sync has little left to wait for. Only a hint: its failure is Sync's to tell.
  ::sync_file_range(fd_, static_cast<off_t>(size_), static_cast<off_t>(bytes.size()), SYNC_FILE_RANGE_WRITE);
  size_ += bytes.size();
  return {};
}

Status ResumableFile::Overwrite(std::uint64_t at, std::span<const std::byte> bytes) {
  QUORUM_CHECK(at + bytes.size() <= size_);
  return WriteAt(at, bytes);
}

Status ResumableFile::Sync() { return ::fsync(fd_) == 0 ? Status() : Failed(ErrnoText()); }

Status ResumableFile::Publish() {
  const int error = GiveName(path_ + ".partial", path_, replace_);
  if (error == EEXIST) return InvalidArgument(path_ + " exists already");
  if (error != 0) return Failed(ErrnoText());
  ::close(std::exchange(fd_, -1));
  return {};
}

Status VerifyWritten(const std::string& path, std::uint64_t bytes, const std::string& checksum) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return InvalidArgument("cannot read " + path + ": " + ErrnoText());
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
  QUORUM_ASSIGN(const MappedFile file, MappedFile::Open(path));
  Sha256 hash;
  if (bytes <= file.bytes().size()) hash.Add(file.bytes().last(bytes));
  QUORUM_TRY(file.CheckIntact());
  if (bytes <= file.bytes().size() && hash.Finish() == checksum) return {};
  return DataLoss(path + " does not hold what was written: the disk or its memory is faulty");
}

// ---------------------------------------------------------------- GgufWriter

/// What tells the file that `head` begins from this one, for people.
std::string GgufWriter::DifferenceFrom(std::span<const std::byte> head) const {
  const auto part = ParseGgufHead(head);
  if (!part.ok()) return "it is no unfinished model (" + part.error().message + ")";
  const auto shown = [](GgufType type, std::span<const std::byte> value) {
    constexpr std::size_t kLength = sizeof(std::uint64_t);  // before a string
    if (type != GgufType::kString || value.size() < kLength) return std::string();
    const auto text = value.subspan(kLength);
    return Quoted({reinterpret_cast<const char*>(text.data()), text.size()});
  };
  std::string other;
  for (const Entry& entry : entries_) {
    const auto found = std::ranges::find(part->entries, entry.key, &GgufEntry::key);
    const auto value = std::as_bytes(std::span(entry.value));
    if (found != part->entries.end() && found->type == entry.type && std::ranges::equal(found->value, value)) continue;
    std::string what = "its " + entry.key + " is ";
    what += found == part->entries.end()       ? "missing"
            : shown(entry.type, value).empty() ? "another"
                                               : shown(found->type, found->value);
    if (const std::string now = shown(entry.type, value); !now.empty()) what += ", now it is " + now;
    if (entry.key.starts_with("quorum.")) return what;  // the command's own: what people know
    if (other.empty()) other = std::move(what);
  }
  for (const GgufEntry& entry : part->entries) {
    if (std::ranges::find(entries_, entry.key, &Entry::key) == entries_.end()) return "it has " + entry.key;
  }
  return other.empty() ? "its tensors have other types or sizes" : other;
}

Result<std::string> GgufWriter::WriteResumable(const std::string& path, bool replace, std::string_view checksum_key,
                                               const Progress& progress, const Note& note) {
  SetString(checksum_key, std::string(64, '0'));
  QUORUM_TRY(CheckNames());
  const std::uint64_t alignment = Alignment();
  const std::string header = Header();
  const auto head = std::as_bytes(std::span(header));
  const std::uint64_t total = FileBytes();
  QUORUM_ASSIGN(auto file, ResumableFile::Open(path, replace));

  // How much of it is there already: whole tensors behind the very same header.
  std::size_t first = 0;
  std::uint64_t kept = 0;
  std::vector<std::byte> found(std::min<std::uint64_t>(file.size(), head.size()));
  QUORUM_TRY(file.Read(0, found));
  const bool same = std::ranges::equal(found, head.first(found.size()));
  if (same && found.size() == head.size()) {
    kept = head.size();
    while (first < tensors_.size()) {
      const std::uint64_t padded = (tensors_[first].bytes + alignment - 1) / alignment * alignment;
      if (kept + padded > file.size()) break;
      kept += padded;
      ++first;
    }
  }
  if (note && first > 0) {
    note(fmt::format("{}.partial holds {} of {} tensors already: going on behind them", path, first, tensors_.size()));
  } else if (note && !same) {
    found.resize(std::min<std::uint64_t>(file.size(), kMostHead));
    QUORUM_TRY(file.Read(0, found));
    note(fmt::format("{}.partial ({}) cannot be gone on with, so it is made anew: {}", path, FormatBytes(file.size()),
                     DifferenceFrom(found)));
  }
  QUORUM_TRY(file.Truncate(kept));
  Sha256 hash;
  if (kept == 0) {
    QUORUM_TRY(file.Append(head));
  } else {
    QUORUM_TRY(file.Hash(head.size(), kept, hash));
  }
  std::uint64_t made = file.size();
  std::uint64_t told = 0;
  const auto tell = [&]() -> Status {
    told = made;
    if (!progress || progress(made, total)) return {};
    return Error{ErrorCode::kCancelled,
                 "writing " + path + " was interrupted; the same command goes on from " + path + ".partial",
                 {},
                 {}};
  };
  BackgroundAppend background(file, hash);
  const Sink sink = [&](std::span<const std::byte> bytes) -> Status {
    QUORUM_TRY(background.Add(bytes));
    made += bytes.size();
    return made - told >= kPiece ? tell() : Status();
  };
  Status emitted;
  for (std::size_t i = first; i < tensors_.size() && emitted.ok(); ++i) {
    emitted = EmitTensor(tensors_[i], alignment, sink);
  }
  if (emitted.ok()) emitted = tell();
  const Status written = background.Finish();  // of an interrupted run too: a later one goes on from there
  QUORUM_TRY(std::move(emitted));
  QUORUM_TRY(written);
  const std::string checksum = hash.Finish();
  QUORUM_CHECK(file.size() == total);
  SetString(checksum_key, checksum);
  const std::string final_header = Header();
  QUORUM_TRY(file.Overwrite(0, std::as_bytes(std::span(final_header))));
  QUORUM_TRY(file.Sync());
  QUORUM_TRY(file.Publish());
  return checksum;
}

}  // namespace quorum::quant
