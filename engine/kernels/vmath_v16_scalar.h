// Sixteen virtual lanes in plain C++: the golden model of V16. The AVX2 and AVX-512 forms have the same members with
// the same bits (vmath_v16_avx2.h, vmath_v16_avx512.h), so that every operation list is written once (vmath_ops.h).
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/kernels/vmath.h"

namespace quorum::engine::scalar {
namespace {

struct V16 {
  float lane[16];

  template <typename F>
  static QUORUM_KERNEL_INLINE V16 Each(F&& f) {
    V16 r;
    for (int i = 0; i < 16; ++i) r.lane[i] = f(i);
    return r;
  }

  static QUORUM_KERNEL_INLINE V16 Set(float a) {
    return Each([&](int) { return a; });
  }
  static QUORUM_KERNEL_INLINE V16 Load(const float* p) {
    return Each([&](int i) { return p[i]; });
  }
  /// The first n lanes (0..16) from memory, the others `fill`.
  static QUORUM_KERNEL_INLINE V16 Load(const float* p, int64_t n, float fill) {
    return Each([&](int i) { return i < n ? p[i] : fill; });
  }
  static QUORUM_KERNEL_INLINE V16 LoadBf16(const uint16_t* p) {
    return Each([&](int i) { return FromBits(static_cast<uint32_t>(p[i]) << 16); });
  }
  static QUORUM_KERNEL_INLINE V16 LoadInt32(const int32_t* p) {
    return Each([&](int i) { return static_cast<float>(p[i]); });
  }
  /// p[0], p[0], p[1], p[1] ... from the first n (0..8) floats, the others 0.
  static QUORUM_KERNEL_INLINE V16 LoadTwice(const float* p, int64_t n) {
    return Each([&](int i) { return i / 2 < n ? p[i / 2] : 0.0F; });
  }
  QUORUM_KERNEL_INLINE void Store(float* p) const {
    for (int i = 0; i < 16; ++i) p[i] = lane[i];
  }
  QUORUM_KERNEL_INLINE void Store(float* p, int64_t n) const {
    for (int i = 0; i < n; ++i) p[i] = lane[i];
  }

