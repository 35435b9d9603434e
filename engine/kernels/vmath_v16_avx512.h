// Sixteen lanes in one 512-bit register; members and bits as in vmath_v16_scalar.h, where they are described.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/kernels/vmath.h"

namespace quorum::engine::avx512 {
namespace {

struct V16 {
  __m512 v;

  static QUORUM_KERNEL_INLINE V16 Set(float a) { return {_mm512_set1_ps(a)}; }
  static QUORUM_KERNEL_INLINE V16 Load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static QUORUM_KERNEL_INLINE V16 Load(const float* p, int64_t n, float fill) {
    return {_mm512_mask_loadu_ps(_mm512_set1_ps(fill), First(n), p)};
  }
  static QUORUM_KERNEL_INLINE V16 LoadBf16(const uint16_t* p) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
  }
  static QUORUM_KERNEL_INLINE V16 LoadInt32(const int32_t* p) { return {_mm512_cvtepi32_ps(_mm512_loadu_si512(p))}; }
  static QUORUM_KERNEL_INLINE V16 LoadTwice(const float* p, int64_t n) {
    const __m512 half = _mm512_castps256_ps512(_mm256_maskz_loadu_ps(static_cast<__mmask8>(First(n)), p));
    const __m512i index = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return {_mm512_permutexvar_ps(index, half)};
  }
  QUORUM_KERNEL_INLINE void Store(float* p) const { _mm512_storeu_ps(p, v); }
  QUORUM_KERNEL_INLINE void Store(float* p, int64_t n) const { _mm512_mask_storeu_ps(p, First(n), v); }

