// What a hub says of a file's content, and the same of bytes that came.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace quorum::hub {

/// The checksum that `etag` is: SHA-256 (64 hexadecimal digits) of large files, Git's SHA-1 of a blob (40) of small
/// ones, or nothing known.
class Checksum {
 public:
  /// `size`: of the whole file; Git's checksum covers it.
  Checksum(std::string_view etag, std::uint64_t size);

  bool known() const { return context_ != nullptr; }
  void Add(const void* data, std::size_t size);
  /// The checksum of what was added, in hexadecimal digits; nothing may be added afterwards.
  std::string Finish();

 private:
  struct Free {
    void operator()(void* context) const;
  };
  std::unique_ptr<void, Free> context_;  // EVP_MD_CTX
};

/// An ETag without quotes and "W/".
std::string_view PlainEtag(std::string_view etag);

}  // namespace quorum::hub
