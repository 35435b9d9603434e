#include "quant/int8_exact.h"

#include <algorithm>
#include <cstring>

#include "quant/block_formats.h"

namespace quorum::quant {
namespace {

constexpr std::int64_t kBytes = 144;  // d, dmin, 12 bytes of scales, 128 of codes
constexpr int kMost = 127;

std::uint16_t LoadU16(const std::uint8_t* p) {
  std::uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

/// The largest code of group g.
int LargestCode(const std::uint8_t* block, int g) {
  const std::uint8_t* codes = block + 16 + g / 2 * 32;
  int most = 0;
  for (int i = 0; i < 32; ++i) most = std::max(most, (codes[i] >> (4 * (g % 2))) & 15);
  return most;
}

bool IsExactBlock(const std::uint8_t* block) {
  const std::optional<int> ratio = OffsetRatio(LoadU16(block), LoadU16(block + 2));
  if (!ratio) return false;
  for (int g = 0; g < 8; ++g) {
    const auto [scale, min] = UnpackScaleMin(block + 4, g);
    const int offset = *ratio * min;
    if (offset > kMost) return false;
    if (scale * 15 - offset > kMost && scale * LargestCode(block, g) - offset > kMost) return false;
  }
  return true;
}

}  // namespace

std::optional<int> OffsetRatio(std::uint16_t d, std::uint16_t dmin) {
  constexpr std::uint16_t kInfinity = 0x7C00;  // and above: NaN, or negative
  if (d >= kInfinity || dmin >= kInfinity) return {};
  if (d == 0) return dmin == 0 ? std::optional<int>(0) : std::nullopt;
  const float ratio = HalfToFloat(dmin) / HalfToFloat(d);
  if (!(ratio <= static_cast<float>(kMost))) return {};
  const int whole = static_cast<int>(ratio);
  if (static_cast<float>(whole) * HalfToFloat(d) != HalfToFloat(dmin)) return {};  // exact: 7 and 11 bits
  return whole;
}

bool IsInt8Exact(const void* blocks, std::int64_t n) {
  const auto* block = static_cast<const std::uint8_t*>(blocks);
  for (std::int64_t at = 0; at < n; at += kSuperBlock, block += kBytes) {
    if (!IsExactBlock(block)) return false;
  }
  return true;
}

}  // namespace quorum::quant
