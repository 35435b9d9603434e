// The types of 32 elements as ggml rounds them (`quantize_row_*_ref`, byte for byte), eight blocks at a time: private
// to encode.cc. Layouts: block_small.cc.
#pragma once

#include <cstdint>
#include <cstring>

#include "quant/block_formats.h"
#include "quant/scale_search.h"

namespace quorum::quant::search {

constexpr int kPlainBlocks = 8;

/// Lane b is `op` over all lanes of v[b].
template <typename V, typename Op>
QUORUM_INLINE V Across(const V* v, const Op& op) {
  V a[4], b[2];
  for (int i = 0; i < 4; ++i) {
    a[i] = op(__builtin_shufflevector(v[2 * i], v[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13),
              __builtin_shufflevector(v[2 * i], v[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15));
  }
  for (int i = 0; i < 2; ++i) {
    b[i] = op(__builtin_shufflevector(a[2 * i], a[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13),
              __builtin_shufflevector(a[2 * i], a[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15));
  }
  return op(__builtin_shufflevector(b[0], b[1], 0, 1, 2, 3, 8, 9, 10, 11),
            __builtin_shufflevector(b[0], b[1], 4, 5, 6, 7, 12, 13, 14, 15));
}

/// Of block b in lane b.
struct BlockRanges {
  F8 least, most;
};

QUORUM_INLINE BlockRanges RangesOf(const float* x) {
  const auto less = [](const F8& a, const F8& b) __attribute__((always_inline)) { return a < b ? a : b; };
  const auto more = [](const F8& a, const F8& b) __attribute__((always_inline)) { return a > b ? a : b; };
  F8 low[kPlainBlocks], high[kPlainBlocks];
  for (int b = 0; b < kPlainBlocks; ++b, x += kSmallBlock) {
    const F8 v[4] = {Load(x), Load(x + 8), Load(x + 16), Load(x + 24)};
    low[b] = less(less(v[0], v[1]), less(v[2], v[3]));
    high[b] = more(more(v[0], v[1]), more(v[2], v[3]));
  }
  return {Across(low, less), Across(high, more)};
}

/// Eight floats as halves, at most the largest finite one, each at the beginning of a block.
QUORUM_INLINE void PutHalves(const F8& v, std::uint8_t* dst, int block_bytes) {
  alignas(32) float cut[kPlainBlocks];
  std::uint8_t halves[2 * kPlainBlocks];
  Store(Clamp(v, Splat(-65504.0F), Splat(65504.0F)), cut);
  FloatsToHalves(cut, halves, kPlainBlocks);
  for (int b = 0; b < kPlainBlocks; ++b) std::memcpy(dst + b * block_bytes, halves + 2 * b, 2);
}

/// 1 / v, and 0 of 0, for each block.
QUORUM_INLINE void StoreInverses(const F8& v, float* inverses) {
  Store(v != Splat(0.0F) ? Splat(1.0F) / v : Splat(0.0F), inverses);
}

QUORUM_INLINE void EightQ8_0(const float* x, std::uint8_t* dst) {
  constexpr int kBytes = 34;
  const auto more = [](const F8& a, const F8& b) __attribute__((always_inline)) { return a > b ? a : b; };
  F8 sizes[kPlainBlocks];
  for (int b = 0; b < kPlainBlocks; ++b) {
    const float* p = x + b * kSmallBlock;
    sizes[b] = more(more(Abs(Load(p)), Abs(Load(p + 8))), more(Abs(Load(p + 16)), Abs(Load(p + 24))));
  }
  const F8 d = Across(sizes, more) / Splat(127.0F);
  PutHalves(d, dst, kBytes);
  alignas(32) float inverses[kPlainBlocks];
  StoreInverses(d, inverses);  // of the float, as ggml does it
  for (int b = 0; b < kPlainBlocks; ++b, x += kSmallBlock, dst += kBytes) {
    const F8 inverse = Splat(inverses[b]);
    I8 q[4];
    for (int i = 0; i < 4; ++i) {
      // Half away from zero: cut off behind adding the largest float below a half, which is exact below 2^22.
      const F8 v = Clamp(Load(x + 8 * i) * inverse, Splat(-127.0F), Splat(127.0F));
      q[i] = __builtin_convertvector(v + WithSign(0.49999997F, v), I8);
    }
    StoreBytes(q, dst + 2);
  }
}

/// Codes cut off behind `v[i] inverse + half`, half rounding up, where half is of the offset's; then what both signed
/// and affine types do with them.
template <int kBits>
struct PlainCodes {
  static constexpr int kHigh = (1 << kBits) - 1;

  QUORUM_INLINE void Put(int b, const float* x, float offset, float inverse, float half, std::uint8_t* nibbles) {
    I8 code[4];
    for (int i = 0; i < 4; ++i) {
      const F8 v = (Load(x + 8 * i) - Splat(offset)) * Splat(inverse) + Splat(half);
      code[i] = __builtin_convertvector(Clamp(v, Splat(0.0F), Splat(static_cast<float>(kHigh))), I8);
    }
    if constexpr (kBits == 5) {
      const I8 bits = (code[0] >> 4) | ((code[1] & 16) << 4) | ((code[2] & 16) << 12) | ((code[3] & 16) << 20);
      fifth[b] = bits << I8{0, 1, 2, 3, 4, 5, 6, 7};
      for (I8& c : code) c &= 15;
    }
    StoreBytes(code[0] | (code[2] << 4), code[1] | (code[3] << 4), nibbles);
  }

  /// The fifth bits of all blocks.
  QUORUM_INLINE void PutFifth(std::uint8_t* dst, int block_bytes) const {
    if constexpr (kBits == 5) {
      const I8 all = Across(fifth, [](const I8& a, const I8& b) __attribute__((always_inline)) { return a | b; });
      for (int b = 0; b < kPlainBlocks; ++b) {
        const std::int32_t bits = all[b];
        std::memcpy(dst + b * block_bytes, &bits, sizeof bits);
      }
    }
  }

  I8 fifth[kBits == 5 ? kPlainBlocks : 1];
};

/// Q4_0 and Q5_0: the largest value becomes the lowest code.
template <int kBits>
QUORUM_INLINE void EightSigned(const float* x, std::uint8_t* dst) {
  constexpr int kHead = kBits == 5 ? 6 : 2;
  constexpr int kBytes = kHead + kSmallBlock / 2;
  constexpr float kLevels = static_cast<float>(1 << (kBits - 1));
  const BlockRanges range = RangesOf(x);
  const I8 alike = range.least == -range.most;
  alignas(32) float extreme[kPlainBlocks];
  Store(-range.least > range.most ? range.least : range.most, extreme);
  for (int b = 0; b < kPlainBlocks; ++b) {
    for (int i = 0; alike[b] != 0 && i < kSmallBlock; ++i) {  // of two alike the first
      const float v = x[b * kSmallBlock + i];
      if (v != extreme[b] && v != -extreme[b]) continue;
      extreme[b] = v;
      break;
    }
  }
  const F8 d = Load(extreme) / Splat(-kLevels);
  PutHalves(d, dst, kBytes);
  alignas(32) float inverses[kPlainBlocks];
  StoreInverses(d, inverses);
  PlainCodes<kBits> codes;
  for (int b = 0; b < kPlainBlocks; ++b) {
    codes.Put(b, x + b * kSmallBlock, 0.0F, inverses[b], kLevels + 0.5F, dst + b * kBytes + kHead);
  }
  codes.PutFifth(dst + 2, kBytes);
}

/// Q4_1 and Q5_1.
template <int kBits>
QUORUM_INLINE void EightAffine(const float* x, std::uint8_t* dst) {
  constexpr int kHead = kBits == 5 ? 8 : 4;
  constexpr int kBytes = kHead + kSmallBlock / 2;
  const BlockRanges range = RangesOf(x);
  const F8 d = (range.most - range.least) / Splat(static_cast<float>(PlainCodes<kBits>::kHigh));
  PutHalves(d, dst, kBytes);
  PutHalves(range.least, dst + 2, kBytes);
  alignas(32) float inverses[kPlainBlocks], least[kPlainBlocks];
  StoreInverses(d, inverses);
  Store(range.least, least);
  PlainCodes<kBits> codes;
  for (int b = 0; b < kPlainBlocks; ++b) {
    codes.Put(b, x + b * kSmallBlock, least[b], inverses[b], 0.5F, dst + b * kBytes + kHead);
  }
  codes.PutFifth(dst + 4, kBytes);
}

}  // namespace quorum::quant::search
