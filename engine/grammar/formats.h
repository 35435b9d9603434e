// JSON Schema's `format`s of strings, as regular expressions that never match a text which the format's standard
// refuses.
#pragma once

#include <string_view>

namespace quorum::grammar {

/// A pattern for whole strings; "" for a format without rules of its own (password, binary, ...); nullptr: not known.
const char* FormatPattern(std::string_view format);

}  // namespace quorum::grammar
