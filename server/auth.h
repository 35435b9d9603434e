// API keys.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "server/http_message.h"

namespace quorum::server {

/// The keys that are accepted; none: everybody is. Immutable after loading, thread-safe.
class ApiKeys {
 public:
  /// One key a line; empty lines and lines that begin with '#' are skipped.
  /// Errors: kNotFound, kInvalidArgument (a key with characters that a header cannot carry, or no key at all).
  static Result<ApiKeys> FromFile(const std::string& path);
  static Result<ApiKeys> FromText(std::string_view text, const std::string& name);

  bool required() const { return !digests_.empty(); }

  /// Checks `Authorization: Bearer KEY` (the scheme in any case). The time does not depend on how much of a key is
  /// right, nor on which key it is.
  Status Check(const HttpRequest& request) const;

 private:
  using Digest = std::array<std::uint8_t, 32>;
  static Digest DigestOf(std::string_view key);
  std::vector<Digest> digests_;
};

}  // namespace quorum::server
