// Files that appear whole or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace quorum {

/// Gives `temporary` the name `path` in one step; unless `replace`, what another program has made there meanwhile stays
/// theirs. Returns 0 or errno, EEXIST where it stays.
int GiveName(const std::string& temporary, const std::string& path, bool replace);

/// A file under way: written under a temporary name beside `path`, it gets its name in one step, so `path` never holds
/// half of it, and what stood there stays until then (a link is replaced, not what it leads to). Unless it gets its
/// name nothing is left of it. A device or a pipe is written as it is. Not thread-safe.
class NewFile {
 public:
  /// Errors: kInvalidArgument (`path` exists and `replace` is false, is a folder, or cannot be written).
  static Result<NewFile> Create(const std::string& path, bool replace);

  NewFile(NewFile&& other) noexcept;
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  // Errors of all: kInvalidArgument, what could not be written and why.

  /// Claims the room at once where the file system can, so that a full disk shows before the work is done.
  Status Reserve(std::uint64_t bytes);
  /// Behind what is there; small pieces are gathered.
  Status Write(std::span<const std::byte> bytes);
  Status Write(std::string_view text) { return Write(std::as_bytes(std::span(text))); }
  /// Everything to the disk, and the file gets its name. Also an error: another program has made `path` meanwhile, and
  /// it is not to be replaced.
  Status Publish();

 private:
  NewFile(std::string path, std::string name, int fd, bool replace);

  Error Failed(const std::string& why) const;
  Status Flush();
  Status WriteAll(std::span<const std::byte> bytes);

  std::string path_;
  std::string name_;  // empty: `path_` itself is written, or the file has its name
  int fd_;
  bool replace_;
  std::vector<std::byte> gathered_;
};

}  // namespace quorum
