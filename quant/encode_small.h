// Encoders of the formats of 32 elements (see block_small.cc, block_table.cc for the layouts): private to encode.cc.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "quant/block_formats.h"
#include "quant/scale_search.h"

namespace quorum::quant::search {

constexpr int kSmall = 32;
constexpr int kSignedSteps = 9;
constexpr int kAffineSteps = 20;

/// `f` as a half, at most the largest finite one.
QUORUM_INLINE std::uint16_t StoreHalf(float f, std::uint8_t* p) {
  constexpr float kLargest = 65504.0F;
  const float cut = f > kLargest ? kLargest : (f < -kLargest ? -kLargest : f);
  const std::uint16_t h = FloatToHalf(cut);
  std::memcpy(p, &h, sizeof h);
  return h;
}

/// The same; the value it then has.
QUORUM_INLINE float PutHalf(float f, std::uint8_t* p) { return HalfToFloat(StoreHalf(f, p)); }

using B16 = std::uint8_t __attribute__((vector_size(16)));

QUORUM_INLINE void PutNibbles(const std::int8_t* codes, std::uint8_t* p) {
  B16 low, high;
  std::memcpy(&low, codes, sizeof low);
  std::memcpy(&high, codes + 16, sizeof high);
  const B16 both = (low & 15) | (high << 4);
  std::memcpy(p, &both, sizeof both);
}

QUORUM_INLINE void PutFifthBits(const std::int8_t* codes, std::uint8_t* p) {
  for (int i = 0; i < kSmall; i += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, codes + i, sizeof eight);
    // One bit of each byte; the product gathers them in the top byte, the lowest byte's bit lowest.
    *p++ = static_cast<std::uint8_t>((((eight >> 4) & 0x0101010101010101U) * 0x0102040810204080U) >> 56);
  }
}

// The plain rounding and the searched one, whichever loses less after its scale has become a half.
template <int kBits>
QUORUM_INLINE void MakeSigned(const float* x, const float* w, std::uint8_t* dst) {
  constexpr float kLow = -static_cast<float>(1 << (kBits - 1));
  constexpr float kHigh = -kLow - 1.0F;
  std::uint8_t unused[2];
  const float plain = PutHalf(Extreme<kSmall>(x) / kLow, unused);
  float scale = PutHalf(SignedScale<kSmall>(x, w, kLow, kHigh, kSignedSteps), unused);
  if (Loss<kSmall>(x, w, plain, 0.0F, kLow, kHigh) < Loss<kSmall>(x, w, scale, 0.0F, kLow, kHigh)) scale = plain;
  PutHalf(scale, dst);
  alignas(32) std::int8_t codes[kSmall];
  Codes<kSmall>(x, scale, 0.0F, kLow, kHigh, codes);
  for (std::int8_t& code : codes) code = static_cast<std::int8_t>(code - static_cast<int>(kLow));
  if constexpr (kBits == 5) PutFifthBits(codes, dst + 2);
  PutNibbles(codes, dst + (kBits == 5 ? 6 : 2));
}

template <int kBits>
QUORUM_INLINE void MakeAffine(const float* x, const float* w, std::uint8_t* dst) {
  constexpr float kHigh = static_cast<float>((1 << kBits) - 1);
  const MinMax range = Range<kSmall>(x);
  std::uint8_t unused[2];
  const ScaleOffset plain{PutHalf((range.most - range.least) / kHigh, unused), PutHalf(range.least, unused)};
  const ScaleOffset found = AffineScale<kSmall>(x, w, kHigh, kAffineSteps);
  ScaleOffset best{PutHalf(found.scale, unused), PutHalf(found.offset, unused)};
  if (Loss<kSmall>(x, w, plain.scale, plain.offset, 0.0F, kHigh) <
      Loss<kSmall>(x, w, best.scale, best.offset, 0.0F, kHigh)) {
    best = plain;
  }
  PutHalf(best.scale, dst);
  PutHalf(best.offset, dst + 2);
  alignas(32) std::int8_t codes[kSmall];
  Codes<kSmall>(x, best.scale, best.offset, 0.0F, kHigh, codes);
  if constexpr (kBits == 5) PutFifthBits(codes, dst + 4);
  PutNibbles(codes, dst + (kBits == 5 ? 8 : 4));
}

// Magnitudes of E2M1, doubled, for |v| <= 6: steps of 1/2 below 2, of 1 below 4, then of 2.
QUORUM_INLINE F8 RoundE2M1Doubled(const F8& v) {
  const F8 two = Splat(2.0F);
  const F8 four = Splat(4.0F);
  const F8 fine = Round(v * two);
  const F8 middle = Round(v) * two;
  const F8 coarse = Round(v * Splat(0.5F)) * four;
  return v < two ? fine : (v < four ? middle : coarse);
}

QUORUM_INLINE void MakeMxfp4(const float* x, const float* w, std::uint8_t* dst) {
  const float amax = std::fabs(Extreme<kSmall>(x));
  std::uint32_t bits;
  std::memcpy(&bits, &amax, sizeof bits);
  // floor(log2(amax)) - 2 as OCP asks, and one more or less where that loses less.
  const int middle = static_cast<int>(bits >> 23) - 2;
  int best_e = 0;
  float best_loss = 0.0F;
  bool first = true;
  for (int e = middle - 1; e <= middle + 1; ++e) {
    const int exponent = e < 2 ? 2 : (e > 252 ? 252 : e);
    std::uint32_t scale_bits = static_cast<std::uint32_t>(exponent) << 23;
    float scale;
    std::memcpy(&scale, &scale_bits, sizeof scale);
    const F8 inverse = Splat(1.0F / scale);
    const F8 half_scale = Splat(0.5F * scale);
    F8 sum = Splat(0.0F);
    for (int i = 0; i < kSmall; i += 8) {
      const F8 v = Load(x + i);
      const F8 size = Abs(v);
      const F8 left = size - half_scale * RoundE2M1Doubled(Clamp(size * inverse, Splat(0.0F), Splat(6.0F)));
      sum += Load(w + i) * left * left;
    }
    const float loss = Sum(sum);
    if (first || loss < best_loss) {
      best_loss = loss;
      best_e = exponent;
      first = false;
    }
  }
  if (!(amax > 0.0F)) best_e = 0;
  dst[0] = static_cast<std::uint8_t>(best_e);
  alignas(32) std::int8_t codes[kSmall] = {};
  if (best_e > 0) {
    const std::uint32_t scale_bits = static_cast<std::uint32_t>(best_e) << 23;
    float scale;
    std::memcpy(&scale, &scale_bits, sizeof scale);
    for (int i = 0; i < kSmall; i += 8) {
      const F8 v = Load(x + i) * Splat(1.0F / scale);
      const F8 size = Abs(v);
      const F8 doubled = RoundE2M1Doubled(Clamp(size, Splat(0.0F), Splat(6.0F)));
      for (int l = 0; l < 8; ++l) {
        const int q = static_cast<int>(doubled[l]);
        const int code = q <= 4 ? q : (q == 6 ? 5 : (q == 8 ? 6 : 7));
        codes[i + l] = static_cast<std::int8_t>(code | (v[l] < 0.0F && code > 0 ? 8 : 0));
      }
    }
  }
  PutNibbles(codes, dst + 1);
}

}  // namespace quorum::quant::search
