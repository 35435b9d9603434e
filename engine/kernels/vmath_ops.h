// The operation lists of the float row functions, written once over a 16-lane vector V (vmath_v16_*.h), so that every
// instruction set runs the same operations in the same order. Included by the kernel files only; everything has
// internal linkage (kernel objects must keep no weak symbols). Coefficients: minimax fits in relative error over the
// stated interval (Lawson's weighted least squares), rounded to float.
#pragma once

#include <stdint.h>

#include "engine/kernels/vmath.h"

namespace quorum::engine {
namespace {

constexpr float kInfinity = __builtin_inff();
constexpr float kRoundMagic = 12582912.0F;  // 1.5 * 2^23: x + magic - magic rounds |x| < 2^22 to integer, half to even
constexpr float kLog2E = 0x1.715476p+0F;
constexpr float kLn2High = 0x1.62e430p-1F;  // float(ln 2)
constexpr float kLn2Low = -0x1.05c610p-29F;

/// exp(x), error below 1 ulp. exp(0) == 1 exactly; -inf gives 0, overflow inf, NaN stays. Cody-Waite reduction
/// x = n ln2 + r, |r| <= 0.347; 1 + r + r^2 q(r), deg q = 4 (fit error 2^-28); times 2^n, denormals rounded once.
template <class V>
QUORUM_KERNEL_INLINE V Exp(V x) {
  const V low = V::Set(-104.5F);                            // exp(-103.98) is half the smallest denormal: rounds to 0
  const V clamped = V::Min(V::Set(89.0F), V::Max(low, x));  // this order keeps NaN
  const V n = V::Fma(clamped, V::Set(kLog2E), V::Set(kRoundMagic)) - V::Set(kRoundMagic);
  V r = V::FmaNeg(n, V::Set(kLn2High), clamped);
  r = V::FmaNeg(n, V::Set(kLn2Low), r);
  V q = V::Fma(V::Set(0x1.6a241ap-10F), r, V::Set(0x1.1239f2p-7F));
  q = V::Fma(q, r, V::Set(0x1.5558f2p-5F));
  q = V::Fma(q, r, V::Set(0x1.555492p-3F));
  q = V::Fma(q, r, V::Set(0x1.fffffcp-2F));
  const V e = V::Fma(r * r, q, r) + V::Set(1.0F);
  // Zero before scaling: a product that underflows costs a microcode assist on Intel, and masked scores are many.
  return V::Scale2(V::IfLess(x, low, V::Set(0.0F), e), n);
}

/// exp(x) for x <= 0, relative error below 2^-17: for weights that are rounded to eight bits. exp(0) == 1
/// exactly; below -86 as at -86, so that nothing is denormal; NaN stays. 1 + r + r^2 q(r), deg q = 2.
template <class V>
QUORUM_KERNEL_INLINE V ExpForBytes(V x) {
  const V clamped = V::Max(V::Set(-86.0F), x);  // this order keeps NaN
  const V n = V::Fma(clamped, V::Set(kLog2E), V::Set(kRoundMagic)) - V::Set(kRoundMagic);
  const V r = V::FmaNeg(n, V::Set(kLn2High), clamped);
  V q = V::Fma(V::Set(0x1.522544p-5F), r, V::Set(0x1.571ceap-3F));
  q = V::Fma(q, r, V::Set(0x1.0006b6p-1F));
  q = V::Fma(q, r, V::Set(1.0F));
  return V::Scale2Exact(V::Fma(q, r, V::Set(1.0F)), n);
}

/// tanh(x), error below 2 ulp, odd, 1 from 9.02 on, NaN stays. Below 0.625: x + x^3 p(x^2), deg p = 4 (fit error
/// 2^-27); else 1 - 2 / (exp(2|x|) + 1).
template <class V>
QUORUM_KERNEL_INLINE V Tanh(V x) {
  const V magnitude = V::Abs(x);
  const V z = x * x;
  V p = V::Fma(V::Set(-0x1.76ac1ap-8F), z, V::Set(0x1.5256d8p-6F));
  p = V::Fma(p, z, V::Set(-0x1.b84448p-5F));
  p = V::Fma(p, z, V::Set(0x1.110768p-3F));
  p = V::Fma(p, z, V::Set(-0x1.555534p-2F));
  const V small = V::Fma(z * magnitude, p, magnitude);
  const V one = V::Set(1.0F);
  const V large = one - V::Set(2.0F) / (Exp(magnitude + magnitude) + one);
  return V::CopySign(V::IfLess(magnitude, V::Set(0.625F), small, large), x);
}

/// log(x) of one float, error below 1 ulp for positive normal x; log(1) == 0 exactly, 0 gives -inf, negative NaN;
/// denormals count as 0. x = 2^n m, m in [sqrt(1/2), sqrt 2), s = f / (2 + f), f = m - 1:
/// log m = 2s + s^3 p(s^2) (fit error 2^-37), summed as f - (f^2/2 - s (f^2/2 + s^2 p)).
template <class V>
QUORUM_KERNEL_INLINE float Log(float x) {
  if (!(x >= 0x1p-126F)) return x >= 0 ? -kInfinity : __builtin_nanf("");
  if (x == kInfinity) return x;
  constexpr uint32_t kSqrtHalf = 0x3f3504f3U;
  const uint32_t shifted = V::ToBits(x) - kSqrtHalf;
  const float n = static_cast<float>(static_cast<int32_t>(shifted) >> 23);
  const float f = V::FromBits((shifted & 0x007fffffU) + kSqrtHalf) - 1.0F;
  const float s = f / (2.0F + f);
  const float z = s * s;
  float p = __builtin_fmaf(0x1.e2fdd2p-3F, z, 0x1.2438a8p-2F);
  p = __builtin_fmaf(p, z, 0x1.999a7cp-2F);
  p = __builtin_fmaf(p, z, 0x1.555554p-1F);
  const float half_square = 0.5F * f * f;
  const float tail = __builtin_fmaf(s, __builtin_fmaf(z, p, half_square), n * kLn2Low);
  return __builtin_fmaf(n, kLn2High, f - (half_square - tail));
}

template <class V, typename F>
QUORUM_KERNEL_INLINE void MapRow(int64_t n, float* y, F&& f) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) f(i, int64_t{16}).Store(y + i);
  if (i < n) f(i, n - i).Store(y + i, n - i);
}

