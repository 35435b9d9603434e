// Encoders of the K-quants, 256 elements with two levels of scales (see block_k.cc for the layouts): private to
// encode.cc.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "quant/encode_small.h"
#include "quant/lane_search.h"
#include "quant/scale_search.h"

namespace quorum::quant::search {

constexpr int kSuper = 256;

/// What a block of groups with scales and minima becomes: x ~ d scale q - dmin min.
template <int kGroups>
struct AffineBlock {
  std::uint8_t d[2], dmin[2];  // halves
  int scales[16], mins[16];    // the first kGroups of them
  alignas(32) std::int8_t codes[kSuper];
};

/// The best d and dmin for scales, minima and codes that stay as they are with `d` and `dmin`: weighted least squares
/// in two unknowns. x, w: kGroups / 8 times N lanes.
template <int N, int kHalves>
QUORUM_INLINE void SolveAffine(const F8* const* x, const F8* const* w, const F8* scales, const F8* mins,
                               const F8* w_sum, const F8* wx_sum, float high, float& d, float& dmin) {
  const F8 zero = Splat(0.0F);
  F8 aa8 = zero, ab8 = zero, bb8 = zero, xa8 = zero, xb8 = zero;
  for (int h = 0; h < kHalves; ++h) {
    const F8 inverse = Inverse(Splat(d) * scales[h]);
    const F8 offset = Splat(-dmin) * mins[h];
    F8 wqq = zero, wq = zero, wxq = zero;
    for (int i = 0; i < N; ++i) {
      const F8 q = Code((x[h][i] - offset) * inverse, zero, Splat(high));
      const F8 weighted = w[h][i] * q;
      wq += weighted;
      wqq += weighted * q;
      wxq += weighted * x[h][i];
    }
    aa8 += scales[h] * scales[h] * wqq;
    ab8 += scales[h] * mins[h] * wq;
    bb8 += mins[h] * mins[h] * w_sum[h];
    xa8 += scales[h] * wxq;
    xb8 += mins[h] * wx_sum[h];
  }
  const double aa = static_cast<double>(Sum(aa8));
  const double ab = static_cast<double>(Sum(ab8));
  const double bb = static_cast<double>(Sum(bb8));
  const double xa = static_cast<double>(Sum(xa8));
  const double xb = static_cast<double>(Sum(xb8));
  // x ~ d a - dmin b
  const double determinant = aa * bb - ab * ab;
  if (determinant > 1e-6 * aa * bb && aa > 0) {
    const double new_d = (xa * bb - xb * ab) / determinant;
    const double new_dmin = (xa * ab - xb * aa) / determinant;
    if (new_d > 0 && new_dmin >= 0) {
      d = static_cast<float>(new_d);
      dmin = static_cast<float>(new_dmin);
    }
  } else if (aa > 0 && bb == 0 && xa > 0) {
    d = static_cast<float>(xa / aa);
  }
}

/// Q2_K, Q4_K, Q5_K: `high` is the largest code, `levels` the largest scale and minimum.
template <int kGroups>
QUORUM_INLINE void MakeAffineBlock(const float* x, const float* w, float high, int levels,
                                   AffineBlock<kGroups>& block) {
  constexpr int kGroup = kSuper / kGroups;
  constexpr int kHalves = kGroups / 8;
  const F8 zero = Splat(0.0F);
  const F8 highest = Splat(high);
  const F8 top = Splat(static_cast<float>(levels));
  F8 x_room[kSuper / 8], w_room[kSuper / 8];  // kGroup vectors a half
  F8 *xs[2], *ws[2];
  F8 w_sum[2], wx_sum[2], scales[2], mins[2];
  LaneScales found[2];
  float most_scale = 0.0F;
  float most_min = 0.0F;
  for (int h = 0; h < kHalves; ++h) {
    xs[h] = x_room + h * kGroup;
    ws[h] = w_room + h * kGroup;
    ToLanes<kGroup>(x + h * 8 * kGroup, xs[h]);
    ToLanes<kGroup>(w + h * 8 * kGroup, ws[h]);
    found[h] = AffineLanes<kGroup>(xs[h], ws[h], high, kAffineSteps, w_sum[h], wx_sum[h]);
    const float scale = Largest(found[h].scale);
    const float min = Largest(-found[h].offset);
    most_scale = scale > most_scale ? scale : most_scale;
    most_min = min > most_min ? min : most_min;
  }
  float d = PutHalf(most_scale / static_cast<float>(levels), block.d);
  float dmin = PutHalf(most_min / static_cast<float>(levels), block.dmin);
  float loss = 0.0F;
  const auto loss_of = [&](float step, float shift) __attribute__((always_inline)) {
    F8 sum = zero;
    for (int h = 0; h < kHalves; ++h) {
      sum += LossLanes<kGroup>(xs[h], ws[h], Splat(step) * scales[h], Splat(-shift) * mins[h], zero, highest);
    }
    return Sum(sum);
  };
  // Each group's integers again, together: the minimum that suits a rounded scale is not the rounded minimum.
  for (int h = 0; h < kHalves; ++h) {
    const F8 base = d > 0.0F ? Code(found[h].scale / Splat(d), zero, top) : zero;
    scales[h] = base;
    mins[h] = dmin > 0.0F ? Code(-found[h].offset / Splat(dmin), zero, top) : zero;
    F8 best = LossLanes<kGroup>(xs[h], ws[h], Splat(d) * scales[h], Splat(-dmin) * mins[h], zero, highest);
    const F8 middle = found[h].offset + Splat(0.5F * high) * found[h].scale;
    for (int move = -1; move <= 1 && dmin > 0.0F; ++move) {
      const F8 scale = base + Splat(static_cast<float>(move));
      const F8 step = Splat(d) * scale;
      const F8 min = Code((Splat(0.5F * high) * step - middle) / Splat(dmin), zero, top);
      const F8 candidate = LossLanes<kGroup>(xs[h], ws[h], step, Splat(-dmin) * min, zero, highest);
      const I8 better = (scale > zero) & (scale <= top) & (candidate < best);
      best = better ? candidate : best;
      scales[h] = better ? scale : scales[h];
      mins[h] = better ? min : mins[h];
    }
    loss += Sum(best);
  }
  // d and dmin for these integers, kept if they are better as halves too.
  for (int round = 0; round < 2; ++round) {
    float new_d = d;
    float new_dmin = dmin;
    SolveAffine<kGroup, kHalves>(xs, ws, scales, mins, w_sum, wx_sum, high, new_d, new_dmin);
    std::uint8_t half_d[2], half_dmin[2];
    new_d = PutHalf(new_d, half_d);
    new_dmin = PutHalf(new_dmin, half_dmin);
    const float new_loss = loss_of(new_d, new_dmin);
    if (!(new_loss < loss)) break;
    loss = new_loss;
    d = new_d;
    dmin = new_dmin;
    std::memcpy(block.d, half_d, 2);
    std::memcpy(block.dmin, half_dmin, 2);
  }
  for (int g = 0; g < kGroups; ++g) {
    const float scale = scales[g / 8][g % 8];
    const float min = mins[g / 8][g % 8];
    block.scales[g] = static_cast<int>(scale);
    block.mins[g] = static_cast<int>(min);
    Codes<kGroup>(x + g * kGroup, d * scale, -dmin * min, 0.0F, high, block.codes + g * kGroup);
  }
}

// Eight 6-bit scales and minima in 12 bytes, as UnpackScaleMin of block_formats.h reads them.
QUORUM_INLINE void PutScalesMins(const int* scales, const int* mins, std::uint8_t* p) {
  std::memset(p, 0, 12);
  for (int g = 0; g < 4; ++g) {
    p[g] = static_cast<std::uint8_t>(scales[g] | ((scales[g + 4] >> 4) << 6));
    p[g + 4] = static_cast<std::uint8_t>(mins[g] | ((mins[g + 4] >> 4) << 6));
    p[g + 8] = static_cast<std::uint8_t>((scales[g + 4] & 15) | ((mins[g + 4] & 15) << 4));
  }
}

QUORUM_INLINE void PutQ4_K(const AffineBlock<8>& block, std::uint8_t* dst) {
  std::memcpy(dst, block.d, 2);
  std::memcpy(dst + 2, block.dmin, 2);
  PutScalesMins(block.scales, block.mins, dst + 4);
  for (int pair = 0; pair < 4; ++pair) {
    for (int l = 0; l < 32; ++l) {
      dst[16 + pair * 32 + l] =
          static_cast<std::uint8_t>(block.codes[pair * 64 + l] | (block.codes[pair * 64 + 32 + l] << 4));
    }
  }
}

QUORUM_INLINE void MakeQ4_K(const float* x, const float* w, std::uint8_t* dst) {
  AffineBlock<8> block;
  MakeAffineBlock(x, w, 15.0F, 63, block);
  PutQ4_K(block, dst);
}

QUORUM_INLINE void MakeQ5_K(const float* x, const float* w, std::uint8_t* dst) {
  AffineBlock<8> block;
  MakeAffineBlock(x, w, 31.0F, 63, block);
  std::memcpy(dst, block.d, 2);
  std::memcpy(dst + 2, block.dmin, 2);
  PutScalesMins(block.scales, block.mins, dst + 4);
  std::memset(dst + 16, 0, 32);
  for (int g = 0; g < 8; ++g) {
    for (int l = 0; l < 32; ++l) {
      dst[16 + l] |= static_cast<std::uint8_t>(((block.codes[g * 32 + l] >> 4) & 1) << g);
    }
  }
  for (int pair = 0; pair < 4; ++pair) {
    for (int l = 0; l < 32; ++l) {
      dst[48 + pair * 32 + l] =
          static_cast<std::uint8_t>((block.codes[pair * 64 + l] & 15) | ((block.codes[pair * 64 + 32 + l] & 15) << 4));
    }
  }
}

// Where the sixteen 2-bit codes of a group lie in 64 bytes (TwoBitPlace of block_k.cc).
QUORUM_INLINE void PutTwoBits(const std::int8_t* codes, std::uint8_t* p) {
  for (int half = 0; half < 2; ++half) {
    for (int l = 0; l < 32; ++l) {
      int byte = 0;
      for (int run = 0; run < 4; ++run) byte |= (codes[half * 128 + run * 32 + l] & 3) << (2 * run);
      p[half * 32 + l] = static_cast<std::uint8_t>(byte);
    }
  }
}

QUORUM_INLINE void MakeQ2_K(const float* x, const float* w, std::uint8_t* dst) {
  AffineBlock<16> block;
  MakeAffineBlock(x, w, 3.0F, 15, block);
  for (int g = 0; g < 16; ++g) dst[g] = static_cast<std::uint8_t>(block.scales[g] | (block.mins[g] << 4));
  PutTwoBits(block.codes, dst + 16);
  std::memcpy(dst + 80, block.d, 2);
  std::memcpy(dst + 82, block.dmin, 2);
}

/// Q3_K and Q6_K: x ~ d scale q with sixteen groups, `low` <= q <= -low - 1, -`levels` <= scale < `levels`.
struct SignedBlock {
  std::uint8_t d[2];
  int scales[16];
  alignas(32) std::int8_t codes[kSuper];
};

/// `stride` as of SignedLanes.
QUORUM_INLINE void MakeSignedBlock(const float* x, const float* w, float low, int levels, int stride,
                                   SignedBlock& block) {
  const F8 zero = Splat(0.0F);
  const F8 lowest = Splat(low);
  const F8 highest = Splat(-low - 1.0F);
  F8 xs[2][16], ws[2][16], scales[2];
  alignas(32) float found[16];
  for (int h = 0; h < 2; ++h) {
    ToLanes<16>(x + h * 128, xs[h]);
    ToLanes<16>(w + h * 128, ws[h]);
    Store(SignedLanes<16>(xs[h], ws[h], low, -low - 1.0F, kSignedSteps, stride), found + h * 8);
  }
  float d = PutHalf(Extreme<16>(found) / -static_cast<float>(levels), block.d);
  F8 loss = zero;
  F8 wxq = zero;
  F8 wqq = zero;
  for (int h = 0; h < 2; ++h) {
    scales[h] = d != 0.0F ? Code(Load(found + h * 8) / Splat(d), Splat(-static_cast<float>(levels)),
                                 Splat(static_cast<float>(levels - 1)))
                          : zero;
    // The loss, and what the best d for these integers needs.
    const F8 step = Splat(d) * scales[h];
    const F8 inverse = Inverse(step);
    F8 xq = zero;
    F8 qq = zero;
    for (int i = 0; i < 16; ++i) {
      const F8 v = xs[h][i];
      const F8 q = Code(v * inverse, lowest, highest);
      const F8 weighted = ws[h][i] * q;
      const F8 left = v - step * q;
      xq += weighted * v;
      qq += weighted * q;
      loss += ws[h][i] * left * left;
    }
    wxq += scales[h] * xq;
    wqq += scales[h] * scales[h] * qq;
  }
  const float aa = Sum(wqq);
  if (aa > 0.0F) {
    std::uint8_t half[2];
    const float better = PutHalf(Sum(wxq) / aa, half);
    const F8 new_loss = LossLanes<16>(xs[0], ws[0], Splat(better) * scales[0], zero, lowest, highest) +
                        LossLanes<16>(xs[1], ws[1], Splat(better) * scales[1], zero, lowest, highest);
    if (Sum(new_loss) < Sum(loss)) {
      d = better;
      std::memcpy(block.d, half, 2);
    }
  }
  for (int g = 0; g < 16; ++g) {
    const float scale = scales[g / 8][g % 8];
    block.scales[g] = static_cast<int>(scale);
    Codes<16>(x + g * 16, d * scale, 0.0F, low, -low - 1.0F, block.codes + g * 16);
  }
}

QUORUM_INLINE void MakeQ6_K(const float* x, const float* w, std::uint8_t* dst) {
  SignedBlock block;
  MakeSignedBlock(x, w, -32.0F, 128, 1, block);
  alignas(32) std::int8_t high[kSuper];
  for (int i = 0; i < kSuper; ++i) {
    const int code = block.codes[i] + 32;
    block.codes[i] = static_cast<std::int8_t>(code & 15);
    high[i] = static_cast<std::int8_t>(code >> 4);
  }
  for (int half = 0; half < 2; ++half) {
    for (int l = 0; l < 64; ++l) {
      dst[half * 64 + l] =
          static_cast<std::uint8_t>(block.codes[half * 128 + l] | (block.codes[half * 128 + 64 + l] << 4));
    }
  }
  PutTwoBits(high, dst + 128);
  for (int g = 0; g < 16; ++g) dst[192 + g] = static_cast<std::uint8_t>(block.scales[g]);
  std::memcpy(dst + 208, block.d, 2);
}

QUORUM_INLINE void MakeQ3_K(const float* x, const float* w, std::uint8_t* dst) {
  SignedBlock block;
  MakeSignedBlock(x, w, -4.0F, 32, 3, block);
  for (std::int8_t& code : block.codes) code = static_cast<std::int8_t>(code + 4);
  std::memset(dst, 0, 32);
  for (int run = 0; run < 8; ++run) {
    for (int l = 0; l < 32; ++l) dst[l] |= static_cast<std::uint8_t>((block.codes[run * 32 + l] >> 2) << run);
  }
  PutTwoBits(block.codes, dst + 32);
  std::uint8_t* scales = dst + 96;
  std::memset(scales, 0, 12);
  for (int g = 0; g < 16; ++g) {
    const int scale = block.scales[g] + 32;
    scales[g % 8] |= static_cast<std::uint8_t>((scale & 15) << (g < 8 ? 0 : 4));
    scales[8 + g % 4] |= static_cast<std::uint8_t>((scale >> 4) << (2 * (g / 4)));
  }
  std::memcpy(dst + 108, block.d, 2);
}

// ---------------------------------------------------------------- int8-exact Q4_K

struct ExactLanes {
  F8 scale;
  F8 min;
  F8 loss;
};

/// Largest code of a group that keeps scale q - 2 min at most 127. Scales are at least 1.
QUORUM_INLINE F8 HighestExact(const F8& scale, const F8& min) {
  const F8 fits = Floor((Splat(127.0F) + min + min) / scale);
  const F8 most = Splat(15.0F);
  return fits < most ? fits : most;
}

QUORUM_INLINE F8 ExactLoss(const F8* x, const F8* w, float d, const F8& scale, const F8& min) {
  return LossLanes<32>(x, w, Splat(d) * scale, Splat(-2.0F * d) * min, Splat(0.0F), HighestExact(scale, min));
}

/// The best of the integers about `wanted` for each group and a given d.
QUORUM_INLINE ExactLanes ChooseExact(const F8* x, const F8* w, float d, const LaneScales& wanted) {
  const F8 zero = Splat(0.0F);
  const F8 one = Splat(1.0F);
  const F8 most = Splat(63.0F);
  const F8 middle = wanted.offset + Splat(7.5F) * wanted.scale;
  const F8 base = Floor(Clamp(wanted.scale / Splat(d), zero, Splat(62.0F)));
  ExactLanes best{one, zero, zero};
  for (int up = 0; up <= 1; ++up) {
    const F8 raised = base + Splat(static_cast<float>(up));
    const F8 scale = raised > one ? raised : one;
    const F8 low = Floor(Clamp((Splat(7.5F * d) * scale - middle) / Splat(2.0F * d), zero, most));
    for (int more = 0; more <= 1; ++more) {
      const F8 next = low + Splat(static_cast<float>(more));
      const F8 min = next < most ? next : most;
      const F8 loss = ExactLoss(x, w, d, scale, min);
      const I8 better = (loss < best.loss) | (Splat(static_cast<float>(up + more)) == zero);
      best.scale = better ? scale : best.scale;
      best.min = better ? min : best.min;
      best.loss = better ? loss : best.loss;
    }
  }
  return best;
}

QUORUM_INLINE void MakeQ4X(const float* x, const float* w, std::uint8_t* dst) {
  AffineBlock<8> block;
  F8 xs[32], ws[32], w_sum, wx_sum;
  ToLanes<32>(x, xs);
  ToLanes<32>(w, ws);
  const LaneScales wanted = AffineLanes<32>(xs, ws, 15.0F, kAffineSteps, w_sum, wx_sum);
  // The largest value that must be reached, in either direction.
  const float up = Largest(Splat(15.0F) * wanted.scale + wanted.offset);
  const float down = Largest(-wanted.offset);
  const float top = up > down ? up : down;
  // A scale below the smallest normal half would lose its own precision; there and at zero one step serves.
  std::uint8_t half[2];
  float best_d = PutHalf(top / 127.0F, half);
  ExactLanes best{Splat(1.0F), Splat(0.0F), Splat(0.0F)};
  float best_loss = -1.0F;
  if (best_d > 0.0F && top == top) {
    constexpr float kFactors[] = {1.0F, 0.93F, 0.965F, 1.03F, 1.065F, 1.1F, 1.14F, 1.18F, 1.23F};
    for (const float factor : kFactors) {
      const float d = PutHalf(top / 127.0F * factor, half);
      if (!(d > 0.0F)) continue;
      const ExactLanes groups = ChooseExact(xs, ws, d, wanted);
      const float loss = Sum(groups.loss);
      if (best_loss >= 0.0F && !(loss < best_loss)) continue;
      best_loss = loss;
      best_d = d;
      best = groups;
    }
  }
  // The best d for these integers.
  const F8 step = Splat(best_d) * best.scale;
  const F8 inverse = Inverse(step);
  const F8 offset = Splat(-2.0F * best_d) * best.min;
  const F8 highest = HighestExact(best.scale, best.min);
  F8 xa = Splat(0.0F);
  F8 aa = Splat(0.0F);
  for (int i = 0; i < 32; ++i) {
    const F8 q = Code((xs[i] - offset) * inverse, Splat(0.0F), highest);
    const F8 a = best.scale * q - (best.min + best.min);
    const F8 wa = ws[i] * a;
    xa += wa * xs[i];
    aa += wa * a;
  }
  if (Sum(aa) > 0.0F && Sum(xa) > 0.0F) {
    const float better = PutHalf(Sum(xa) / Sum(aa), half);
    // 2 d must be a finite half as well.
    if (better > 0.0F && better < 32000.0F && best_loss >= 0.0F &&
        Sum(ExactLoss(xs, ws, better, best.scale, best.min)) < best_loss) {
      best_d = better;
    }
  }
  constexpr float kMost = 32752.0F;  // its double is the largest half
  best_d = best_d < kMost ? best_d : kMost;
  PutHalf(best_d, block.d);
  PutHalf(2.0F * best_d, block.dmin);
  for (int g = 0; g < 8; ++g) {
    block.scales[g] = static_cast<int>(best.scale[g]);
    block.mins[g] = static_cast<int>(best.min[g]);
    Codes<32>(x + g * 32, best_d * best.scale[g], -2.0F * best_d * best.min[g], 0.0F, highest[g], block.codes + g * 32);
  }
  PutQ4_K(block, dst);
}

}  // namespace quorum::quant::search
