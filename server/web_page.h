// The page at "/" and its files. They are ordinary files under server/page/, built into the program.
#pragma once

#include <string_view>

namespace quorum::server {

struct WebFile {
  std::string_view path;  // "/" or "/page/NAME"
  const char* content_type;
  std::string_view content;
};

/// Null: there is none at that path.
const WebFile* FindWebFile(std::string_view path);

/// What the page may do: only what comes from this server.
inline constexpr std::string_view kWebPagePolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

}  // namespace quorum::server
