// Sixteen lanes in two 256-bit registers; members and bits as in vmath_v16_scalar.h, where they are described.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/kernels/vmath.h"

namespace quorum::engine::avx2 {
namespace {

/// 16 lanes of all ones, then 16 of zeros: a load that starts 16 - n lanes in gives a mask of the first n.
alignas(64) constexpr int32_t kFirstMask[32] = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};

struct V16 {
  __m256 lo, hi;

  static QUORUM_KERNEL_INLINE V16 Set(float a) { return {_mm256_set1_ps(a), _mm256_set1_ps(a)}; }
  static QUORUM_KERNEL_INLINE V16 Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static QUORUM_KERNEL_INLINE V16 Load(const float* p, int64_t n, float fill) {
    const __m256i lo_mask = FirstMask(n);
    const __m256i hi_mask = FirstMask(n - 8);
    const __m256 rest = _mm256_set1_ps(fill);
    return {_mm256_blendv_ps(rest, _mm256_maskload_ps(p, lo_mask), _mm256_castsi256_ps(lo_mask)),
            _mm256_blendv_ps(rest, _mm256_maskload_ps(p + 8, hi_mask), _mm256_castsi256_ps(hi_mask))};
  }
  static QUORUM_KERNEL_INLINE V16 LoadBf16(const uint16_t* p) { return {Bf16Half(p), Bf16Half(p + 8)}; }
  static QUORUM_KERNEL_INLINE V16 LoadInt32(const int32_t* p) {
    return {_mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))),
            _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8)))};
  }
  static QUORUM_KERNEL_INLINE V16 LoadTwice(const float* p, int64_t n) {
    const __m256 half = _mm256_maskload_ps(p, FirstMask(n));
    return {_mm256_permutevar8x32_ps(half, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)),
            _mm256_permutevar8x32_ps(half, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7))};
  }
  QUORUM_KERNEL_INLINE void Store(float* p) const {
    _mm256_storeu_ps(p, lo);
    _mm256_storeu_ps(p + 8, hi);
  }
  QUORUM_KERNEL_INLINE void Store(float* p, int64_t n) const {
    _mm256_maskstore_ps(p, FirstMask(n), lo);
    _mm256_maskstore_ps(p + 8, FirstMask(n - 8), hi);
  }

  friend QUORUM_KERNEL_INLINE V16 operator+(V16 a, V16 b) {
    return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
  }
  friend QUORUM_KERNEL_INLINE V16 operator-(V16 a, V16 b) {
    return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
  }
  friend QUORUM_KERNEL_INLINE V16 operator*(V16 a, V16 b) {
    return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
  }
  friend QUORUM_KERNEL_INLINE V16 operator/(V16 a, V16 b) {
    return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
  }
  static QUORUM_KERNEL_INLINE V16 Fma(V16 a, V16 b, V16 c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
  }
  static QUORUM_KERNEL_INLINE V16 FmaNeg(V16 a, V16 b, V16 c) {
    return {_mm256_fnmadd_ps(a.lo, b.lo, c.lo), _mm256_fnmadd_ps(a.hi, b.hi, c.hi)};
  }
  static QUORUM_KERNEL_INLINE V16 Max(V16 a, V16 b) {
    return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
  }
  static QUORUM_KERNEL_INLINE V16 Min(V16 a, V16 b) {
    return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
  }
  static QUORUM_KERNEL_INLINE V16 MaxOrNan(V16 a, V16 b) {
    return {_mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(a.lo), _mm256_castps_si256(b.lo))),
            _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(a.hi), _mm256_castps_si256(b.hi)))};
  }
  static QUORUM_KERNEL_INLINE V16 IfLess(V16 a, V16 b, V16 x, V16 y) {
    return {_mm256_blendv_ps(y.lo, x.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
            _mm256_blendv_ps(y.hi, x.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
  }
  static QUORUM_KERNEL_INLINE V16 IfBit(uint32_t bits, V16 x, V16 y) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i all = _mm256_set1_epi32(static_cast<int32_t>(bits));
    const __m256i lo_mask = _mm256_cmpeq_epi32(_mm256_and_si256(all, bit), bit);
    const __m256i hi_bit = _mm256_slli_epi32(bit, 8);
    const __m256i hi_mask = _mm256_cmpeq_epi32(_mm256_and_si256(all, hi_bit), hi_bit);
    return {_mm256_blendv_ps(y.lo, x.lo, _mm256_castsi256_ps(lo_mask)),
            _mm256_blendv_ps(y.hi, x.hi, _mm256_castsi256_ps(hi_mask))};
  }
  static QUORUM_KERNEL_INLINE V16 Abs(V16 a) {
    const __m256 bit = _mm256_set1_ps(-0.0F);
    return {_mm256_andnot_ps(bit, a.lo), _mm256_andnot_ps(bit, a.hi)};
  }
  static QUORUM_KERNEL_INLINE V16 CopySign(V16 magnitude, V16 sign) {
    const __m256 bit = _mm256_set1_ps(-0.0F);
    return {_mm256_or_ps(_mm256_andnot_ps(bit, magnitude.lo), _mm256_and_ps(bit, sign.lo)),
            _mm256_or_ps(_mm256_andnot_ps(bit, magnitude.hi), _mm256_and_ps(bit, sign.hi))};
  }
  static QUORUM_KERNEL_INLINE V16 Scale2(V16 a, V16 n) { return {Scale2Half(a.lo, n.lo), Scale2Half(a.hi, n.hi)}; }
  static QUORUM_KERNEL_INLINE V16 Scale2Exact(V16 a, V16 n) {
    return {Scale2ExactHalf(a.lo, n.lo), Scale2ExactHalf(a.hi, n.hi)};
  }
  static QUORUM_KERNEL_INLINE V16 SwapPairs(V16 a) {
    return {_mm256_permute_ps(a.lo, 0xb1), _mm256_permute_ps(a.hi, 0xb1)};
  }
  static QUORUM_KERNEL_INLINE V16 NegateEven(V16 a) {
    const __m256 bit = _mm256_castsi256_ps(_mm256_set1_epi64x(0x80000000LL));
    return {_mm256_xor_ps(a.lo, bit), _mm256_xor_ps(a.hi, bit)};
  }
  QUORUM_KERNEL_INLINE void StoreLowBytes(uint8_t* p) const {
    const __m256i low = _mm256_set1_epi32(0xff);
    const __m256i words = _mm256_packus_epi32(_mm256_and_si256(_mm256_castps_si256(lo), low),
                                              _mm256_and_si256(_mm256_castps_si256(hi), low));
    // words: lo 0-3, hi 0-3 | lo 4-7, hi 4-7
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)));
  }

  static QUORUM_KERNEL_INLINE float ReduceAdd(V16 a) {
    const __m256 eight = _mm256_add_ps(a.lo, a.hi);
    __m128 r = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    r = _mm_add_ps(r, _mm_movehl_ps(r, r));
    return _mm_cvtss_f32(_mm_add_ss(r, _mm_movehdup_ps(r)));
  }
  static QUORUM_KERNEL_INLINE float ReduceMax(V16 a) {
    const __m256 eight = _mm256_max_ps(a.lo, a.hi);
    __m128 r = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    r = _mm_max_ps(r, _mm_movehl_ps(r, r));
    return _mm_cvtss_f32(_mm_max_ss(r, _mm_movehdup_ps(r)));
  }
  static QUORUM_KERNEL_INLINE float ReduceMaxOrNan(V16 a) {
    const __m256i eight = _mm256_max_epu32(_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi));
    __m128i r = _mm_max_epu32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    r = _mm_max_epu32(r, _mm_shuffle_epi32(r, 0xee));
    r = _mm_max_epu32(r, _mm_shuffle_epi32(r, 0x55));
    return _mm_cvtss_f32(_mm_castsi128_ps(r));
  }

  template <size_t R>
  static QUORUM_KERNEL_INLINE V16 ReduceAddEach(const V16 (&rows)[R]) {
    return ReduceEach(rows, [](V16 a) __attribute__((always_inline)) { return ReduceAdd(a); });
  }
  template <size_t R>
  static QUORUM_KERNEL_INLINE V16 ReduceMaxEach(const V16 (&rows)[R]) {
    return ReduceEach(rows, [](V16 a) __attribute__((always_inline)) { return ReduceMax(a); });
  }
  template <size_t R>
  static QUORUM_KERNEL_INLINE V16 ReduceMaxOrNanEach(const V16 (&rows)[R]) {
    return ReduceEach(rows, [](V16 a) __attribute__((always_inline)) { return ReduceMaxOrNan(a); });
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

 private:
  template <size_t R, class Reduce>
  static QUORUM_KERNEL_INLINE V16 ReduceEach(const V16 (&rows)[R], Reduce&& reduce) {
    alignas(32) float each[16] = {};
    for (size_t r = 0; r < R; ++r) each[r] = reduce(rows[r]);
    return Load(each);
  }
  /// All ones in the first n of 8 lanes; n may be negative or above 8.
  static QUORUM_KERNEL_INLINE __m256i FirstMask(int64_t n) {
    const int64_t count = n < 0 ? 0 : n;
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kFirstMask + 16 - count));
  }
  static QUORUM_KERNEL_INLINE __m256 Bf16Half(const uint16_t* p) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
  static QUORUM_KERNEL_INLINE __m256 Scale2ExactHalf(__m256 a, __m256 n) {
    const __m256i whole = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);  // 0 of NaN
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), whole));
  }
  static QUORUM_KERNEL_INLINE __m256 Scale2Half(__m256 a, __m256 n) {
    const __m256i whole = _mm256_cvtps_epi32(n);
    const __m256i half = _mm256_srai_epi32(whole, 1);
    const __m256i bias = _mm256_set1_epi32(127);
    const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(a, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
  }
};

}  // namespace
}  // namespace quorum::engine::avx2
