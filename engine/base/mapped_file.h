// A read-only memory mapping of a whole file, which survives that the file is cut short meanwhile.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "engine/base/result.h"

namespace quorum {

/// Owns the mapping. Movable; the bytes stay at one address for its life. Where the file loses bytes while it is
/// mapped, or its disk cannot be read, they read as zeros instead of ending the process with SIGBUS, and CheckIntact
/// tells.
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

  /// From now on Open(name) opens the file at `path`, and errors call it `name`: for a file without a telling name, as
  /// one in memory. Not thread-safe: call it before threads open files.
  static void Name(const std::string& name, const std::string& path);

  /// Error kDataLoss once bytes could not be read.
  Status CheckIntact() const;

  /// Tells the kernel that `part` will be read soon (true) or not again (false, drops resident pages).
  void Advise(std::span<const std::byte> part, bool will_need) const;

 private:
  MappedFile(std::string path, void* data, std::size_t size);

  std::string path_;
  void* data_ = nullptr;
  std::size_t size_ = 0;
  struct Guard;
  Guard* guard_ = nullptr;  // the mapping's entry in the list that the signal handler reads
};

}  // namespace quorum
