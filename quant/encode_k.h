// Encoders of the K-quants, 256 elements with two levels of scales (see block_k.cc for the layouts): private to
// encode.cc.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "quant/encode_small.h"
#include "quant/scale_search.h"

namespace quorum::quant::search {

constexpr int kSuper = 256;

QUORUM_INLINE int CutInt(float v, int low, int high) {
  if (!(v > static_cast<float>(low))) return low;
  if (v >= static_cast<float>(high)) return high;
  return static_cast<int>(std::nearbyintf(v));
}

/// What a block of groups with scales and minima becomes: x ~ d scale q - dmin min.
template <int kGroups>
struct AffineBlock {
  std::uint8_t d[2], dmin[2];  // halves
  int scales[16], mins[16];    // the first kGroups of them
  alignas(32) std::int8_t codes[kSuper];
};

/// The best d and dmin for integers that are fixed: weighted least squares in two unknowns.
template <int kGroups>
QUORUM_INLINE void SolveAffine(const float* x, const float* w, const AffineBlock<kGroups>& block, float& d,
                               float& dmin) {
  constexpr int kGroup = kSuper / kGroups;
  double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
  for (int g = 0; g < kGroups; ++g) {
    F8 wqq = Splat(0.0F), wq = wqq, ww = wqq, wxq = wqq, wx = wqq;
    for (int i = g * kGroup; i < (g + 1) * kGroup; i += 8) {
      I8 codes;
      for (int l = 0; l < 8; ++l) codes[l] = block.codes[i + l];
      const F8 q = __builtin_convertvector(codes, F8);
      const F8 v = Load(x + i);
      const F8 weight = Load(w + i);
      ww += weight;
      wx += weight * v;
      wq += weight * q;
      wqq += weight * q * q;
      wxq += weight * q * v;
    }
    const double s = block.scales[g];
    const double m = block.mins[g];
    aa += s * s * static_cast<double>(Sum(wqq));
    ab += s * m * static_cast<double>(Sum(wq));
    bb += m * m * static_cast<double>(Sum(ww));
    xa += s * static_cast<double>(Sum(wxq));
    xb += m * static_cast<double>(Sum(wx));
  }
  // x ~ d a - dmin b
  const double determinant = aa * bb - ab * ab;
  if (determinant > 1e-9 * aa * bb && aa > 0) {
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

template <int kGroups>
QUORUM_INLINE float AffineLoss(const float* x, const float* w, const AffineBlock<kGroups>& block, float d, float dmin,
                               float high) {
  constexpr int kGroup = kSuper / kGroups;
  float loss = 0.0F;
  for (int g = 0; g < kGroups; ++g) {
    loss += Loss<kGroup>(x + g * kGroup, w + g * kGroup, d * static_cast<float>(block.scales[g]),
                         -dmin * static_cast<float>(block.mins[g]), 0.0F, high);
  }
  return loss;
}

template <int kGroups>
QUORUM_INLINE void AffineCodes(const float* x, float d, float dmin, float high, AffineBlock<kGroups>& block) {
  constexpr int kGroup = kSuper / kGroups;
  for (int g = 0; g < kGroups; ++g) {
    Codes<kGroup>(x + g * kGroup, d * static_cast<float>(block.scales[g]), -dmin * static_cast<float>(block.mins[g]),
                  0.0F, high, block.codes + g * kGroup);
  }
}

/// Q2_K, Q4_K, Q5_K: `high` is the largest code, `levels` the largest scale and minimum.
template <int kGroups>
QUORUM_INLINE void MakeAffineBlock(const float* x, const float* w, float high, int levels,
                                   AffineBlock<kGroups>& block) {
  constexpr int kGroup = kSuper / kGroups;
  ScaleOffset found[16];
  float most_scale = 0.0F;
  float most_min = 0.0F;
  for (int g = 0; g < kGroups; ++g) {
    found[g] = AffineScale<kGroup>(x + g * kGroup, w + g * kGroup, high, kAffineSteps, false);
    most_scale = found[g].scale > most_scale ? found[g].scale : most_scale;
    most_min = -found[g].offset > most_min ? -found[g].offset : most_min;
  }
  const float top = static_cast<float>(levels);
  float d = PutHalf(most_scale / top, block.d);
  float dmin = PutHalf(most_min / top, block.dmin);
  for (int g = 0; g < kGroups; ++g) {
    block.scales[g] = CutInt(d > 0.0F ? found[g].scale / d : 0.0F, 0, levels);
    block.mins[g] = CutInt(dmin > 0.0F ? -found[g].offset / dmin : 0.0F, 0, levels);
  }
  // Each group's integers again, together: the minimum that suits a rounded scale is not the rounded minimum.
  for (int g = 0; g < kGroups; ++g) {
    const float* xs = x + g * kGroup;
    const float* ws = w + g * kGroup;
    const float middle = found[g].offset + 0.5F * high * found[g].scale;
    int best_scale = block.scales[g];
    int best_min = block.mins[g];
    float best =
        Loss<kGroup>(xs, ws, d * static_cast<float>(best_scale), -dmin * static_cast<float>(best_min), 0.0F, high);
    for (int scale = block.scales[g] - 1; scale <= block.scales[g] + 1; ++scale) {
      if (scale < 1 || scale > levels || !(dmin > 0.0F)) continue;
      const float step = d * static_cast<float>(scale);
      const int min = CutInt((0.5F * high * step - middle) / dmin, 0, levels);
      const float loss = Loss<kGroup>(xs, ws, step, -dmin * static_cast<float>(min), 0.0F, high);
      if (loss < best) {
        best = loss;
        best_scale = scale;
        best_min = min;
      }
    }
    block.scales[g] = best_scale;
    block.mins[g] = best_min;
  }
  AffineCodes(x, d, dmin, high, block);
  // d and dmin for these integers, kept if they are better as halves too.
  float loss = AffineLoss(x, w, block, d, dmin, high);
  for (int round = 0; round < 2; ++round) {
    float new_d = d;
    float new_dmin = dmin;
    SolveAffine(x, w, block, new_d, new_dmin);
    std::uint8_t half_d[2], half_dmin[2];
    new_d = PutHalf(new_d, half_d);
    new_dmin = PutHalf(new_dmin, half_dmin);
    const float new_loss = AffineLoss(x, w, block, new_d, new_dmin, high);
    if (!(new_loss < loss)) break;
    loss = new_loss;
    d = new_d;
    dmin = new_dmin;
    std::memcpy(block.d, half_d, 2);
    std::memcpy(block.dmin, half_dmin, 2);
    AffineCodes(x, d, dmin, high, block);
  }
}

// Eight 6-bit scales and minima in 12 bytes, as UnpackScaleMin of block_k.cc reads them.
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

QUORUM_INLINE void MakeSignedBlock(const float* x, const float* w, float low, int levels, SignedBlock& block) {
  const float high = -low - 1.0F;
  alignas(32) float found[16];
  for (int g = 0; g < 16; ++g) found[g] = SignedScale<16>(x + g * 16, w + g * 16, low, high, kSignedSteps);
  float d = PutHalf(Extreme<16>(found) / -static_cast<float>(levels), block.d);
  for (int g = 0; g < 16; ++g) block.scales[g] = CutInt(d != 0.0F ? found[g] / d : 0.0F, -levels, levels - 1);
  const auto loss_of = [&](float step) __attribute__((always_inline)) {
    float loss = 0.0F;
    for (int g = 0; g < 16; ++g) {
      loss += Loss<16>(x + g * 16, w + g * 16, step * static_cast<float>(block.scales[g]), 0.0F, low, high);
    }
    return loss;
  };
  const auto code_with = [&](float step) __attribute__((always_inline)) {
    for (int g = 0; g < 16; ++g) {
      Codes<16>(x + g * 16, step * static_cast<float>(block.scales[g]), 0.0F, low, high, block.codes + g * 16);
    }
  };
  code_with(d);
  // The best d for these integers.
  double xa = 0;
  double aa = 0;
  for (int g = 0; g < 16; ++g) {
    F8 wxq = Splat(0.0F);
    F8 wqq = wxq;
    for (int i = g * 16; i < g * 16 + 16; i += 8) {
      I8 codes;
      for (int l = 0; l < 8; ++l) codes[l] = block.codes[i + l];
      const F8 q = __builtin_convertvector(codes, F8);
      wxq += Load(w + i) * q * Load(x + i);
      wqq += Load(w + i) * q * q;
    }
    xa += block.scales[g] * static_cast<double>(Sum(wxq));
    aa += static_cast<double>(block.scales[g]) * block.scales[g] * static_cast<double>(Sum(wqq));
  }
  if (!(aa > 0)) return;
  std::uint8_t half[2];
  const float better = PutHalf(static_cast<float>(xa / aa), half);
  if (!(loss_of(better) < loss_of(d))) return;
  std::memcpy(block.d, half, 2);
  code_with(better);
}

QUORUM_INLINE void MakeQ6_K(const float* x, const float* w, std::uint8_t* dst) {
  SignedBlock block;
  MakeSignedBlock(x, w, -32.0F, 128, block);
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
  MakeSignedBlock(x, w, -4.0F, 32, block);
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

struct ExactGroup {
  int scale;
  int min;
  float loss;
};

/// Largest code of a group that keeps scale q - 2 min at most 127.
QUORUM_INLINE float HighestExact(int scale, int min) {
  const int fits = scale > 0 ? (127 + 2 * min) / scale : 15;
  return static_cast<float>(fits < 15 ? fits : 15);
}

/// The best of the integers about `wanted` for one group and a given d.
QUORUM_INLINE ExactGroup ChooseExact(const float* x, const float* w, float d, const ScaleOffset& wanted) {
  ExactGroup best{0, 0, 0.0F};
  bool first = true;
  const float middle = wanted.offset + 7.5F * wanted.scale;
  const int base = CutInt(std::floor(wanted.scale / d), 0, 62);
  for (int scale = base > 0 ? base : 1; scale <= base + 1; ++scale) {
    const float step = d * static_cast<float>(scale);
    const int low_min = CutInt(std::floor((7.5F * step - middle) / (2.0F * d)), 0, 63);
    for (int min = low_min; min <= low_min + 1 && min <= 63; ++min) {
      const float loss = Loss<32>(x, w, step, -2.0F * d * static_cast<float>(min), 0.0F, HighestExact(scale, min));
      if (first || loss < best.loss) best = {scale, min, loss};
      first = false;
    }
  }
  return best;
}

QUORUM_INLINE void MakeQ4X(const float* x, const float* w, std::uint8_t* dst) {
  AffineBlock<8> block;
  ScaleOffset wanted[8];
  float top = 0.0F;  // the largest value that must be reached, in either direction
  for (int g = 0; g < 8; ++g) {
    wanted[g] = AffineScale<32>(x + g * 32, w + g * 32, 15.0F, kAffineSteps, false);
    const float up = 15.0F * wanted[g].scale + wanted[g].offset;
    top = up > top ? up : top;
    top = -wanted[g].offset > top ? -wanted[g].offset : top;
  }
  // A scale below the smallest normal half would lose its own precision; there and at zero one step serves.
  std::uint8_t half[2];
  float best_d = PutHalf(top / 127.0F, half);
  int scales[8] = {}, mins[8] = {};
  if (best_d > 0.0F && top == top) {
    float best_loss = -1.0F;
    constexpr float kFactors[] = {1.0F, 0.93F, 0.965F, 1.03F, 1.065F, 1.1F, 1.14F, 1.18F, 1.23F};
    for (const float factor : kFactors) {
      const float d = PutHalf(top / 127.0F * factor, half);
      if (!(d > 0.0F)) continue;
      ExactGroup groups[8];
      float loss = 0.0F;
      for (int g = 0; g < 8; ++g) {
        groups[g] = ChooseExact(x + g * 32, w + g * 32, d, wanted[g]);
        loss += groups[g].loss;
        if (best_loss >= 0.0F && loss >= best_loss) break;
      }
      if (best_loss >= 0.0F && !(loss < best_loss)) continue;
      best_loss = loss;
      best_d = d;
      for (int g = 0; g < 8; ++g) {
        scales[g] = groups[g].scale;
        mins[g] = groups[g].min;
      }
    }
  }
  const auto code_with = [&](float d, std::int8_t* codes) __attribute__((always_inline)) {
    for (int g = 0; g < 8; ++g) {
      Codes<32>(x + g * 32, d * static_cast<float>(scales[g]), -2.0F * d * static_cast<float>(mins[g]), 0.0F,
                HighestExact(scales[g], mins[g]), codes + g * 32);
    }
  };
  const auto loss_of = [&](float d) __attribute__((always_inline)) {
    float loss = 0.0F;
    for (int g = 0; g < 8; ++g) {
      loss += Loss<32>(x + g * 32, w + g * 32, d * static_cast<float>(scales[g]),
                       -2.0F * d * static_cast<float>(mins[g]), 0.0F, HighestExact(scales[g], mins[g]));
    }
    return loss;
  };
  code_with(best_d, block.codes);
  // The best d for these integers.
  double xa = 0;
  double aa = 0;
  for (int g = 0; g < 8; ++g) {
    F8 wxa = Splat(0.0F);
    F8 waa = wxa;
    const F8 scale = Splat(static_cast<float>(scales[g]));
    const F8 shift = Splat(static_cast<float>(2 * mins[g]));
    for (int i = g * 32; i < g * 32 + 32; i += 8) {
      I8 codes;
      for (int l = 0; l < 8; ++l) codes[l] = block.codes[i + l];
      const F8 a = scale * __builtin_convertvector(codes, F8) - shift;
      const F8 wa = Load(w + i) * a;
      wxa += wa * Load(x + i);
      waa += wa * a;
    }
    xa += static_cast<double>(Sum(wxa));
    aa += static_cast<double>(Sum(waa));
  }
  if (aa > 0 && xa > 0) {
    const float better = PutHalf(static_cast<float>(xa / aa), half);
    // 2 d must be a finite half as well.
    if (better > 0.0F && better < 32000.0F && loss_of(better) < loss_of(best_d)) {
      best_d = better;
      code_with(best_d, block.codes);
    }
  }
  constexpr float kMost = 32752.0F;  // its double is the largest half
  best_d = best_d < kMost ? best_d : kMost;
  PutHalf(best_d, block.d);
  PutHalf(2.0F * best_d, block.dmin);
  std::memcpy(block.scales, scales, sizeof scales);
  std::memcpy(block.mins, mins, sizeof mins);
  PutQ4_K(block, dst);
}

}  // namespace quorum::quant::search
