// The page at "/".
#pragma once

#include <string_view>

namespace quorum::server {

/// A whole HTML document: what this server is, and a chat form. Needs nothing from elsewhere.
std::string_view WebPage();

/// What the page may do: only what is in it, only to this server.
inline constexpr std::string_view kWebPagePolicy =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'";

}  // namespace quorum::server
