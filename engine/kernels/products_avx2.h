// Products of bytes on AVX2: the Products of gemm_parts_256.h.
//
// vpmaddubsw multiplies unsigned by signed bytes and adds two products to an int16 lane, saturating, so care is taken
// that nothing ever saturates:
//   - codes of up to 6 bits come as value + bias, 0 <= code <= 63. With |a| <= 127 one instruction gives at most
//     2 * code * 127, and as many of them as stay below 2^15 (a "run") are added in int16;
//   - int8 values w come as |w| <= 128 times a with w's sign: 2 * 128 * 127 < 2^15, runs of one.
// A run's int16 pairs then go to int32 by vpmaddwd, with ones or with the group's integer scale.
#pragma once

#include "engine/kernels/gemm_parts_256.h"

namespace quorum::engine::avx2 {
namespace {

struct MaddUbs {
  static constexpr bool kSigned = true;
  static constexpr bool kFolds = false;  // two products of such bytes are beyond 16 bits

  static constexpr int RunOf(const PackTraits& traits) {
    if (traits.bias == 128) return 1;                 // int8
    if (traits.table == Table::kMxfp4) return 4;      // 4 * 2 * 24 * 127 = 24384
    if (traits.payload == Payload::kBits6) return 2;  // 2 * 2 * 63 * 127 = 32004
    if (traits.payload == Payload::kBits5) return 4;  // 4 * 2 * 31 * 127 = 31496
    return 8;                                         // 8 * 2 * 15 * 127 = 30480
  }

  /// sum[i][h] += (or =, if `first`) products of one quad of columns: row i, half panel h.
  template <Codes codes, int quad, bool first, size_t R>
  QUORUM_INLINE void AddQuad(const uint8_t* group, const ActRows<R>& act, int64_t column, __m256i (&sum)[R][2]) {
    __m256i w[2];
    __m256i magnitude[2];
    for (size_t h = 0; h < 2; ++h) {
      w[h] = LoadOperand<codes, quad>(group + static_cast<int64_t>(h) * kHalfLine);
      magnitude[h] = codes.is_signed ? _mm256_abs_epi8(w[h]) : w[h];
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) {
      int32_t bytes;
      __builtin_memcpy(&bytes, act.q[i] + column + 4 * quad, sizeof bytes);
      const __m256i a = _mm256_set1_epi32(bytes);
#pragma GCC unroll 2
      for (size_t h = 0; h < 2; ++h) {
        const __m256i product = _mm256_maddubs_epi16(magnitude[h], codes.is_signed ? _mm256_sign_epi8(a, w[h]) : a);
        sum[i][h] = first ? product : _mm256_add_epi16(sum[i][h], product);
        InOrder(sum[i][h]);
      }
    }
  }

  /// total[i][h] += the int16 pairs of sum times `factor`.
  template <size_t R>
  QUORUM_INLINE void Widen(const __m256i (&sum)[R][2], const __m256i (&factor)[2], __m256i (&total)[R][2]) {
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) {
#pragma GCC unroll 2
      for (size_t h = 0; h < 2; ++h) {
        total[i][h] = _mm256_add_epi32(total[i][h], _mm256_madd_epi16(sum[i][h], factor[h]));
      }
    }
  }

  /// total[i][h] += factor * the products of quads a, b, c, d (columns 4a.., 4b.., ...) of a group.
  template <Codes codes, int a, int b, int c, int d, size_t R>
  QUORUM_INLINE void AddFourQuads(const uint8_t* group, const ActRows<R>& act, int64_t column,
                                  const __m256i (&factor)[2], __m256i (&total)[R][2]) {
    constexpr int kRun = codes.run;
    __m256i sum[R][2];
    AddQuad<codes, a, true>(group, act, column, sum);
    if constexpr (kRun == 1) Widen(sum, factor, total);
    AddQuad<codes, b, kRun == 1>(group, act, column, sum);
    if constexpr (kRun <= 2) Widen(sum, factor, total);
    AddQuad<codes, c, kRun <= 2>(group, act, column, sum);
    if constexpr (kRun == 1) Widen(sum, factor, total);
    AddQuad<codes, d, kRun == 1>(group, act, column, sum);
    Widen(sum, factor, total);
  }

  /// total[i][h] += factor * the products of a group's 32 columns.
  template <Codes codes, size_t R>
  QUORUM_INLINE void AddGroup(const uint8_t* group, const ActRows<R>& act, int64_t column, const __m256i (&factor)[2],
                              __m256i (&total)[R][2]) {
    // Quads that share a line of nibbles are neighbours.
    if constexpr (codes.run == 8) {
      __m256i sum[R][2];
      AddQuad<codes, 0, true>(group, act, column, sum);
      AddQuad<codes, 4, false>(group, act, column, sum);
      AddQuad<codes, 1, false>(group, act, column, sum);
      AddQuad<codes, 5, false>(group, act, column, sum);
      AddQuad<codes, 2, false>(group, act, column, sum);
      AddQuad<codes, 6, false>(group, act, column, sum);
      AddQuad<codes, 3, false>(group, act, column, sum);
      AddQuad<codes, 7, false>(group, act, column, sum);
      Widen(sum, factor, total);
    } else {
      AddFourQuads<codes, 0, 4, 1, 5>(group, act, column, factor, total);
      AddFourQuads<codes, 2, 6, 3, 7>(group, act, column, factor, total);
    }
  }

  template <Codes codes, size_t R>
  QUORUM_INLINE void AddPlainGroup(const uint8_t* group, const ActRows<R>& act, int64_t column,
                                   __m256i (&total)[R][2]) {
    const __m256i ones[2] = {_mm256_set1_epi16(1), _mm256_set1_epi16(1)};
    AddGroup<codes>(group, act, column, ones, total);
  }
};

}  // namespace
}  // namespace quorum::engine::avx2
