// Finds the scales of quantized groups: private to the encoders of quant/. Everything here is inlined into functions
// that are compiled once for each instruction set (encode.cc); the operations are fixed lists on eight lanes, so all of
// them give the same bytes. The searches follow ggml's `make_qx_quants` and `make_qkx2_quants`: try some roundings,
// solve for the scale that suits each best by weighted least squares, keep the best.
#pragma once

#include <cstdint>
#include <cstring>

#define QUORUM_INLINE [[gnu::always_inline]] inline

namespace quorum::quant::search {

using F8 = float __attribute__((vector_size(32)));
using I8 = std::int32_t __attribute__((vector_size(32)));
using B32 = std::int8_t __attribute__((vector_size(32)));

QUORUM_INLINE F8 Splat(float v) {
#if defined(__x86_64__)
  // g++ makes one instruction of a maximum or a minimum only where it does not know the limit.
  __asm__("" : "+x"(v));
#endif
  const F8 first{v};
  return __builtin_shufflevector(first, first, 0, 0, 0, 0, 0, 0, 0, 0);  // one instruction, unlike a list of eight
}

QUORUM_INLINE F8 Load(const float* p) {
  F8 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

QUORUM_INLINE void Store(const F8& v, float* p) { std::memcpy(p, &v, sizeof v); }

/// Byte i of dword l of each half becomes byte l of dword i; then those dwords of the two halves that belong together
/// stand side by side: what was `bytes[i]` of lane l is byte 8 i + l.
QUORUM_INLINE I8 GatherBytes(const I8& lanes) {
  B32 bytes;
  std::memcpy(&bytes, &lanes, sizeof bytes);
  bytes = __builtin_shufflevector(bytes, bytes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,  //
                                  16, 20, 24, 28, 17, 21, 25, 29, 18, 22, 26, 30, 19, 23, 27, 31);
  I8 words;
  std::memcpy(&words, &bytes, sizeof words);
  return __builtin_shufflevector(words, words, 0, 4, 1, 5, 2, 6, 3, 7);
}

QUORUM_INLINE void StoreBytes(const I8& v, void* p) {
  const I8 words = GatherBytes(v);
  std::memcpy(p, &words, 8);
}

/// Four vectors of small integers as 32 bytes, one behind the other.
QUORUM_INLINE void StoreBytes(const I8* v, void* p) {
  const I8 words = GatherBytes((v[0] & 255) | ((v[1] & 255) << 8) | ((v[2] & 255) << 16) | (v[3] << 24));
  std::memcpy(p, &words, sizeof words);
}

/// Two of integers in [0, 255] as 16.
QUORUM_INLINE void StoreBytes(const I8& first, const I8& second, void* p) {
  const I8 words = GatherBytes(first | (second << 8));
  std::memcpy(p, &words, 16);
}

QUORUM_INLINE F8 Abs(const F8& v) {
  I8 bits;
  std::memcpy(&bits, &v, sizeof bits);
  bits &= 0x7fffffff;
  F8 size;
  std::memcpy(&size, &bits, sizeof size);
  return size;
}

/// `size`, which is not negative, with the signs of `v`.
QUORUM_INLINE F8 WithSign(float size, const F8& v) {
  I8 bits;
  std::memcpy(&bits, &v, sizeof bits);
  std::int32_t plain;
  std::memcpy(&plain, &size, sizeof plain);
  bits = (bits & INT32_MIN) | plain;
  F8 out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}

QUORUM_INLINE float Sum(const F8& v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }

/// Half to even, for |v| < 2^22: the sum has no bits behind the point.
QUORUM_INLINE F8 Round(const F8& v) {
  const F8 magic = Splat(12582912.0F);
  return (v + magic) - magic;
}

/// NaN becomes `low`.
QUORUM_INLINE F8 Clamp(const F8& v, const F8& low, const F8& high) {
  const F8 raised = v > low ? v : low;
  return raised < high ? raised : high;
}

/// Clamped first, so that Round's limit holds whatever comes.
QUORUM_INLINE F8 Code(const F8& v, const F8& low, const F8& high) { return Round(Clamp(v, low, high)); }

struct MinMax {
  float least;
  float most;
};

template <int N>
QUORUM_INLINE MinMax Range(const float* x) {
  F8 low = Load(x);
  F8 high = low;
  for (int i = 8; i < N; i += 8) {
    const F8 v = Load(x + i);
    low = v < low ? v : low;
    high = v > high ? v : high;
  }
  const auto fold = [&](const F8& other_low, const F8& other_high) __attribute__((always_inline)) {
    low = other_low < low ? other_low : low;
    high = other_high > high ? other_high : high;
  };
  fold(__builtin_shufflevector(low, low, 4, 5, 6, 7, 0, 1, 2, 3),
       __builtin_shufflevector(high, high, 4, 5, 6, 7, 0, 1, 2, 3));
  fold(__builtin_shufflevector(low, low, 2, 3, 0, 1, 6, 7, 4, 5),
       __builtin_shufflevector(high, high, 2, 3, 0, 1, 6, 7, 4, 5));
  fold(__builtin_shufflevector(low, low, 1, 0, 3, 2, 5, 4, 7, 6),
       __builtin_shufflevector(high, high, 1, 0, 3, 2, 5, 4, 7, 6));
  return {low[0], high[0]};
}

/// The value of the largest magnitude, with its sign; the positive one of two.
template <int N>
QUORUM_INLINE float Extreme(const float* x) {
  const MinMax range = Range<N>(x);
  return -range.least > range.most ? range.least : range.most;
}

/// The scale s for which x ~ s q with whole q in [low, high], low < 0 < high, has the least sum of w (x - s q)^2; 0
/// where x is all zero. `steps` roundings on each side of the one that maps the extreme value to `low` are tried.
template <int N>
QUORUM_INLINE float SignedScale(const float* x, const float* w, float low, float high, int steps) {
  const float extreme = Extreme<N>(x);
  if (!(extreme > 0.0F) && !(extreme < 0.0F)) return 0.0F;
  float best_gain = 0.0F;
  float best = extreme / low;
  const F8 lowest = Splat(low);
  const F8 highest = Splat(high);
  for (int step = -steps; step <= steps; ++step) {
    const F8 inverse = Splat((low + 0.1F * static_cast<float>(step)) / extreme);
    F8 xq = Splat(0.0F);
    F8 qq = Splat(0.0F);
    for (int i = 0; i < N; i += 8) {
      const F8 v = Load(x + i);
      const F8 q = Code(v * inverse, lowest, highest);
      const F8 wq = Load(w + i) * q;
      xq += wq * v;
      qq += wq * q;
    }
    const float product = Sum(xq);
    const float square = Sum(qq);
    if (!(square > 0.0F)) continue;
    const float scale = product / square;
    const float gain = product * scale;
    if (gain > best_gain) {
      best_gain = gain;
      best = scale;
    }
  }
  return best;
}

struct ScaleOffset {
  float scale;
  float offset;
};

/// Scale and offset for which x ~ scale q + offset with whole q in [0, high] has the least weighted error. The scale is
/// never negative.
template <int N>
QUORUM_INLINE ScaleOffset AffineScale(const float* x, const float* w, float high, int steps) {
  F8 w_sum = Splat(0.0F);
  F8 x_sum = Splat(0.0F);
  for (int i = 0; i < N; i += 8) {
    const F8 v = Load(x + i);
    const F8 weight = Load(w + i);
    w_sum += weight;
    x_sum += weight * v;
  }
  const auto [least, most] = Range<N>(x);
  if (!(most > least)) return {0.0F, least};
  const double sw = static_cast<double>(Sum(w_sum));
  const double sx = static_cast<double>(Sum(x_sum));
  ScaleOffset best{(most - least) / high, least};
  double best_loss = 0.0;
  const F8 zero = Splat(0.0F);
  const F8 highest = Splat(high);
  const F8 start = Splat(least);
  for (int step = -1; step <= steps; ++step) {
    // The first is the plain rounding, so that a search never does worse.
    const float levels = step < 0 ? high : high - 1.0F + 2.0F * static_cast<float>(step) / static_cast<float>(steps);
    const F8 inverse = Splat(levels / (most - least));
    F8 q_sum = zero;
    F8 qq_sum = zero;
    F8 xq_sum = zero;
    for (int i = 0; i < N; i += 8) {
      const F8 v = Load(x + i);
      const F8 q = Code((v - start) * inverse, zero, highest);
      const F8 wq = Load(w + i) * q;
      q_sum += wq;
      qq_sum += wq * q;
      xq_sum += wq * v;
    }
    const double sq = static_cast<double>(Sum(q_sum));
    const double sqq = static_cast<double>(Sum(qq_sum));
    const double sxq = static_cast<double>(Sum(xq_sum));
    const double determinant = sw * sqq - sq * sq;
    if (!(determinant > 0.0)) continue;
    const double scale = (sw * sxq - sx * sq) / determinant;
    const double offset = (sqq * sx - sq * sxq) / determinant;
    if (!(scale > 0.0)) continue;
    // The error without its constant part, sum of w x^2.
    const double loss = scale * (scale * sqq - 2.0 * sxq + 2.0 * offset * sq) + offset * (offset * sw - 2.0 * sx);
    if (loss < best_loss) {
      best_loss = loss;
      best = {static_cast<float>(scale), static_cast<float>(offset)};
    }
  }
  return best;
}

/// Codes of x ~ scale q + offset, as bytes.
template <int N>
QUORUM_INLINE void Codes(const float* x, float scale, float offset, float low, float high, std::int8_t* codes) {
  const F8 inverse = Splat(scale != 0.0F ? 1.0F / scale : 0.0F);
  const F8 start = Splat(offset);
  const F8 lowest = Splat(low);
  const F8 highest = Splat(high);
  for (int i = 0; i < N; i += 8) {
    StoreBytes(__builtin_convertvector(Code((Load(x + i) - start) * inverse, lowest, highest), I8), codes + i);
  }
}

/// Sum of w (x - scale q - offset)^2 for the best codes.
template <int N>
QUORUM_INLINE float Loss(const float* x, const float* w, float scale, float offset, float low, float high) {
  const F8 inverse = Splat(scale != 0.0F ? 1.0F / scale : 0.0F);
  const F8 factor = Splat(scale);
  const F8 start = Splat(offset);
  const F8 lowest = Splat(low);
  const F8 highest = Splat(high);
  F8 sum = Splat(0.0F);
  for (int i = 0; i < N; i += 8) {
    const F8 v = Load(x + i) - start;
    const F8 left = v - factor * Code(v * inverse, lowest, highest);
    sum += Load(w + i) * left * left;
  }
  return Sum(sum);
}

}  // namespace quorum::quant::search
