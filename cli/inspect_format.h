// How `quorum inspect` lays out what it prints.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace quorum::cli {

/// Text from a file, fit for a terminal: one line, no control characters, cut at `limit` bytes (a whole character).
std::string Printable(std::string_view text, std::size_t limit = 72);

/// "134.5 M", "66.4 MB": three or four digits.
std::string Short(std::int64_t n, std::string_view unit);

/// An empty line and a heading; a label and its value, nothing where the value is empty.
void Section(const char* title);
void Line(const char* label, const std::string& value);

}  // namespace quorum::cli
