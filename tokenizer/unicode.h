// Character classes that tokenizers ask for, by utf8proc's tables.
#pragma once

#include <cstdint>

namespace quorum::tok {

/// White space (the Unicode property White_Space).
bool IsWhitespace(std::uint32_t code_point);

/// A mark (general category M).
bool IsMark(std::uint32_t code_point);

/// A decimal digit (general category Nd).
bool IsDigit(std::uint32_t code_point);

/// Alphabetic characters, marks, decimal digits and connectors: `\w` of Rust's regex, but for U+200C and U+200D.
bool IsWord(std::uint32_t code_point);

}  // namespace quorum::tok
