#include <algorithm>
#include <limits>
#include <utility>

#include "engine/base/byte_reader.h"
#include "quant/gguf_parser.h"
#include "quant/json_value.h"
#include "quant/safetensors.h"

namespace quorum::quant {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr std::size_t kMaxAxes = 8;
constexpr std::int64_t kMaxBytes = std::numeric_limits<std::int64_t>::max() / 64;

struct TypeInfo {
  SafeType type;
  std::string_view name;
  std::int64_t bytes;
};

constexpr TypeInfo kTypes[] = {
    {SafeType::kBool, "BOOL", 1},      {SafeType::kU8, "U8", 1},          {SafeType::kI8, "I8", 1},
    {SafeType::kF8E4M3, "F8_E4M3", 1}, {SafeType::kF8E5M2, "F8_E5M2", 1}, {SafeType::kF8E8M0, "F8_E8M0", 1},
    {SafeType::kI16, "I16", 2},        {SafeType::kU16, "U16", 2},        {SafeType::kF16, "F16", 2},
    {SafeType::kBF16, "BF16", 2},      {SafeType::kI32, "I32", 4},        {SafeType::kU32, "U32", 4},
    {SafeType::kF32, "F32", 4},        {SafeType::kI64, "I64", 8},        {SafeType::kU64, "U64", 8},
    {SafeType::kF64, "F64", 8},
};

const TypeInfo& Info(SafeType type) { return kTypes[static_cast<std::size_t>(type)]; }

std::string Where(std::string_view tensor) { return "tensor " + Quoted(tensor) + ": "; }

Result<SafeType> ReadType(std::string_view tensor, const JsonValue& entry) {
  const JsonValue* value = entry.Find("dtype");
  const auto* name = value == nullptr ? nullptr : value->As<std::string>();
  if (name == nullptr)
    return DataLoss(Where(tensor) + "'dtype' is " + (value == nullptr ? "missing" : value->Describe()) +
                    ", expected a string");
  std::string known;
  for (const TypeInfo& info : kTypes) {
    if (info.name == *name) return info.type;
    known += (known.empty() ? "" : ", ") + std::string(info.name);
  }
  return Unsupported(Where(tensor) + "type " + Quoted(*name) + " is not read; known are " + known);
}

// The axes, and the number of bytes that they make.
Result<std::int64_t> ReadShape(const JsonValue& entry, SafeTensor& tensor) {
  const JsonValue* value = entry.Find("shape");
  const auto* axes = value == nullptr ? nullptr : value->As<JsonValue::Array>();
  if (axes == nullptr) {
    return DataLoss(Where(tensor.name) + "'shape' is " + (value == nullptr ? "missing" : value->Describe()) +
                    ", expected a list of numbers");
  }
  if (axes->size() > kMaxAxes) {
    return DataLoss(Where(tensor.name) + std::to_string(axes->size()) + " axes, expected up to " +
                    std::to_string(kMaxAxes));
  }
  std::int64_t bytes = Info(tensor.type).bytes;
  for (const JsonValue& axis : *axes) {
    const auto* size = axis.As<std::int64_t>();
    if (size == nullptr || *size < 0) {
      return DataLoss(Where(tensor.name) + "an axis of " + axis.Describe() + ", expected a whole number");
    }
    if (*size == 0) {
      bytes = 0;
    } else if (bytes > kMaxBytes / *size) {
      return DataLoss(Where(tensor.name) + "the axes make more elements than any file can hold");
    } else {
      bytes *= *size;
    }
    tensor.shape.push_back(*size);
  }
  return bytes;
}

struct Offsets {
  std::int64_t begin = 0, end = 0;
};

Result<Offsets> ReadOffsets(std::string_view tensor, const JsonValue& entry, std::int64_t room) {
  const JsonValue* value = entry.Find("data_offsets");
  const auto* list = value == nullptr ? nullptr : value->As<JsonValue::Array>();
  const auto* begin = list == nullptr || list->size() != 2 ? nullptr : list->front().As<std::int64_t>();
  const auto* end = begin == nullptr ? nullptr : list->back().As<std::int64_t>();
  if (end == nullptr) {
    return DataLoss(Where(tensor) + "'data_offsets' is " + (value == nullptr ? "missing" : value->Describe()) +
                    ", expected a list of two whole numbers");
  }
  if (*begin < 0 || *begin > *end || *end > room) {
    return DataLoss(Where(tensor) + "lies at bytes " + std::to_string(*begin) + " to " + std::to_string(*end) +
                    " of the data, but the file holds " + std::to_string(room) + " (is it cut off?)");
  }
  return Offsets{*begin, *end};
}

Result<SafeTensor> ReadTensor(const std::string& name, const JsonValue& entry, std::span<const std::byte> data) {
  SafeTensor tensor;
  tensor.name = name;
  if (name.empty()) return DataLoss("a tensor has an empty name");
  if (entry.As<JsonValue::Object>() == nullptr) {
    return DataLoss(Where(name) + "its entry is " + entry.Describe() + ", expected an object");
  }
  QUORUM_ASSIGN(tensor.type, ReadType(name, entry));
  QUORUM_ASSIGN(const std::int64_t bytes, ReadShape(entry, tensor));
  QUORUM_ASSIGN(const Offsets at, ReadOffsets(name, entry, std::ssize(data)));
  if (at.end - at.begin != bytes) {
    return DataLoss(Where(name) + tensor.Describe() + " takes " + std::to_string(bytes) +
                    " bytes, 'data_offsets' give it " + std::to_string(at.end - at.begin));
  }
  tensor.data = data.subspan(static_cast<std::size_t>(at.begin), static_cast<std::size_t>(bytes));
  return tensor;
}

// The format allows neither holes nor overlaps, so that a file can hide nothing.
Status CheckCover(std::vector<const SafeTensor*> tensors, std::span<const std::byte> data) {
  std::sort(tensors.begin(), tensors.end(), [](const SafeTensor* a, const SafeTensor* b) {
    return std::pair(a->data.data(), a->data.size()) < std::pair(b->data.data(), b->data.size());
  });
  const std::byte* at = data.data();
  const SafeTensor* last = nullptr;
  for (const SafeTensor* tensor : tensors) {
    if (tensor->data.data() != at) {
      const bool overlap = tensor->data.data() < at;
      return DataLoss(Where(tensor->name) + (overlap ? "overlaps " : "leaves a hole after ") +
                      (last == nullptr ? "the header" : "tensor " + Quoted(last->name)));
    }
    at += tensor->data.size();
    last = tensor;
  }
  if (at != data.data() + data.size()) {
    return DataLoss("the file has " + std::to_string(data.data() + data.size() - at) + " bytes after its last tensor");
  }
  return {};
}

}  // namespace

