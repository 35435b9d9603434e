// Text operations that filters and methods of strings share. Positions and widths count code points.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/builtin.h"

namespace quorum::tok::jinja {

enum class StripSide : std::uint8_t { kLeft, kRight, kBoth };
enum class Justify : std::uint8_t { kLeft, kRight, kCenter };

/// str.strip() and its one-sided forms. `characters` is a string, or missing or None for white space.
Value StripText(Runtime& rt, const Value& text, const Value& characters, StripSide side);

/// text.replace(from, to, count); count -1 means all.
std::string ReplaceText(Budget& budget, std::string_view text, std::string_view from, std::string_view to,
                        std::int64_t count);

/// text.splitlines(). The pieces point into `text`.
std::vector<std::string_view> SplitLines(Budget& budget, std::string_view text, bool keep_ends);

/// text.split(), or rsplit() with `from_right`. An empty `separator` stands for None: runs of white space. `limit` is
/// the most splits, -1 for no limit.
std::vector<std::string_view> SplitText(Budget& budget, std::string_view text, std::string_view separator,
                                        std::int64_t limit, bool from_right);

/// ljust, rjust and center. `fill` is one code point.
Value JustifyText(Runtime& rt, const Value& text, std::int64_t width, std::string_view fill, Justify side);

// str.islower() and str.isupper(): some letter has a case, and none the other one.
bool IsLowerText(Budget& budget, std::string_view text);
bool IsUpperText(Budget& budget, std::string_view text);

}  // namespace quorum::tok::jinja
