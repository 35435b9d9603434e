// Python's format specifications, as in format(value, "<8.3f").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tokenizer/jinja/builtin.h"

namespace quorum::tok::jinja {

/// Where a text of known width goes in a wider field.
struct Padding {
  std::string fill = " ";  // one code point
  char align = '<';        // '<', '>', '^', or '=' for padding between sign and digits
  std::size_t width = 0;   // in code points
};

/// Appends `prefix` (sign and base prefix of a number; may be empty) and `body`, padded.
void AppendPadded(TextBuilder& out, const Padding& padding, std::string_view prefix, std::string_view body);

/// Appends format(value, spec). Fails if the specification does not fit the value's type.
void AppendFormatted(TextBuilder& out, const Value& value, std::string_view spec);

/// Reads a decimal number at `*pos`; -1 if there is none. Fails above what a field may be wide.
std::int64_t ReadNumber(std::string_view text, std::size_t* pos);

}  // namespace quorum::tok::jinja
