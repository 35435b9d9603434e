#include "quant/gguf_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>
#include <system_error>
#include <utility>

#include "engine/base/check.h"
#include "quant/gguf_parser.h"

namespace quorum::quant {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{8} << 20;  // between two calls of Progress

template <typename T>
void Append(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

void AppendString(std::string& out, std::string_view text) {
  Append<std::uint64_t>(out, text.size());
  out.append(text);
}

std::string ArrayHead(GgufType type, std::size_t count) {
  std::string out;
  Append(out, static_cast<std::uint32_t>(type));
  Append<std::uint64_t>(out, count);
  return out;
}

template <typename T>
std::string NumberBytes(T value) {
  std::string out;
  Append(out, value);
  return out;
}

std::span<const std::byte> AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::uint64_t PadTo(std::uint64_t n, std::uint64_t alignment) { return (n + alignment - 1) / alignment * alignment; }

// What errno says, without strerror's shared buffer.
std::string ErrnoText() { return std::generic_category().message(errno); }

// A file that has no final name yet; removed again unless it gets one.
class PartialFile {
 public:
  static Result<PartialFile> Create(const std::string& path, bool replace) {
    struct stat info{};
    if (::lstat(path.c_str(), &info) == 0) {
      if (S_ISDIR(info.st_mode)) return InvalidArgument(path + " is a folder");
      if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode)) return InvalidArgument(path + " is not a regular file");
      if (!replace) return InvalidArgument(path + " exists already");
    }
    for (int attempt = 0; attempt < 100; ++attempt) {
      std::string name = path + ".partial-" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
      const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd >= 0) return PartialFile(path, std::move(name), fd, replace);
      if (errno != EEXIST) return InvalidArgument("cannot write " + path + ": " + ErrnoText());
    }
    return InvalidArgument("cannot write " + path + ": many unfinished " + path + ".partial-* lie beside it");
  }

  PartialFile(PartialFile&& other) noexcept
      : path_(std::move(other.path_)),
        name_(std::exchange(other.name_, {})),
        fd_(std::exchange(other.fd_, -1)),
        replace_(other.replace_) {}
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;
  PartialFile& operator=(PartialFile&&) = delete;
  ~PartialFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!name_.empty()) ::unlink(name_.c_str());
  }

  // Claims the room at once where the file system can, so that a full disk shows before the work is done.
  Status Reserve(std::uint64_t bytes) {
    if (bytes > 0 && ::fallocate(fd_, 0, 0, static_cast<off_t>(bytes)) != 0 && errno == ENOSPC) {
      return Failed("no room for " + std::to_string(bytes) + " bytes");
    }
    return {};
  }

  Status Write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Failed(ErrnoText());
      if (n == 0) return Failed("the system took no bytes");
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return {};
  }

  Status Publish() {
    if (::fsync(fd_) != 0) return Failed(ErrnoText());
    const int closed = ::close(std::exchange(fd_, -1));
    if (closed != 0) return Failed(ErrnoText());
    int renamed = -1;
    if (!replace_) {  // another program may have made the file meanwhile: then it is theirs
      renamed = ::renameat2(AT_FDCWD, name_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE);
      if (renamed != 0 && errno == EEXIST) return InvalidArgument(path_ + " exists already");
    }
    if (renamed != 0 && ::rename(name_.c_str(), path_.c_str()) != 0) return Failed(ErrnoText());
    name_.clear();
    return {};
  }

 private:
  PartialFile(std::string path, std::string name, int fd, bool replace)
      : path_(std::move(path)), name_(std::move(name)), fd_(fd), replace_(replace) {}

  Error Failed(const std::string& why) const { return InvalidArgument("cannot write " + path_ + ": " + why); }

  std::string path_;
  std::string name_;
  int fd_;
  bool replace_;
};

}  // namespace

