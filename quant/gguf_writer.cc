#include "quant/gguf_writer.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/new_file.h"
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
  std::error_code none;
  if (std::filesystem::is_other(path, none)) return InvalidArgument(path + " is not a regular file");
  const std::uint64_t total = FileBytes();
  QUORUM_ASSIGN(auto file, NewFile::Create(path, replace));
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