/// 16 floats of x from i on; only the first `count` where there are fewer (0 for the rest).
template <class V>
QUORUM_KERNEL_INLINE V Part(const float* x, int64_t i, int64_t count) {
  return count == 16 ? V::Load(x + i) : V::Load(x + i, count, 0.0F);
}

template <class V>
QUORUM_KERNEL_INLINE void RmsNormRow(const float* x, const float* weight, float eps, int64_t n, float* y) {
  V sum = V::Set(0.0F);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const V v = V::Load(x + i);
    sum = V::Fma(v, v, sum);
  }
  if (i < n) {
    const V v = V::Load(x + i, n - i, 0.0F);
    sum = V::Fma(v, v, sum);
  }
  const float mean = V::ReduceAdd(sum) / static_cast<float>(n);
  const V factor = V::Set(1.0F / __builtin_sqrtf(mean + eps));
  MapRow<V>(n, y, [&](int64_t at, int64_t count) __attribute__((always_inline)) {
    return Part<V>(x, at, count) * factor * Part<V>(weight, at, count);
  });
}

template <class V>
QUORUM_KERNEL_INLINE void LayerNormRow(const float* x, const float* weight, const float* bias, float eps, int64_t n,
                                       float* y) {
  V sum = V::Set(0.0F);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) sum = sum + V::Load(x + i);
  if (i < n) sum = sum + V::Load(x + i, n - i, 0.0F);
  const float mean = V::ReduceAdd(sum) / static_cast<float>(n);
  const V center = V::Set(mean);
  V squares = V::Set(0.0F);
  for (i = 0; i + 16 <= n; i += 16) {
    const V v = V::Load(x + i) - center;
    squares = V::Fma(v, v, squares);
  }
  if (i < n) {
    const V v = V::Load(x + i, n - i, mean) - center;  // lanes beyond n add 0
    squares = V::Fma(v, v, squares);
  }
  const float variance = V::ReduceAdd(squares) / static_cast<float>(n);
  const V factor = V::Set(1.0F / __builtin_sqrtf(variance + eps));
  MapRow<V>(n, y, [&](int64_t at, int64_t count) __attribute__((always_inline)) {
    return V::Fma((Part<V>(x, at, count) - center) * factor, Part<V>(weight, at, count), Part<V>(bias, at, count));
  });
}

template <class V>
QUORUM_KERNEL_INLINE void GeGluRow(const float* gate, const float* up, int64_t step, int64_t n, float* y) {
  MapRow<V>(n, y, [&](int64_t at, int64_t count) __attribute__((always_inline)) {
    const V v = Part<V>(gate, at / 16 * step, count);
    // 1 + tanh(t) = 2 / (1 + exp(-2t)); -2 sqrt(2/pi) and that times 0.044715.
    const V minus_2t = v * V::Fma(v * v, V::Set(-0x1.2444f2p-4F), V::Set(-0x1.988454p+0F));
    return v / (V::Set(1.0F) + Exp(minus_2t)) * Part<V>(up, at / 16 * step, count);
  });
}

