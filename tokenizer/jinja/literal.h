// Number and string literals.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace quorum::tok::jinja {

// How many bytes of a float, or integer, literal `text` begins with; 0 if none.
std::size_t FloatLength(std::string_view text);
std::size_t IntegerLength(std::string_view text);

double FloatValue(std::string_view literal);

/// Fails at `line` if the literal needs more than 64 bits.
std::int64_t IntegerValue(std::string_view literal, int line);

/// The text between the quotes of a string literal with its escapes resolved as in Python. Fails at `line` if an escape
/// is cut off or names no character.
std::string Unescape(std::string_view literal, int line);

}  // namespace quorum::tok::jinja
