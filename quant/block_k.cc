// The K-quants: 256 elements, a half-precision scale for the block and small integer scales for its groups.
#include "quant/block_formats.h"

namespace quorum::quant {
namespace {

// Q3_K: sixteen 6-bit scales in 12 bytes, stored with 32 added: four low bits in the nibbles of bytes 0-7, two
// high bits in bytes 8-11.
int UnpackQ3Scale(const std::uint8_t* p, int group) {
  const int low = (p[group % 8] >> (group < 8 ? 0 : 4)) & 15;
  const int high = (p[8 + group % 4] >> (2 * (group / 4))) & 3;
  return (low | (high << 4)) - 32;
}

// Where the sixteen 2-bit codes of a group lie in 64 bytes: each half of the block has 32 bytes, whose four pairs of
// bits are four runs of 32 elements.
struct CodePlace {
  int byte;
  int shift;
};

CodePlace TwoBitPlace(int group) { return {group / 8 * 32 + group % 2 * 16, group % 8 / 2 * 2}; }

}  // namespace

// 16 bytes (scale | min << 4 a group of 16), 64 bytes of 2-bit codes, d, dmin: w = (d s) q - (dmin m)
void DequantizeQ2_K(const std::uint8_t* src, float* dst, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, src += 84, dst += kSuperBlock) {
    const std::uint8_t* codes = src + 16;
    const float d = LoadHalf(src + 80);
    const float dmin = LoadHalf(src + 82);
    for (int group = 0; group < 16; ++group) {
      const float scale = d * static_cast<float>(src[group] & 15);
      const float min = dmin * static_cast<float>(src[group] >> 4);
      const CodePlace at = TwoBitPlace(group);
      for (int l = 0; l < 16; ++l) {
        const int q = (codes[at.byte + l] >> at.shift) & 3;
        dst[group * 16 + l] = scale * static_cast<float>(q) - min;
      }
    }
  }
}

// 32 bytes of third bits, 64 bytes of 2-bit codes, 12 bytes of scales, d: w = (d s) (q - (4 where the bit is 0))
void DequantizeQ3_K(const std::uint8_t* src, float* dst, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, src += 110, dst += kSuperBlock) {
    const std::uint8_t* codes = src + 32;
    const std::uint8_t* scales = src + 96;
    const float d = LoadHalf(src + 108);
    for (int group = 0; group < 16; ++group) {
      const float scale = d * static_cast<float>(UnpackQ3Scale(scales, group));
      const CodePlace at = TwoBitPlace(group);
      const std::uint8_t* third = src + (group % 2 == 0 ? 0 : 16);
      for (int l = 0; l < 16; ++l) {
        const int low = (codes[at.byte + l] >> at.shift) & 3;
        const int high = (third[l] >> (group / 2)) & 1;
        dst[group * 16 + l] = scale * static_cast<float>(low - 4 * (1 - high));
      }
    }
  }
}

// d, dmin, 12 bytes of scales and minima, 128 bytes of 4-bit codes: w = (d s) q - (dmin m), groups of 32
void DequantizeQ4_K(const std::uint8_t* src, float* dst, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, src += 144, dst += kSuperBlock) {
    const float d = LoadHalf(src);
    const float dmin = LoadHalf(src + 2);
    const std::uint8_t* codes = src + 16;
    for (int group = 0; group < 8; ++group) {
      const ScaleMin sm = UnpackScaleMin(src + 4, group);
      const float scale = d * static_cast<float>(sm.scale);
      const float min = dmin * static_cast<float>(sm.min);
      for (int l = 0; l < 32; ++l) {
        const int q = (codes[group / 2 * 32 + l] >> (4 * (group % 2))) & 15;
        dst[group * 32 + l] = scale * static_cast<float>(q) - min;
      }
    }
  }
}

// d, dmin, 12 bytes of scales and minima, 32 bytes of fifth bits, 128 bytes of 4-bit codes: as Q4_K
void DequantizeQ5_K(const std::uint8_t* src, float* dst, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, src += 176, dst += kSuperBlock) {
    const float d = LoadHalf(src);
    const float dmin = LoadHalf(src + 2);
    const std::uint8_t* high = src + 16;
    const std::uint8_t* codes = src + 48;
    for (int group = 0; group < 8; ++group) {
      const ScaleMin sm = UnpackScaleMin(src + 4, group);
      const float scale = d * static_cast<float>(sm.scale);
      const float min = dmin * static_cast<float>(sm.min);
      for (int l = 0; l < 32; ++l) {
        const int low = (codes[group / 2 * 32 + l] >> (4 * (group % 2))) & 15;
        const int q = low | (((high[l] >> group) & 1) << 4);
        dst[group * 32 + l] = scale * static_cast<float>(q) - min;
      }
    }
  }
}

// 128 bytes of low nibbles, 64 bytes of high 2 bits, 16 signed scales, d: w = (d s) (q - 32), groups of 16
void DequantizeQ6_K(const std::uint8_t* src, float* dst, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, src += 210, dst += kSuperBlock) {
    const std::uint8_t* high = src + 128;
    const std::uint8_t* scales = src + 192;
    const float d = LoadHalf(src + 208);
    for (int group = 0; group < 16; ++group) {
      const float scale = d * static_cast<float>(static_cast<std::int8_t>(scales[group]));
      const std::uint8_t* nibbles = &src[group / 8 * 64 + group % 4 * 16];
      const int shift = group % 8 < 4 ? 0 : 4;
      const CodePlace at = TwoBitPlace(group);
      for (int l = 0; l < 16; ++l) {
        const int q = ((nibbles[l] >> shift) & 15) | (((high[at.byte + l] >> at.shift) & 3) << 4);
        dst[group * 16 + l] = scale * static_cast<float>(q - 32);
      }
    }
  }
}

}  // namespace quorum::quant
