// Q4_K whose weights are one float times one int8 (DESIGN 5): what `quorum quantize --type q4x` writes, and any other
// file that happens to keep to it.
#pragma once

#include <cstdint>
#include <optional>

namespace quorum::quant {

/// The whole number r = dmin / d, at most 127, of a super-block with these halves (bits), so that w = d (s q - r m).
/// Nothing where there is none, or where d is negative: zeros would get another sign.
std::optional<int> OffsetRatio(std::uint16_t d, std::uint16_t dmin);

/// Whether a Q4_K tensor of `n` elements, whole super-blocks, is int8-exact: each super-block has an OffsetRatio r, and
/// of each group r m <= 127 and |s q - r m| <= 127 for all its codes q.
bool IsInt8Exact(const void* blocks, std::int64_t n);

}  // namespace quorum::quant
