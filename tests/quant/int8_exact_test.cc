// Which super-blocks of Q4_K are one float times int8.
#include "quant/int8_exact.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include "quant/dtype.h"
#include "tests/support/catch.h"

namespace quorum::quant {
namespace {

constexpr std::uint16_t kOne = 0x3C00;

/// A super-block with d = 1 whose groups and codes are all alike.
std::vector<std::uint8_t> Block(float dmin, int scale, int min, int code) {
  std::vector<std::uint8_t> block(144);
  const std::uint16_t halves[2] = {kOne, FloatToHalf(dmin)};
  std::memcpy(block.data(), halves, 4);
  for (std::size_t g = 0; g < 4; ++g) {
    block[4 + g] = static_cast<std::uint8_t>(scale | scale >> 4 << 6);
    block[8 + g] = static_cast<std::uint8_t>(min | min >> 4 << 6);
    block[12 + g] = static_cast<std::uint8_t>((scale & 15) | (min & 15) << 4);
  }
  std::memset(block.data() + 16, code * 17, 128);
  return block;
}

bool Exact(const std::vector<std::uint8_t>& blocks) {
  return IsInt8Exact(blocks.data(), static_cast<std::int64_t>(blocks.size() / 144 * 256));
}

TEST_CASE("the offsets' scale must be a whole multiple of the codes' scale") {
  CHECK(OffsetRatio(kOne, kOne) == 1);
  CHECK(OffsetRatio(kOne, 0) == 0);
  CHECK(OffsetRatio(kOne, FloatToHalf(127.0F)) == 127);
  CHECK(OffsetRatio(0x0003, 0x0015) == 7);  // subnormal
  CHECK(OffsetRatio(0, 0) == 0);
  CHECK_FALSE(OffsetRatio(kOne, FloatToHalf(128.0F)));
  CHECK_FALSE(OffsetRatio(kOne, FloatToHalf(1.5F)));
  CHECK_FALSE(OffsetRatio(kOne, kOne + 1));
  CHECK_FALSE(OffsetRatio(0, kOne));
  CHECK_FALSE(OffsetRatio(0x8000, 0));       // -0
  CHECK_FALSE(OffsetRatio(0xBC00, 0xBC00));  // -1
  CHECK_FALSE(OffsetRatio(0x7C00, 0x7C00));  // infinity
  CHECK_FALSE(OffsetRatio(0x7E00, 0x7E00));  // NaN
  CHECK_FALSE(OffsetRatio(kOne, 0x7C00));
}

TEST_CASE("weights must be int8 by the codes that are there") {
  CHECK(Exact(Block(2.0F, 16, 60, 15)));       // 240 - 120
  CHECK(Exact(Block(127.0F, 0, 1, 15)));       // -127
  CHECK(Exact(Block(1.0F, 63, 62, 3)));        // 189 - 62 = 127
  CHECK_FALSE(Exact(Block(1.0F, 63, 61, 3)));  // 128
  CHECK_FALSE(Exact(Block(1.0F, 63, 62, 4)));
  CHECK_FALSE(Exact(Block(4.0F, 1, 32, 0)));   // -128
  CHECK_FALSE(Exact(Block(4.0F, 1, 32, 15)));  // the offset alone is 128
  CHECK_FALSE(Exact(Block(2.5F, 1, 1, 1)));
}

TEST_CASE("one code or one super-block spoils it") {
  std::vector<std::uint8_t> block = Block(1.0F, 20, 0, 6);  // 120
  REQUIRE(Exact(block));
  for (std::size_t at = 16; at < 144; ++at) {
    for (const std::uint8_t code : {std::uint8_t{0x67}, std::uint8_t{0x76}}) {  // 140
      std::vector<std::uint8_t> other = block;
      other[at] = code;
      REQUIRE_FALSE(Exact(other));
    }
  }
  std::vector<std::uint8_t> three = block;
  for (int i = 0; i < 2; ++i) three.insert(three.end(), block.begin(), block.end());
  CHECK(Exact(three));
  three[2 * 144 + 143] = 0x76;
  CHECK_FALSE(Exact(three));
}

}  // namespace
}  // namespace quorum::quant
