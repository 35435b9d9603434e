#include "quant/gguf.h"

#include <cstdio>
#include <filesystem>
#include <limits>
#include <utility>

#include "quant/gguf_parser.h"

namespace quorum::quant {
namespace {

Error InFile(const std::string& name, const Error& error) {
  return {error.code, name + ": " + error.message, error.param, error.reason};
}

// "-00001-of-00003.gguf", the ending that llama.cpp's gguf-split gives.
std::string SplitEnding(std::int64_t number, std::int64_t count) {
  char text[64];
  std::snprintf(text, sizeof text, "-%05lld-of-%05lld.gguf", static_cast<long long>(number),
                static_cast<long long>(count));
  return text;
}

std::string_view KindOf(const GgufValue& value) {
  constexpr std::string_view kKinds[] = {
      "a boolean",          "an integer",           "an unsigned integer",  "a float",
      "a string",           "an array of booleans", "an array of integers", "an array of floats",
      "an array of strings"};
  static_assert(std::size(kKinds) == std::variant_size_v<GgufValue>);
  return kKinds[value.index()];
}

Error WrongKind(const std::string& path, std::string_view key, const GgufValue& value, std::string_view wanted) {
  return InvalidArgument(path + ": key " + Quoted(key) + " is " + std::string(KindOf(value)) + ", not " +
                         std::string(wanted));
}

template <typename T>
Result<std::int64_t> PartNumber(const T& metadata, std::string_view key) {
  const auto found = metadata.find(key);
  const auto* value = found == metadata.end() ? nullptr : std::get_if<std::int64_t>(&found->second);
  if (value == nullptr) return DataLoss("key " + Quoted(key) + " is missing or no integer in a part of a split model");
  return *value;
}

}  // namespace

std::int64_t GgufTensor::elements() const {
  std::int64_t n = 1;
  for (const std::int64_t dim : dims) n *= dim;  // the parser checked that this fits
  return n;
}

Status GgufFile::Append(GgufPart part, const std::string& name) {
  if (paths_.empty()) {
    version_ = part.version;
    metadata_ = std::move(part.metadata);
    entries_ = std::move(part.entries);
  }
  paths_.push_back(name);
  file_bytes_ += part.bytes;
  for (GgufTensor& tensor : part.tensors) {
    if (!by_name_.emplace(tensor.name, tensors_.size()).second) {
      return DataLoss(name + ": tensor " + Quoted(tensor.name) + " is in another part of the model too");
    }
    tensors_.push_back(std::move(tensor));
  }
  return {};
}

Result<GgufFile> GgufFile::Parse(std::span<const std::byte> bytes, const std::string& name) {
  auto part = ParseGgufPart(bytes);
  if (!part.ok()) return InFile(name, part.error());
  GgufFile file;
  file.path_ = name;
  QUORUM_TRY(file.Append(std::move(part).value(), name));
  QUORUM_ASSIGN(const auto count, file.GetInt("split.count"));
  if (const std::int64_t parts = count.value_or(1); parts > 1) {
    return InvalidArgument(name + ": this is one of " + std::to_string(parts) + " parts of a split model");
  }
  return file;
}

Result<GgufFile> GgufFile::Open(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return InvalidArgument(path +
                           " is a folder, expected a GGUF file; 'quorum quantize' makes one of a Hugging Face folder");
  }
  QUORUM_ASSIGN(auto mapped, MappedFile::Open(path));
  auto part = ParseGgufPart(mapped.bytes());
  if (!part.ok()) return InFile(path, part.error());
  GgufFile file;
  file.path_ = path;
  file.files_.push_back(std::move(mapped));
  QUORUM_TRY(file.Append(std::move(part).value(), path));
  QUORUM_ASSIGN(const auto count, file.GetInt("split.count"));
  if (const std::int64_t parts = count.value_or(1); parts > 1) QUORUM_TRY(file.OpenSiblings(parts));
  return file;
}

