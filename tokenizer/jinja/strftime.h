// Dates as text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tokenizer/jinja/budget.h"

namespace quorum::tok::jinja {

/// strftime() in the C locale, in UTC: the C99 codes, and glibc's flags '-', '_', '0', '^' and '#'. An unknown code
/// stays as it is. `unix_seconds` must lie in the years 1 to 9999 or fails.
std::string FormatTime(Budget& budget, std::string_view format, std::int64_t unix_seconds);

}  // namespace quorum::tok::jinja
