// Base64 (RFC 4648, section 4).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace quorum::tok {

/// The bytes that `text` stands for, with or without its padding; nothing where a character is no digit.
std::optional<std::string> DecodeBase64(std::string_view text);

}  // namespace quorum::tok
