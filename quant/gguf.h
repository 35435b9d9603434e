// GGUF files (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), versions 2 and 3, little-endian.
// Every count, offset, length and size is checked before it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/base/mapped_file.h"
#include "engine/base/result.h"
#include "quant/dtype.h"

namespace quorum::quant {

/// One metadata value. Arrays of numbers are widened to int64 / double; arrays of arrays are refused.
using GgufValue = std::variant<bool, std::int64_t, std::uint64_t, double, std::string, std::vector<bool>,
                               std::vector<std::int64_t>, std::vector<double>, std::vector<std::string>>;

/// A tensor's place in the mapped file. `dims[0]` is the fastest axis (the row length K), as GGUF stores it:
/// a weight matrix of y = W x with W (n, k) has dims {k, n}; stacked experts {k, n, num_experts}.
struct GgufTensor {
  std::string name;
  DType type = DType::kF32;
  std::vector<std::int64_t> dims;
  std::span<const std::byte> data;

  std::int64_t elements() const;
  std::int64_t dim(std::size_t i) const { return i < dims.size() ? dims[i] : 1; }
};

/// GGUF's numbers for the types of metadata values.
enum class GgufType : std::uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

/// One metadata entry as the file stores it, for tools that copy it: `value` is its bytes, for an array with the
/// element type and the count in front. Points into the mapping.
struct GgufEntry {
  std::string key;
  GgufType type = GgufType::kUint8;
  std::span<const std::byte> value;
};

struct GgufPart;  // quant/gguf_parser.h

/// A read-only GGUF model, possibly split over several files (`-00001-of-0000N.gguf`, opened by the first).
/// Owns the mappings; tensors point into them. Immutable and thread-safe after opening.
class GgufFile {
 public:
  /// Opens and checks `path` and, for a split model, its siblings.
  /// Errors: kNotFound, kDataLoss (truncated, overlapping, out of range), kInvalidArgument (not a GGUF file),
  /// kUnsupported (version, big-endian, unknown type), each naming the file, the key or tensor, and the offset.
  static Result<GgufFile> Open(const std::string& path);
  /// The same from bytes that outlive the object, for tests and fuzzers.
  static Result<GgufFile> Parse(std::span<const std::byte> bytes, const std::string& name);

  const std::map<std::string, GgufValue, std::less<>>& metadata() const { return metadata_; }
  /// The same entries in the file's order, uninterpreted (a split model: the first file's).
  const std::vector<GgufEntry>& entries() const { return entries_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* FindTensor(std::string_view name) const;
  const std::string& path() const { return path_; }
  std::uint32_t version() const { return version_; }
  /// The files that the model is split over, the first one first; one when it is not split.
  const std::vector<std::string>& paths() const { return paths_; }
  /// Bytes of all those files.
  std::uint64_t file_bytes() const { return file_bytes_; }

  /// Typed look-ups: nothing when the key is absent, an error naming the key when it has another type or is out of
  /// range for the type asked for.
  Result<std::optional<std::int64_t>> GetInt(std::string_view key) const;
  Result<std::optional<double>> GetFloat(std::string_view key) const;
  Result<std::optional<bool>> GetBool(std::string_view key) const;
  Result<std::optional<std::string>> GetString(std::string_view key) const;
  /// The same for arrays; the pointer lives as long as the file.
  Result<const std::vector<std::string>*> GetStrings(std::string_view key) const;  // nullptr: absent
  Result<std::vector<std::int64_t>> GetInts(std::string_view key) const;  // empty: absent; a scalar is one; bools 0, 1
  Result<std::vector<double>> GetFloats(std::string_view key) const;  // empty: absent; a scalar is one; integers widen

  /// Tells the kernel that a tensor's bytes are no longer needed.
  void Release(const GgufTensor& tensor) const { Release(tensor.data); }
  void Release(std::span<const std::byte> part) const;
  /// Error kDataLoss when bytes of a file could not be read since it was opened (MappedFile::CheckIntact).
  Status CheckIntact() const;

 private:
  /// Takes over one parsed file: the first one's metadata, every one's tensors.
  Status Append(GgufPart part, const std::string& name);
  Status OpenSiblings(std::int64_t count);

  std::string path_;
  std::uint32_t version_ = 0;
  std::vector<std::string> paths_;
  std::uint64_t file_bytes_ = 0;
  std::vector<GgufEntry> entries_;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, std::size_t, std::less<>> by_name_;
  std::vector<MappedFile> files_;
};

}  // namespace quorum::quant
