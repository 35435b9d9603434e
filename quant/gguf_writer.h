// Writes GGUF version 3 files (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) as a stream: a tensor's
// data is copied from a span or made piece by piece by a callback, so nothing large is held in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "quant/dtype.h"
#include "quant/gguf.h"

namespace quorum::quant {

/// Collects metadata and the list of tensors, then writes them in the order in which they were added.
/// Not thread-safe. Spans and what callbacks refer to must live until the file is written.
class GgufWriter {
 public:
  /// Takes the next bytes of what is being written.
  using Sink = std::function<Status(std::span<const std::byte>)>;
  /// Makes a tensor's data by calling the sink any number of times, in all for exactly the tensor's size.
  using Source = std::function<Status(const Sink& sink)>;
  /// Called now and then with the bytes written and the bytes to write; returning false cancels.
  using Progress = std::function<bool(std::uint64_t done, std::uint64_t total)>;
  /// Told of what people should know, a sentence each.
  using Note = std::function<void(const std::string&)>;

  // Each sets a metadata key. A key that is there already keeps its place and gets the new value.
  // `general.alignment` (uint32, a power of two) also sets the alignment of the data; 32 without it.
  void SetUint32(std::string_view key, std::uint32_t value);
  void SetUint64(std::string_view key, std::uint64_t value);
  void SetFloat32(std::string_view key, float value);
  void SetBool(std::string_view key, bool value);
  void SetString(std::string_view key, std::string_view value);
  void SetStrings(std::string_view key, const std::vector<std::string>& values);
  void SetInt32s(std::string_view key, const std::vector<std::int32_t>& values);
  void SetFloat32s(std::string_view key, const std::vector<float>& values);
  /// An entry as GgufFile::entries() gives it.
  void SetRaw(std::string_view key, GgufType type, std::span<const std::byte> value);
  void Erase(std::string_view key);

  /// Adds a tensor; dims[0] is the row length, as in GgufTensor. Its data is `data`, or what `source` makes.
  void AddTensor(std::string name, DType type, std::vector<std::int64_t> dims, std::span<const std::byte> data);
  void AddTensor(std::string name, DType type, std::vector<std::int64_t> dims, Source source);

  /// Bytes of the whole file.
  std::uint64_t FileBytes() const;
  /// Of it the tensors with their padding, all behind the metadata.
  std::uint64_t DataBytes() const;

  /// Writes the file under a temporary name beside `path`, then gives it its name in one step, so `path` never holds
  /// half a model. Whatever fails (disk full, a source, cancelling) is an error and leaves no file behind.
  /// Errors: kInvalidArgument (`path` exists and `replace` is false, or is no regular file, or cannot be written;
  /// two tensors of one name), kCancelled, kInternal (a source that makes too few or too many bytes), and a source's
  /// own.
  Status Write(const std::string& path, bool replace, const Progress& progress = {}) const;

  /// Writes a file that takes long: under `path`.partial, which stays when the work is interrupted or fails and where a
  /// later call with the same metadata and tensors goes on behind the last whole tensor. Beforehand the string of
  /// `checksum_key` is set to 64 zeros; in the end it holds the SHA-256 of all bytes behind the metadata, taken while
  /// they were made (VerifyWritten of resumable_file.h compares it with what the disk has). `note` is told where it
  /// goes on, or why what lies there is not gone on with. Errors as Write's and kUnavailable (another program writes
  /// the same file). Returns the checksum.
  Result<std::string> WriteResumable(const std::string& path, bool replace, std::string_view checksum_key,
                                     const Progress& progress = {}, const Note& note = {});

  /// The file's bytes, for tests and small models.
  Result<std::vector<std::byte>> ToBytes() const;

 private:
  struct Entry {
    std::string key;
    GgufType type;
    std::string value;
  };
  struct Tensor {
    std::string name;
    DType type;
    std::vector<std::int64_t> dims;
    std::uint64_t bytes;
    Source source;
  };

  std::uint64_t Alignment() const;
  std::string Header() const;
  std::string DifferenceFrom(std::span<const std::byte> head) const;
  Status CheckNames() const;
  Status EmitTensor(const Tensor& tensor, std::uint64_t alignment, const Sink& sink) const;
  Status Emit(const Sink& sink) const;

  std::vector<Entry> entries_;
  std::vector<Tensor> tensors_;
};

}  // namespace quorum::quant
