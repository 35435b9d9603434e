// Formats of 32 elements with one half-precision scale (and, for the _1 types, one minimum).
// Four-bit codes: the low nibble of byte j is element j, the high nibble element j + 16.
#include "quant/block_formats.h"

namespace quorum::quant {
namespace {

constexpr int kHalfBlock = kSmallBlock / 2;

// The fifth bits of Q5_0 and Q5_1: bit i belongs to element i.
std::uint32_t LoadHighBits(const std::uint8_t* p) {
  std::uint32_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return bits;
}

int FifthBit(std::uint32_t bits, int element) { return static_cast<int>((bits >> element) & 1U) << 4; }

}  // namespace

// d, 16 bytes of codes: w = d (q - 8)
void DequantizeQ4_0(const std::uint8_t* src, float* dst, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, src += 18, dst += kSmallBlock) {
    const float d = LoadHalf(src);
    const std::uint8_t* codes = src + 2;
    for (int j = 0; j < kHalfBlock; ++j) {
      dst[j] = d * static_cast<float>((codes[j] & 15) - 8);
      dst[j + kHalfBlock] = d * static_cast<float>((codes[j] >> 4) - 8);
    }
  }
}

// d, m, 16 bytes of codes: w = d q + m
void DequantizeQ4_1(const std::uint8_t* src, float* dst, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, src += 20, dst += kSmallBlock) {
    const float d = LoadHalf(src);
    const float m = LoadHalf(src + 2);
    const std::uint8_t* codes = src + 4;
    for (int j = 0; j < kHalfBlock; ++j) {
      dst[j] = d * static_cast<float>(codes[j] & 15) + m;
      dst[j + kHalfBlock] = d * static_cast<float>(codes[j] >> 4) + m;
    }
  }
}

// d, 4 bytes of fifth bits, 16 bytes of codes: w = d (q - 16)
void DequantizeQ5_0(const std::uint8_t* src, float* dst, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, src += 22, dst += kSmallBlock) {
    const float d = LoadHalf(src);
    const std::uint32_t high = LoadHighBits(src + 2);
    const std::uint8_t* codes = src + 6;
    for (int j = 0; j < kHalfBlock; ++j) {
      dst[j] = d * static_cast<float>(((codes[j] & 15) | FifthBit(high, j)) - 16);
      dst[j + kHalfBlock] = d * static_cast<float>(((codes[j] >> 4) | FifthBit(high, j + kHalfBlock)) - 16);
    }
  }
}

// d, m, 4 bytes of fifth bits, 16 bytes of codes: w = d q + m
void DequantizeQ5_1(const std::uint8_t* src, float* dst, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, src += 24, dst += kSmallBlock) {
    const float d = LoadHalf(src);
    const float m = LoadHalf(src + 2);
    const std::uint32_t high = LoadHighBits(src + 4);
    const std::uint8_t* codes = src + 8;
    for (int j = 0; j < kHalfBlock; ++j) {
      dst[j] = d * static_cast<float>((codes[j] & 15) | FifthBit(high, j)) + m;
      dst[j + kHalfBlock] = d * static_cast<float>((codes[j] >> 4) | FifthBit(high, j + kHalfBlock)) + m;
    }
  }
}

// d, 32 signed bytes: w = d q
void DequantizeQ8_0(const std::uint8_t* src, float* dst, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, src += 34, dst += kSmallBlock) {
    const float d = LoadHalf(src);
    for (int j = 0; j < kSmallBlock; ++j) dst[j] = d * static_cast<float>(static_cast<std::int8_t>(src[2 + j]));
  }
}

}  // namespace quorum::quant