void GgufWriter::SetUint32(std::string_view key, std::uint32_t value) {
  SetRaw(key, GgufType::kUint32, AsBytes(NumberBytes(value)));
}
void GgufWriter::SetUint64(std::string_view key, std::uint64_t value) {
  SetRaw(key, GgufType::kUint64, AsBytes(NumberBytes(value)));
}
void GgufWriter::SetFloat32(std::string_view key, float value) {
  SetRaw(key, GgufType::kFloat32, AsBytes(NumberBytes(value)));
}
void GgufWriter::SetBool(std::string_view key, bool value) {
  SetRaw(key, GgufType::kBool, AsBytes(NumberBytes<std::uint8_t>(value ? 1 : 0)));
}

void GgufWriter::SetString(std::string_view key, std::string_view value) {
  std::string bytes;
  AppendString(bytes, value);
  SetRaw(key, GgufType::kString, AsBytes(bytes));
}

void GgufWriter::SetStrings(std::string_view key, const std::vector<std::string>& values) {
  std::string bytes = ArrayHead(GgufType::kString, values.size());
  for (const std::string& value : values) AppendString(bytes, value);
  SetRaw(key, GgufType::kArray, AsBytes(bytes));
}

void GgufWriter::SetInt32s(std::string_view key, const std::vector<std::int32_t>& values) {
  std::string bytes = ArrayHead(GgufType::kInt32, values.size());
  for (const std::int32_t value : values) Append(bytes, value);
  SetRaw(key, GgufType::kArray, AsBytes(bytes));
}

void GgufWriter::SetFloat32s(std::string_view key, const std::vector<float>& values) {
  std::string bytes = ArrayHead(GgufType::kFloat32, values.size());
  for (const float value : values) Append(bytes, value);
  SetRaw(key, GgufType::kArray, AsBytes(bytes));
}

void GgufWriter::SetRaw(std::string_view key, GgufType type, std::span<const std::byte> value) {
  std::string bytes(reinterpret_cast<const char*>(value.data()), value.size());
  for (Entry& entry : entries_) {
    if (entry.key != key) continue;
    entry.type = type;
    entry.value = std::move(bytes);
    return;
  }
  entries_.push_back({std::string(key), type, std::move(bytes)});
}

void GgufWriter::Erase(std::string_view key) {
  std::erase_if(entries_, [key](const Entry& entry) { return entry.key == key; });
}

void GgufWriter::AddTensor(std::string name, DType type, std::vector<std::int64_t> dims,
                           std::span<const std::byte> data) {
  AddTensor(std::move(name), type, std::move(dims), [data](const Sink& sink) -> Status {
    for (std::size_t at = 0; at < data.size(); at += kChunkBytes) {
      QUORUM_TRY(sink(data.subspan(at, std::min(kChunkBytes, data.size() - at))));
    }
    return {};
  });
}

void GgufWriter::AddTensor(std::string name, DType type, std::vector<std::int64_t> dims, Source source) {
  QUORUM_CHECK(dims.size() <= 4 && (dims.empty() ? 1 : dims[0]) % Info(type).block == 0);
  std::int64_t elements = 1;
  for (const std::int64_t dim : dims) QUORUM_CHECK(dim > 0 && !__builtin_mul_overflow(elements, dim, &elements));
  const auto bytes = static_cast<std::uint64_t>(BytesOf(type, elements));
  tensors_.push_back({std::move(name), type, std::move(dims), bytes, std::move(source)});
}

std::uint64_t GgufWriter::Alignment() const {
  for (const Entry& entry : entries_) {
    if (entry.key != "general.alignment") continue;
    QUORUM_CHECK(entry.type == GgufType::kUint32 && entry.value.size() == sizeof(std::uint32_t));
    std::uint32_t alignment;
    std::memcpy(&alignment, entry.value.data(), sizeof alignment);
    QUORUM_CHECK(alignment >= 8 && (alignment & (alignment - 1)) == 0);
    return alignment;
  }
  return kGgufDefaultAlignment;
}

