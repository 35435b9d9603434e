// Substring search in linear time, so that no choice of texts makes it slow.
#pragma once

#include <cstddef>
#include <string_view>

#include "tokenizer/jinja/budget.h"

namespace quorum::tok::jinja {

inline constexpr std::size_t kNotFound = static_cast<std::size_t>(-1);

/// The first byte position >= `from` where `needle` begins in `text`, or kNotFound. An empty needle is found at `from`.
std::size_t FindBytes(Budget& budget, std::string_view text, std::string_view needle, std::size_t from);

/// The last byte position where `needle` begins in `text`, or kNotFound.
std::size_t FindLastBytes(Budget& budget, std::string_view text, std::string_view needle);

}  // namespace quorum::tok::jinja