std::string_view NameOf(SafeType type) { return Info(type).name; }

std::int64_t BytesOf(SafeType type) { return Info(type).bytes; }

std::optional<DType> DTypeOf(SafeType type) {
  switch (type) {
    case SafeType::kF32: return DType::kF32;
    case SafeType::kF16: return DType::kF16;
    case SafeType::kBF16: return DType::kBF16;
    case SafeType::kF64: return DType::kF64;
    case SafeType::kI8: return DType::kI8;
    case SafeType::kI16: return DType::kI16;
    case SafeType::kI32: return DType::kI32;
    case SafeType::kI64: return DType::kI64;
    default: return std::nullopt;
  }
}

std::int64_t SafeTensor::elements() const {
  std::int64_t n = 1;
  for (const std::int64_t axis : shape) n *= axis;  // the parser checked that this fits
  return n;
}

std::string SafeTensor::Describe() const {
  std::string text = std::string(NameOf(type)) + " [";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

Result<std::vector<SafeTensor>> ParseSafetensors(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  QUORUM_ASSIGN(const auto length, reader.Read<std::uint64_t>("the length of the header"));
  constexpr std::string_view kLfs = "version https://git-lfs";
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with(kLfs)) {
    return InvalidArgument("this is a Git LFS pointer, not the weights themselves: fetch them with `git lfs pull`");
  }
  if (length > kMaxHeaderBytes) {
    return InvalidArgument("not a safetensors file: its first 8 bytes claim a header of " + std::to_string(length) +
                           " bytes, the limit is " + std::to_string(kMaxHeaderBytes));
  }
  QUORUM_ASSIGN(const auto header_bytes, reader.ReadBytes(length, "the header"));
  auto header = ParseJson({reinterpret_cast<const char*>(header_bytes.data()), header_bytes.size()});
  if (!header.ok()) return DataLoss("the header: " + header.error().message);
  const auto* entries = header->As<JsonValue::Object>();
  if (entries == nullptr) return DataLoss("the header is " + header->Describe() + ", expected an object");
  const std::span<const std::byte> data = bytes.subspan(reader.offset());
  std::vector<SafeTensor> tensors;
  tensors.reserve(entries->size());
  for (const auto& [name, entry] : *entries) {
    if (name == "__metadata__") {
      if (entry.As<JsonValue::Object>() == nullptr)
        return DataLoss("'__metadata__' is " + entry.Describe() + ", expected an object");
      continue;
    }
    QUORUM_ASSIGN(SafeTensor tensor, ReadTensor(name, entry, data));
    tensors.push_back(std::move(tensor));
  }
  std::vector<const SafeTensor*> places;
  for (const SafeTensor& tensor : tensors) places.push_back(&tensor);
  QUORUM_TRY(CheckCover(std::move(places), data));
  return tensors;
}

}  // namespace quorum::quant
