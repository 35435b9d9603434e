// A read-only memory mapping of a whole file.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "engine/base/result.h"

namespace quorum {

/// Owns the mapping. Movable; the bytes stay at one address for its life.
class MappedFile {
 public:
  /// Maps `path`. Errors: kNotFound, kInvalidArgument (a folder, a pipe, an empty file), kInternal (mmap failed).
  static Result<MappedFile> Open(const std::string& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  const std::string& path() const { return path_; }

  /// Tells the kernel that `part` will be read soon (true) or not again (false, drops resident pages).
  void Advise(std::span<const std::byte> part, bool will_need) const;

 private:
  MappedFile(std::string path, void* data, std::size_t size) : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace quorum
