// Safetensors files (https://github.com/huggingface/safetensors, "Format"): 8 bytes with the length of a JSON header,
// the header, then the tensors' bytes without holes or overlaps. And models split over several of them by an index.
// Every count, offset, length and size is checked before it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/mapped_file.h"
#include "engine/base/result.h"
#include "quant/dtype.h"

namespace quorum::quant {

/// Element types of safetensors that Quorum knows.
enum class SafeType : std::uint8_t {
  kBool,
  kU8,
  kI8,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kI64,
  kU64,
  kF64,
};

std::string_view NameOf(SafeType type);  // as the header spells it: "BF16"
std::int64_t BytesOf(SafeType type);     // of one element
/// The GGML type with the same bytes, for floats and signed integers.
std::optional<DType> DTypeOf(SafeType type);

/// A tensor's place in the mapped file. `shape[0]` is the slowest axis: a weight matrix of y = W x with W (n, k) has
/// shape {n, k}. No axes: one element.
struct SafeTensor {
  std::string name;
  SafeType type = SafeType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
  std::size_t file = 0;  // index into SafetensorsModel::paths()

  std::int64_t elements() const;
  /// "BF16 [4, 32]", for messages.
  std::string Describe() const;
};

/// The tensors of a folder: `model.safetensors`, else the files that `model.safetensors.index.json` names. Owns the
/// mappings; tensors point into them. Immutable and thread-safe after opening.
class SafetensorsModel {
 public:
  /// Errors: kNotFound (no weights, a missing shard), kDataLoss (truncated, overlapping, out of range, a tensor that
  /// the index promises but the shard lacks), kInvalidArgument (no safetensors file or index), kUnsupported (element
  /// type), each naming the file and the tensor.
  static Result<SafetensorsModel> Open(const std::string& folder);
  /// One file's bytes, which outlive the object, for tests and fuzzers.
  static Result<SafetensorsModel> Parse(std::span<const std::byte> bytes, const std::string& name);

  const std::map<std::string, SafeTensor, std::less<>>& tensors() const { return tensors_; }
  const SafeTensor* Find(std::string_view name) const;
  /// The folder, or the name given to Parse.
  const std::string& path() const { return path_; }
  const std::vector<std::string>& paths() const { return paths_; }
  std::uint64_t file_bytes() const { return file_bytes_; }

  /// Calls every tensor named `from`... `to`... instead, unless there is one of that name. Messages about the file
  /// itself keep the old names.
  void RenamePrefix(std::string_view from, std::string_view to);
  /// Forgets every tensor for which `drop(name)` holds; how many that were.
  std::size_t Drop(const std::function<bool(std::string_view)>& drop);

  /// Tells the kernel that some bytes of a tensor are no longer needed.
  void Release(std::span<const std::byte> part) const;
  /// Error kDataLoss when bytes of a file could not be read since it was opened (MappedFile::CheckIntact).
  Status CheckIntact() const;

 private:
  Status OpenFile(const std::string& path);
  Status OpenShards(const std::string& index_path);

  std::string path_;
  std::vector<std::string> paths_;
  std::uint64_t file_bytes_ = 0;
  std::map<std::string, SafeTensor, std::less<>> tensors_;
  std::vector<MappedFile> files_;
};

/// Parses and checks one file. Errors say what and where in it; the caller adds the file's name.
Result<std::vector<SafeTensor>> ParseSafetensors(std::span<const std::byte> bytes);

/// The `weight_map` of an index: tensor name -> file name. Errors as SafetensorsModel::Open, without the file's name.
Result<std::map<std::string, std::string>> ParseSafetensorsIndex(std::string_view text);

}  // namespace quorum::quant