template <class V>
QUORUM_KERNEL_INLINE void ClampedSwiGluRow(const float* gate, const float* up, int64_t step, float alpha, float limit,
                                           int64_t n, float* y) {
  const V top = V::Set(limit);
  const V one = V::Set(1.0F);
  MapRow<V>(n, y, [&](int64_t at, int64_t count) __attribute__((always_inline)) {
    // This order of Min and Max keeps NaN.
    const V g = V::Min(top, Part<V>(gate, at / 16 * step, count));
    const V u = V::Min(top, V::Max(V::Set(-limit), Part<V>(up, at / 16 * step, count)));
    return g / (one + Exp(V::Set(-alpha) * g)) * (u + one);
  });
}

template <class V>
QUORUM_KERNEL_INLINE void SwiGluRow(const float* gate, const float* up, int64_t step, int64_t n, float* y) {
  MapRow<V>(n, y, [&](int64_t at, int64_t count) __attribute__((always_inline)) {
    const V v = Part<V>(gate, at / 16 * step, count);
    const V silu = v / (V::Set(1.0F) + Exp(V::Set(0.0F) - v));
    return silu * Part<V>(up, at / 16 * step, count);
  });
}

template <class V>
QUORUM_KERNEL_INLINE float MaxOfRow(const float* x, int64_t n) {
  V max = V::Set(-kInfinity);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) max = V::Max(max, V::Load(x + i));
  if (i < n) max = V::Max(max, V::Load(x + i, n - i, -kInfinity));
  return V::ReduceMax(max);
}

/// sum(exp(x - max)), whose terms go to `y` (which may be x).
template <class V>
QUORUM_KERNEL_INLINE float SumExpRow(const float* x, float max, int64_t n, float* y) {
  const V shift = V::Set(max);
  V sum = V::Set(0.0F);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const V e = Exp(V::Load(x + i) - shift);
    e.Store(y + i);
    sum = sum + e;
  }
  if (i < n) {
    const V e = Exp(V::Load(x + i, n - i, -kInfinity) - shift);  // lanes beyond n add 0
    e.Store(y + i, n - i);
    sum = sum + e;
  }
  return V::ReduceAdd(sum);
}

template <class V>
QUORUM_KERNEL_INLINE float SoftmaxRow(float* x, int64_t n) {
  const float max = MaxOfRow<V>(x, n);
  const V sum = V::Set(SumExpRow<V>(x, max, n, x));
  MapRow<V>(n, x,
            [&](int64_t at, int64_t count) __attribute__((always_inline)) { return Part<V>(x, at, count) / sum; });
  return max;
}

/// What a sum lost is carried on (Kahan 1965): a vocabulary's many small terms would be rounded away one by one.
template <class V>
QUORUM_KERNEL_INLINE double LogSumExpRow(const float* x, int64_t n) {
  const float max = MaxOfRow<V>(x, n);
  const V shift = V::Set(max);
  V sum = V::Set(0.0F);
  V excess = V::Set(0.0F);  // by which `sum` is too large
  for (int64_t i = 0; i < n; i += 16) {
    const V part = i + 16 <= n ? V::Load(x + i) : V::Load(x + i, n - i, -kInfinity);  // lanes beyond n add 0
    const V term = Exp(part - shift) - excess;
    const V next = sum + term;
    excess = (next - sum) - term;
    sum = next;
  }
  return static_cast<double>(max) + static_cast<double>(Log<V>(V::ReduceAdd(sum)));
}

template <class V>
QUORUM_KERNEL_INLINE void RopeHead(float* head, const float* cos, const float* sin, int64_t n_rot, bool neox) {
  const int64_t half = n_rot / 2;
  if (neox) {
    float* other = head + half;
    for (int64_t i = 0; i < half; i += 16) {
      const int64_t count = half - i < 16 ? half - i : 16;
      const V a = Part<V>(head, i, count);
      const V b = Part<V>(other, i, count);
      const V c = Part<V>(cos, i, count);
      const V s = Part<V>(sin, i, count);
      const V first = V::Fma(a, c, V::Set(0.0F) - b * s);
      const V second = V::Fma(b, c, a * s);
      if (count == 16) {
        first.Store(head + i);
        second.Store(other + i);
      } else {
        first.Store(head + i, count);
        second.Store(other + i, count);
      }
    }
    return;
  }
  MapRow<V>(2 * half, head, [&](int64_t at, int64_t count) __attribute__((always_inline)) {
    const V v = Part<V>(head, at, count);
    const V c = V::LoadTwice(cos + at / 2, count / 2);
    const V s = V::LoadTwice(sin + at / 2, count / 2);
    return V::Fma(v, c, V::NegateEven(V::SwapPairs(v) * s));
  });
}

}  // namespace
}  // namespace quorum::engine