std::string GgufWriter::Header() const {
  const std::uint64_t alignment = Alignment();
  std::string out;
  Append(out, kGgufMagic);
  Append<std::uint32_t>(out, 3);
  Append<std::uint64_t>(out, tensors_.size());
  Append<std::uint64_t>(out, entries_.size());
  for (const Entry& entry : entries_) {
    AppendString(out, entry.key);
    Append(out, static_cast<std::uint32_t>(entry.type));
    out += entry.value;
  }
  std::uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    AppendString(out, tensor.name);
    Append(out, static_cast<std::uint32_t>(tensor.dims.size()));
    for (const std::int64_t dim : tensor.dims) Append(out, dim);
    Append(out, static_cast<std::uint32_t>(tensor.type));
    Append(out, offset);
    offset += PadTo(tensor.bytes, alignment);
  }
  out.append(PadTo(out.size(), alignment) - out.size(), '\0');
  return out;
}

std::uint64_t GgufWriter::DataBytes() const {
  std::uint64_t bytes = 0;
  for (const Tensor& tensor : tensors_) bytes += PadTo(tensor.bytes, Alignment());
  return bytes;
}

std::uint64_t GgufWriter::FileBytes() const { return Header().size() + DataBytes(); }

Status GgufWriter::CheckNames() const {
  std::set<std::string_view> names;
  for (const Tensor& tensor : tensors_) {
    if (tensor.name.empty() || !names.insert(tensor.name).second) {
      return InvalidArgument("tensor " + Quoted(tensor.name) + " has no name or the name of another");
    }
  }
  return {};
}

Status GgufWriter::EmitTensor(const Tensor& tensor, std::uint64_t alignment, const Sink& sink) const {
  std::uint64_t left = tensor.bytes;
  const Sink counted = [&](std::span<const std::byte> bytes) -> Status {
    if (bytes.size() > left) return Internal("tensor " + Quoted(tensor.name) + " got more bytes than it has");
    left -= bytes.size();
    return sink(bytes);
  };
  QUORUM_TRY(tensor.source(counted));
  if (left > 0) {
    return Internal("tensor " + Quoted(tensor.name) + " lacks " + std::to_string(left) + " of its bytes");
  }
  const std::string padding(PadTo(tensor.bytes, alignment) - tensor.bytes, '\0');
  return padding.empty() ? Status() : sink(AsBytes(padding));
}

Status GgufWriter::Emit(const Sink& sink) const {
  QUORUM_TRY(sink(AsBytes(Header())));
  for (const Tensor& tensor : tensors_) QUORUM_TRY(EmitTensor(tensor, Alignment(), sink));
  return {};
}

Status GgufWriter::Write(const std::string& path, bool replace, const Progress& progress) const {
  QUORUM_TRY(CheckNames());
  const std::uint64_t total = FileBytes();
  QUORUM_ASSIGN(auto file, PartialFile::Create(path, replace));
  QUORUM_TRY(file.Reserve(total));
  std::uint64_t done = 0;
  std::uint64_t told = 0;
  const Sink to_file = [&](std::span<const std::byte> bytes) -> Status {
    QUORUM_TRY(file.Write(bytes));
    done += bytes.size();
    if (progress && (done - told >= kChunkBytes || done == total)) {
      told = done;
      if (!progress(done, total)) return Error{ErrorCode::kCancelled, "writing " + path + " was cancelled", {}, {}};
    }
    return {};
  };
  QUORUM_TRY(Emit(to_file));
  return file.Publish();
}

Result<std::vector<std::byte>> GgufWriter::ToBytes() const {
  QUORUM_TRY(CheckNames());
  std::vector<std::byte> out;
  QUORUM_TRY(Emit([&out](std::span<const std::byte> bytes) -> Status {
    out.insert(out.end(), bytes.begin(), bytes.end());
    return {};
  }));
  return out;
}

}  // namespace quorum::quant
