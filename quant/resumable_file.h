// A file under way: it can be left and gone on with, and gets its name when it is whole. For
// GgufWriter::WriteResumable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "engine/base/result.h"

namespace quorum::quant {

/// SHA-256 of what is added, piece by piece.
class Sha256 {
 public:
  Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  ~Sha256();
  void Add(std::span<const std::byte> bytes);
  /// 64 hexadecimal digits. Nothing may be added afterwards.
  std::string Finish();

 private:
  void* context_;
};

/// `path`.partial, locked against other programs. Not thread-safe.
class ResumableFile {
 public:
  static Result<ResumableFile> Open(const std::string& path, bool replace);
  ResumableFile(ResumableFile&& other) noexcept;
  ResumableFile(const ResumableFile&) = delete;
  ResumableFile& operator=(const ResumableFile&) = delete;
  ResumableFile& operator=(ResumableFile&&) = delete;
  ~ResumableFile();

  std::uint64_t size() const { return size_; }
  /// Fills `out` from byte `at`. Error kDataLoss when the file is shorter.
  Status Read(std::uint64_t at, std::span<std::byte> out) const;
  /// Adds bytes [begin, end) to `hash`.
  Status Hash(std::uint64_t begin, std::uint64_t end, Sha256& hash) const;
  Status Truncate(std::uint64_t size);
  /// Writes behind what is there.
  Status Append(std::span<const std::byte> bytes);
  Status Overwrite(std::uint64_t at, std::span<const std::byte> bytes);
  /// Everything to the disk.
  Status Sync();
  /// Gives the file its name.
  Status Publish();

 private:
  ResumableFile(std::string path, int fd, bool replace, std::uint64_t size);
  Error Failed(const std::string& why) const;
  Status WriteAt(std::uint64_t at, std::span<const std::byte> bytes);

  std::string path_;
  int fd_;
  bool replace_;
  std::uint64_t size_;
};

/// Reads the last `bytes` bytes of a file again, from the disk as far as the system follows. Error kDataLoss when their
/// SHA-256 is another.
Status VerifyWritten(const std::string& path, std::uint64_t bytes, const std::string& checksum);

}  // namespace quorum::quant