  friend QUORUM_KERNEL_INLINE V16 operator+(V16 a, V16 b) {
    return Each([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  friend QUORUM_KERNEL_INLINE V16 operator-(V16 a, V16 b) {
    return Each([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  friend QUORUM_KERNEL_INLINE V16 operator*(V16 a, V16 b) {
    return Each([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  friend QUORUM_KERNEL_INLINE V16 operator/(V16 a, V16 b) {
    return Each([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  /// a * b + c with one rounding.
  static QUORUM_KERNEL_INLINE V16 Fma(V16 a, V16 b, V16 c) {
    return Each([&](int i) { return __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]); });
  }
  /// c - a * b with one rounding.
  static QUORUM_KERNEL_INLINE V16 FmaNeg(V16 a, V16 b, V16 c) {
    return Each([&](int i) { return __builtin_fmaf(-a.lane[i], b.lane[i], c.lane[i]); });
  }
  /// a > b ? a : b, like MAXPS: b where either is NaN.
  static QUORUM_KERNEL_INLINE V16 Max(V16 a, V16 b) {
    return Each([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  /// a < b ? a : b, like MINPS.
  static QUORUM_KERNEL_INLINE V16 Min(V16 a, V16 b) {
    return Each([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  /// The greater of two floats without sign, and NaN if either is: the greater bits.
  static QUORUM_KERNEL_INLINE V16 MaxOrNan(V16 a, V16 b) {
    return Each([&](int i) { return ToBits(a.lane[i]) > ToBits(b.lane[i]) ? a.lane[i] : b.lane[i]; });
  }
  /// a < b ? x : y; y where a or b is NaN.
  static QUORUM_KERNEL_INLINE V16 IfLess(V16 a, V16 b, V16 x, V16 y) {
    return Each([&](int i) { return a.lane[i] < b.lane[i] ? x.lane[i] : y.lane[i]; });
  }
  /// Lane i is x where bit i of `bits` is set, else y.
  static QUORUM_KERNEL_INLINE V16 IfBit(uint32_t bits, V16 x, V16 y) {
    return Each([&](int i) { return ((bits >> i) & 1U) != 0 ? x.lane[i] : y.lane[i]; });
  }
  static QUORUM_KERNEL_INLINE V16 Abs(V16 a) {
    return Each([&](int i) { return FromBits(ToBits(a.lane[i]) & 0x7fffffffU); });
  }
  /// |magnitude| with the sign of `sign`.
  static QUORUM_KERNEL_INLINE V16 CopySign(V16 magnitude, V16 sign) {
    return Each([&](int i) {
      return FromBits((ToBits(magnitude.lane[i]) & 0x7fffffffU) | (ToBits(sign.lane[i]) & 0x80000000U));
    });
  }
  /// a * 2^n, rounded once, for |a| in {0} or [0.5, 2) and integral n in -160..130.
  static QUORUM_KERNEL_INLINE V16 Scale2(V16 a, V16 n) {
    return Each([&](int i) {
      const uint32_t whole = Whole(n.lane[i]);
      const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(whole) >> 1);
      // The first product is exact, so only the second one rounds (results below 2^-126) or overflows.
      return a.lane[i] * FromBits((half + 127U) << 23) * FromBits((whole - half + 127U) << 23);
    });
  }
  /// a * 2^n, exact, for |a| in [0.5, 2) and integral n in -124..0; a where a and n are NaN.
  static QUORUM_KERNEL_INLINE V16 Scale2Exact(V16 a, V16 n) {
    return Each([&](int i) {
      const uint32_t whole = n.lane[i] == n.lane[i] ? Whole(n.lane[i]) : 0U;
      return FromBits(ToBits(a.lane[i]) + (whole << 23));
    });
  }
  /// (1, 0, 3, 2, ...)
  static QUORUM_KERNEL_INLINE V16 SwapPairs(V16 a) {
    return Each([&](int i) { return a.lane[i ^ 1]; });
  }
  /// Negates the even lanes.
  static QUORUM_KERNEL_INLINE V16 NegateEven(V16 a) {
    return Each([&](int i) { return (i & 1) == 0 ? -a.lane[i] : a.lane[i]; });
  }
  /// The low byte of each lane's bits, to 16 bytes.
  QUORUM_KERNEL_INLINE void StoreLowBytes(uint8_t* p) const {
    for (int i = 0; i < 16; ++i) p[i] = static_cast<uint8_t>(ToBits(lane[i]) & 0xffU);
  }

  /// Joins the lanes by the tree (l, l+8), (l, l+4), (l, l+2), (l, l+1).
  static QUORUM_KERNEL_INLINE float ReduceAdd(V16 a) {
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) a.lane[i] = a.lane[i] + a.lane[i + half];
    }
    return a.lane[0];
  }
  static QUORUM_KERNEL_INLINE float ReduceMax(V16 a) {
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) a.lane[i] = a.lane[i] > a.lane[i + half] ? a.lane[i] : a.lane[i + half];
    }
    return a.lane[0];
  }
  static QUORUM_KERNEL_INLINE float ReduceMaxOrNan(V16 a) {
    for (int half = 8; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) {
        a.lane[i] = ToBits(a.lane[i]) > ToBits(a.lane[i + half]) ? a.lane[i] : a.lane[i + half];
      }
    }
    return a.lane[0];
  }

  /// Lane r is ReduceAdd(rows[r]), of up to 8 rows; the other lanes are anything.
  template <size_t R>
  static QUORUM_KERNEL_INLINE V16 ReduceAddEach(const V16 (&rows)[R]) {
    return Each([&](int i) { return ReduceAdd(rows[size_t(i) % R]); });
  }
  template <size_t R>
  static QUORUM_KERNEL_INLINE V16 ReduceMaxEach(const V16 (&rows)[R]) {
    return Each([&](int i) { return ReduceMax(rows[size_t(i) % R]); });
  }
  template <size_t R>
  static QUORUM_KERNEL_INLINE V16 ReduceMaxOrNanEach(const V16 (&rows)[R]) {
    return Each([&](int i) { return ReduceMaxOrNan(rows[size_t(i) % R]); });
  }

  /// An integral n as an integer. No cast: lanes that are not wanted may hold anything.
  static QUORUM_KERNEL_INLINE uint32_t Whole(float n) {
    constexpr float kMagic = 12582912.0F;  // 1.5 * 2^23: the sum's low bits are n
    return ToBits(n + kMagic) - ToBits(kMagic);
  }
  static QUORUM_KERNEL_INLINE uint32_t ToBits(float v) {
    uint32_t bits = 0;
    memcpy(&bits, &v, sizeof bits);
    return bits;
  }
  static QUORUM_KERNEL_INLINE float FromBits(uint32_t bits) {
    float v = 0;
    memcpy(&v, &bits, sizeof v);
    return v;
  }
};

}  // namespace
}  // namespace quorum::engine::scalar