Status GgufFile::OpenSiblings(std::int64_t count) {
  constexpr std::int64_t kMaxParts = 65535;  // split.count is 16 bits wide
  if (count > kMaxParts) return DataLoss(path_ + ": key 'split.count' is " + std::to_string(count));
  auto number = PartNumber(metadata_, "split.no");
  if (!number.ok()) return InFile(path_, number.error());
  if (*number != 0) {
    return InvalidArgument(path_ + ": this is part " + std::to_string(*number + 1) + " of a model split over " +
                           std::to_string(count) + " files: open the first, *" + SplitEnding(1, count));
  }
  const std::string ending = SplitEnding(1, count);
  if (!path_.ends_with(ending)) {
    return InvalidArgument(path_ + ": this is the first of " + std::to_string(count) +
                           " parts, so its name must end in " + ending + " for the others to be found");
  }
  const std::string stem = path_.substr(0, path_.size() - ending.size());
  for (std::int64_t i = 1; i < count; ++i) {
    const std::string name = stem + SplitEnding(i + 1, count);
    QUORUM_ASSIGN(auto mapped, MappedFile::Open(name));
    auto part = ParseGgufPart(mapped.bytes());
    if (!part.ok()) return InFile(name, part.error());
    const auto no = PartNumber(part->metadata, "split.no");
    if (!no.ok()) return InFile(name, no.error());
    const auto of = PartNumber(part->metadata, "split.count");
    if (!of.ok()) return InFile(name, of.error());
    if (*no != i || *of != count) {
      return DataLoss(name + ": the file says that it is part " + std::to_string(*no) + " of " + std::to_string(*of) +
                      " (counted from 0), its name says " + std::to_string(i) + " of " + std::to_string(count));
    }
    files_.push_back(std::move(mapped));
    QUORUM_TRY(Append(std::move(part).value(), name));
  }
  QUORUM_ASSIGN(const auto total, GetInt("split.tensors.count"));
  if (total && *total != static_cast<std::int64_t>(tensors_.size())) {
    return DataLoss(path_ + ": the parts hold " + std::to_string(tensors_.size()) + " tensors, key " +
                    "'split.tensors.count' says " + std::to_string(*total));
  }
  return {};
}

const GgufTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

Result<std::optional<std::int64_t>> GgufFile::GetInt(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::optional<std::int64_t>();
  if (const auto* value = std::get_if<std::int64_t>(&found->second)) return std::optional(*value);
  if (const auto* value = std::get_if<std::uint64_t>(&found->second)) {
    if (*value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return std::optional(static_cast<std::int64_t>(*value));
    }
    return InvalidArgument(path_ + ": key " + Quoted(key) + " is out of range: " + std::to_string(*value));
  }
  return WrongKind(path_, key, found->second, "an integer");
}

Result<std::optional<double>> GgufFile::GetFloat(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::optional<double>();
  if (const auto* value = std::get_if<double>(&found->second)) return std::optional(*value);
  if (const auto* value = std::get_if<std::int64_t>(&found->second)) return std::optional(static_cast<double>(*value));
  if (const auto* value = std::get_if<std::uint64_t>(&found->second)) {
    return std::optional(static_cast<double>(*value));
  }
  return WrongKind(path_, key, found->second, "a number");
}

Result<std::optional<bool>> GgufFile::GetBool(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::optional<bool>();
  if (const auto* value = std::get_if<bool>(&found->second)) return std::optional(*value);
  return WrongKind(path_, key, found->second, "a boolean");
}

Result<std::optional<std::string>> GgufFile::GetString(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::optional<std::string>();
  if (const auto* value = std::get_if<std::string>(&found->second)) return std::optional(*value);
  return WrongKind(path_, key, found->second, "a string");
}

Result<const std::vector<std::string>*> GgufFile::GetStrings(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return static_cast<const std::vector<std::string>*>(nullptr);
  if (const auto* value = std::get_if<std::vector<std::string>>(&found->second)) return value;
  return WrongKind(path_, key, found->second, "an array of strings");
}

Result<std::vector<std::int64_t>> GgufFile::GetInts(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::vector<std::int64_t>();
  if (const auto* values = std::get_if<std::vector<std::int64_t>>(&found->second)) return *values;
  if (const auto* values = std::get_if<std::vector<bool>>(&found->second)) {
    return std::vector<std::int64_t>(values->begin(), values->end());
  }
  if (!std::holds_alternative<std::int64_t>(found->second) && !std::holds_alternative<std::uint64_t>(found->second)) {
    return WrongKind(path_, key, found->second, "an array of integers");
  }
  QUORUM_ASSIGN(const auto one, GetInt(key));
  return std::vector<std::int64_t>{one.value_or(0)};  // it is there, and of the right kind
}

Result<std::vector<double>> GgufFile::GetFloats(std::string_view key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return std::vector<double>();
  if (const auto* values = std::get_if<std::vector<double>>(&found->second)) return *values;
  if (const auto* values = std::get_if<std::vector<std::int64_t>>(&found->second)) {
    return std::vector<double>(values->begin(), values->end());
  }
  const bool number = std::holds_alternative<double>(found->second) ||
                      std::holds_alternative<std::int64_t>(found->second) ||
                      std::holds_alternative<std::uint64_t>(found->second);
  if (!number) return WrongKind(path_, key, found->second, "an array of numbers");
  QUORUM_ASSIGN(const auto one, GetFloat(key));
  return std::vector<double>{one.value_or(0)};
}

void GgufFile::Release(std::span<const std::byte> part) const {
  for (const MappedFile& file : files_) {
    const auto bytes = file.bytes();
    const bool inside = part.data() >= bytes.data() && part.data() + part.size() <= bytes.data() + bytes.size();
    if (inside) file.Advise(part, false);
  }
}

Status GgufFile::CheckIntact() const {
  for (const MappedFile& file : files_) QUORUM_TRY(file.CheckIntact());
  return {};
}

}  // namespace quorum::quant