  friend QUORUM_KERNEL_INLINE V16 operator+(V16 a, V16 b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend QUORUM_KERNEL_INLINE V16 operator-(V16 a, V16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend QUORUM_KERNEL_INLINE V16 operator*(V16 a, V16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend QUORUM_KERNEL_INLINE V16 operator/(V16 a, V16 b) { return {_mm512_div_ps(a.v, b.v)}; }
  static QUORUM_KERNEL_INLINE V16 Fma(V16 a, V16 b, V16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static QUORUM_KERNEL_INLINE V16 FmaNeg(V16 a, V16 b, V16 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
  static QUORUM_KERNEL_INLINE V16 Max(V16 a, V16 b) { return {_mm512_max_ps(a.v, b.v)}; }
  static QUORUM_KERNEL_INLINE V16 Min(V16 a, V16 b) { return {_mm512_min_ps(a.v, b.v)}; }
  static QUORUM_KERNEL_INLINE V16 MaxOrNan(V16 a, V16 b) {
    return {_mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(a.v), _mm512_castps_si512(b.v)))};
  }
  static QUORUM_KERNEL_INLINE V16 IfLess(V16 a, V16 b, V16 x, V16 y) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v)};
  }
  static QUORUM_KERNEL_INLINE V16 IfBit(uint32_t bits, V16 x, V16 y) {
    return {_mm512_mask_blend_ps(static_cast<__mmask16>(bits), y.v, x.v)};
  }
  static QUORUM_KERNEL_INLINE V16 Abs(V16 a) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0F), a.v)}; }
  static QUORUM_KERNEL_INLINE V16 CopySign(V16 magnitude, V16 sign) {
    const __m512 bit = _mm512_set1_ps(-0.0F);
    return {_mm512_or_ps(_mm512_andnot_ps(bit, magnitude.v), _mm512_and_ps(bit, sign.v))};
  }
  static QUORUM_KERNEL_INLINE V16 Scale2(V16 a, V16 n) { return {_mm512_scalef_ps(a.v, n.v)}; }
  static QUORUM_KERNEL_INLINE V16 Scale2Exact(V16 a, V16 n) { return Scale2(a, n); }
  static QUORUM_KERNEL_INLINE V16 SwapPairs(V16 a) { return {_mm512_permute_ps(a.v, 0xb1)}; }
  static QUORUM_KERNEL_INLINE V16 NegateEven(V16 a) {
    return {_mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(a.v), _mm512_set1_epi64(0x80000000LL)))};
  }
  QUORUM_KERNEL_INLINE void StoreLowBytes(uint8_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_castps_si512(v)));
  }

  static QUORUM_KERNEL_INLINE float ReduceAdd(V16 a) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
    __m128 r = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    r = _mm_add_ps(r, _mm_movehl_ps(r, r));
    return _mm_cvtss_f32(_mm_add_ss(r, _mm_movehdup_ps(r)));
  }
  static QUORUM_KERNEL_INLINE float ReduceMax(V16 a) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
    __m128 r = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    r = _mm_max_ps(r, _mm_movehl_ps(r, r));
    return _mm_cvtss_f32(_mm_max_ss(r, _mm_movehdup_ps(r)));
  }
  static QUORUM_KERNEL_INLINE float ReduceMaxOrNan(V16 a) {
    const __m256i eight = _mm256_max_epu32(_mm512_castsi512_si256(_mm512_castps_si512(a.v)),
                                           _mm512_extracti64x4_epi64(_mm512_castps_si512(a.v), 1));
    __m128i r = _mm_max_epu32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    r = _mm_max_epu32(r, _mm_shuffle_epi32(r, 0xee));
    r = _mm_max_epu32(r, _mm_shuffle_epi32(r, 0x55));
    return _mm_cvtss_f32(_mm_castsi128_ps(r));
  }

  template <size_t R>
  static QUORUM_KERNEL_INLINE V16 ReduceAddEach(const V16 (&rows)[R]) {
    return ReduceEach(rows, [](V16 a, V16 b) __attribute__((always_inline)) { return a + b; });
  }
  template <size_t R>
  static QUORUM_KERNEL_INLINE V16 ReduceMaxEach(const V16 (&rows)[R]) {
    return ReduceEach(rows, [](V16 a, V16 b) __attribute__((always_inline)) { return Max(a, b); });
  }
  template <size_t R>
  static QUORUM_KERNEL_INLINE V16 ReduceMaxOrNanEach(const V16 (&rows)[R]) {
    return ReduceEach(rows, [](V16 a, V16 b) __attribute__((always_inline)) { return MaxOrNan(a, b); });
  }

  static QUORUM_KERNEL_INLINE uint32_t ToBits(float a) {
    uint32_t bits = 0;
    memcpy(&bits, &a, sizeof bits);
    return bits;
  }
  static QUORUM_KERNEL_INLINE float FromBits(uint32_t bits) {
    float a = 0;
    memcpy(&a, &bits, sizeof a);
    return a;
  }
  /// The rows' trees side by side, two rows in a register after the first level, then four, then eight: three
  /// operations a pair of rows and level in place of eight and more a row.
  template <size_t R, class Join>
  static QUORUM_KERNEL_INLINE V16 ReduceEach(const V16 (&rows)[R], Join&& join) {
    static_assert(R <= 8);
    const auto row = [&](size_t r) __attribute__((always_inline)) { return rows[r < R ? r : R - 1].v; };
    V16 eight[4];  // of rows 2 i and 2 i + 1
    for (size_t i = 0; i < 4; ++i) {
      if (2 * i >= R) {
        eight[i] = eight[i - 1];
        continue;
      }
      eight[i] = join({_mm512_shuffle_f32x4(row(2 * i), row(2 * i + 1), 0x44)},
                      {_mm512_shuffle_f32x4(row(2 * i), row(2 * i + 1), 0xee)});
    }
    V16 four[2];  // of rows 4 i to 4 i + 3, one in each quarter
    for (size_t i = 0; i < 2; ++i) {
      if (4 * i >= R) {
        four[i] = four[i - 1];
        continue;
      }
      four[i] = join({_mm512_shuffle_f32x4(eight[2 * i].v, eight[2 * i + 1].v, 0x88)},
                     {_mm512_shuffle_f32x4(eight[2 * i].v, eight[2 * i + 1].v, 0xdd)});
    }
    const __m512d low = _mm512_castps_pd(four[0].v);
    const __m512d high = _mm512_castps_pd(four[1].v);
    const V16 two = join({_mm512_castpd_ps(_mm512_unpacklo_pd(low, high))},
                         {_mm512_castpd_ps(_mm512_unpackhi_pd(low, high))});
    const V16 one = join(two, SwapPairs(two));
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 4, 8, 12, 2, 6, 10, 14);
    return {_mm512_permutexvar_ps(order, one.v)};
  }
  static QUORUM_KERNEL_INLINE __mmask16 First(int64_t n) { return static_cast<__mmask16>((1U << n) - 1U); }
};

}  // namespace
}  // namespace quorum::engine::avx512
