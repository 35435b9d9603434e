// Searches for the scales of eight groups at a time, one a lane: element i of all eight is one vector, so no sum runs
// across lanes. Private to the encoders of the K-quants; scale_search.h has the same searches for one group.
#pragma once

#include "quant/scale_search.h"

namespace quorum::quant::search {

/// x[i][g] = p[g * N + i], for the eight groups of N values at `p`.
template <int N>
QUORUM_INLINE void ToLanes(const float* p, F8* x) {
  for (int i = 0; i < N; i += 8) {
    F8 a[8], b[8];
    for (int g = 0; g < 8; ++g) a[g] = Load(p + g * N + i);
    for (int g = 0; g < 8; g += 2) {
      b[g] = __builtin_shufflevector(a[g], a[g + 1], 0, 8, 1, 9, 4, 12, 5, 13);
      b[g + 1] = __builtin_shufflevector(a[g], a[g + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int g = 0; g < 8; g += 4) {
      a[g] = __builtin_shufflevector(b[g], b[g + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[g + 1] = __builtin_shufflevector(b[g], b[g + 2], 2, 3, 10, 11, 6, 7, 14, 15);
      a[g + 2] = __builtin_shufflevector(b[g + 1], b[g + 3], 0, 1, 8, 9, 4, 5, 12, 13);
      a[g + 3] = __builtin_shufflevector(b[g + 1], b[g + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int g = 0; g < 4; ++g) {
      x[i + g] = __builtin_shufflevector(a[g], a[g + 4], 0, 1, 2, 3, 8, 9, 10, 11);
      x[i + g + 4] = __builtin_shufflevector(a[g], a[g + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
  }
}

QUORUM_INLINE F8 Inverse(const F8& v) {
  const F8 zero = Splat(0.0F);
  return v != zero ? Splat(1.0F) / v : zero;
}

/// Down to whole, for 0 <= v < 2^31.
QUORUM_INLINE F8 Floor(const F8& v) { return __builtin_convertvector(__builtin_convertvector(v, I8), F8); }

/// At least 0, whatever is not a number.
QUORUM_INLINE float Largest(const F8& v) {
  float most = 0.0F;
  for (int l = 0; l < 8; ++l) most = v[l] > most ? v[l] : most;
  return most;
}

struct LaneScales {
  F8 scale;
  F8 offset;
};

/// AffineScale of eight groups, but with offsets of at most 0. `w_sum`, `wx_sum`: sums of w and of w x.
template <int N>
QUORUM_INLINE LaneScales AffineLanes(const F8* x, const F8* w, float high, int steps, F8& w_sum, F8& wx_sum) {
  const F8 zero = Splat(0.0F);
  F8 least = x[0];
  F8 most = x[0];
  w_sum = zero;
  wx_sum = zero;
  for (int i = 0; i < N; ++i) {
    least = x[i] < least ? x[i] : least;
    most = x[i] > most ? x[i] : most;
    w_sum += w[i];
    wx_sum += w[i] * x[i];
  }
  least = least < zero ? least : zero;
  const F8 range = most - least;
  LaneScales best{range / Splat(high), least};
  F8 best_loss = zero;
  const F8 highest = Splat(high);
  const F8 two = Splat(2.0F);
  for (int step = -1; step <= steps; ++step) {
    // The first is the plain rounding, so that a search never does worse.
    const float levels = step < 0 ? high : high - 1.0F + 2.0F * static_cast<float>(step) / static_cast<float>(steps);
    const F8 inverse = Splat(levels) / range;
    const F8 start = least * inverse;
    F8 q_sum = zero;
    F8 qq_sum = zero;
    F8 xq_sum = zero;
    for (int i = 0; i < N; ++i) {
      const F8 q = Code(x[i] * inverse - start, zero, highest);
      const F8 wq = w[i] * q;
      q_sum += wq;
      qq_sum += wq * q;
      xq_sum += wq * x[i];
    }
    const F8 determinant = w_sum * qq_sum - q_sum * q_sum;
    F8 scale = (w_sum * xq_sum - wx_sum * q_sum) / determinant;
    F8 offset = (qq_sum * wx_sum - q_sum * xq_sum) / determinant;
    const F8 through_zero = xq_sum / qq_sum;
    scale = offset > zero ? through_zero : scale;
    offset = offset > zero ? zero : offset;
    // The error without its constant part, sum of w x^2.
    const F8 loss =
        scale * (scale * qq_sum - two * xq_sum + two * offset * q_sum) + offset * (offset * w_sum - two * wx_sum);
    const I8 better = (determinant > zero) & (scale > zero) & (loss < best_loss);
    best_loss = better ? loss : best_loss;
    best.scale = better ? scale : best.scale;
    best.offset = better ? offset : best.offset;
  }
  best.scale = range > zero ? best.scale : zero;
  best.offset = range > zero ? best.offset : least;
  return best;
}

/// SignedScale of eight groups. With `stride` > 1 every stride-th step is tried, and then those about the best.
template <int N>
QUORUM_INLINE F8 SignedLanes(const F8* x, const F8* w, float low, float high, int steps, int stride = 1) {
  const F8 zero = Splat(0.0F);
  const F8 lowest = Splat(low);
  const F8 highest = Splat(high);
  F8 least = x[0];
  F8 most = x[0];
  for (int i = 1; i < N; ++i) {
    least = x[i] < least ? x[i] : least;
    most = x[i] > most ? x[i] : most;
  }
  const F8 extreme = -least > most ? least : most;
  F8 best = extreme / lowest;
  F8 best_gain = zero;
  F8 best_step = zero;
  const F8 per_extreme = Splat(1.0F) / extreme;
  const auto attempt = [&](const F8& step) __attribute__((always_inline)) {
    const F8 inverse = (lowest + Splat(0.1F) * step) * per_extreme;
    F8 xq = zero;
    F8 qq = zero;
    for (int i = 0; i < N; ++i) {
      const F8 q = Code(x[i] * inverse, lowest, highest);
      const F8 wq = w[i] * q;
      xq += wq * x[i];
      qq += wq * q;
    }
    const F8 scale = xq / qq;
    const F8 gain = xq * scale;
    const I8 better = (qq > zero) & (gain > best_gain);
    best_gain = better ? gain : best_gain;
    best = better ? scale : best;
    best_step = better ? step : best_step;
  };
  for (int step = -steps; step <= steps; step += stride) attempt(Splat(static_cast<float>(step)));
  const F8 middle = best_step;
  for (int step = 1 - stride; step < stride; ++step) {
    if (step != 0) attempt(middle + Splat(static_cast<float>(step)));
  }
  return ((extreme > zero) | (extreme < zero)) ? best : zero;
}

/// Sum of w (x - scale q - offset)^2 for the best codes, of each group.
template <int N>
QUORUM_INLINE F8 LossLanes(const F8* x, const F8* w, const F8& scale, const F8& offset, const F8& low, const F8& high) {
  const F8 inverse = Inverse(scale);
  F8 sum = Splat(0.0F);
  for (int i = 0; i < N; ++i) {
    const F8 v = x[i] - offset;
    const F8 left = v - scale * Code(v * inverse, low, high);
    sum += w[i] * left * left;
  }
  return sum;
}

}  // namespace quorum::quant::search
