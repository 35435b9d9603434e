// The quantized block formats of GGML, one function a format: private to quant/ (others use quant/dtype.h).
// Each reads `blocks` whole blocks from `src` (any alignment) and writes the block's elements to `dst`. The
// arithmetic, product by product, is that of ggml's `dequantize_row_*`: it is what the numbers in a file mean.
#pragma once

#include <cstdint>
#include <cstring>

#include "quant/dtype.h"

namespace quorum::quant {

constexpr std::int64_t kSmallBlock = 32;   // Q4_0 .. Q8_0, IQ4_NL, MXFP4
constexpr std::int64_t kSuperBlock = 256;  // the K-quants and IQ4_XS

/// The little-endian half at `p` as a float.
inline float LoadHalf(const std::uint8_t* p) {
  std::uint16_t h;
  std::memcpy(&h, p, sizeof h);
  return HalfToFloat(h);
}

struct ScaleMin {
  int scale;
  int min;
};

// Q4_K and Q5_K: eight 6-bit scales and eight 6-bit minima in 12 bytes. Groups 0-3 hold theirs in the low six
// bits of bytes 0-3 and 4-7; groups 4-7 in the nibbles of bytes 8-11 and the top two bits of bytes 0-7.
inline ScaleMin UnpackScaleMin(const std::uint8_t* p, int group) {
  if (group < 4) return {p[group] & 63, p[group + 4] & 63};
  return {(p[group + 4] & 15) | ((p[group - 4] >> 6) << 4), (p[group + 4] >> 4) | ((p[group] >> 6) << 4)};
}

// dtype.cc: many at a time, two bytes each; as FloatToHalf and FloatToBf16.
void FloatsToHalves(const float* src, std::uint8_t* dst, std::int64_t n);
void FloatsToBf16(const float* src, std::uint8_t* dst, std::int64_t n);

// block_small.cc: 32 elements, one scale.
void DequantizeQ4_0(const std::uint8_t* src, float* dst, std::int64_t blocks);
void DequantizeQ4_1(const std::uint8_t* src, float* dst, std::int64_t blocks);
void DequantizeQ5_0(const std::uint8_t* src, float* dst, std::int64_t blocks);
void DequantizeQ5_1(const std::uint8_t* src, float* dst, std::int64_t blocks);
void DequantizeQ8_0(const std::uint8_t* src, float* dst, std::int64_t blocks);

// block_k.cc: 256 elements, two levels of scales.
void DequantizeQ2_K(const std::uint8_t* src, float* dst, std::int64_t blocks);
void DequantizeQ3_K(const std::uint8_t* src, float* dst, std::int64_t blocks);
void DequantizeQ4_K(const std::uint8_t* src, float* dst, std::int64_t blocks);
void DequantizeQ5_K(const std::uint8_t* src, float* dst, std::int64_t blocks);
void DequantizeQ6_K(const std::uint8_t* src, float* dst, std::int64_t blocks);

// block_table.cc: four-bit codes that index a table of values.
void DequantizeIQ4_NL(const std::uint8_t* src, float* dst, std::int64_t blocks);
void DequantizeIQ4_XS(const std::uint8_t* src, float* dst, std::int64_t blocks);
void DequantizeMXFP4(const std::uint8_t* src, float* dst, std::int64_t blocks);

}  // namespace quorum::quant
