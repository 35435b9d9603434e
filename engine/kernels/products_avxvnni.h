// Products of bytes on AVX-VNNI: the Products of gemm_parts_256.h.
//
// vpdpbusd multiplies unsigned by signed bytes and adds four products to an int32 lane, exactly: all codes come as
// value + bias >= 0. A group's sum is multiplied with its integer scale once.
#pragma once

#include "engine/kernels/gemm_parts_256.h"

namespace quorum::engine::avx2 {
namespace {

struct DpBusd {
  static constexpr bool kSigned = false;
  static constexpr bool kFolds = true;

  static constexpr int RunOf(const PackTraits& /*traits*/) { return 8; }

  /// dot[i][h] += products of one quad of columns: row i, half panel h.
  template <Codes codes, int quad, size_t R>
  QUORUM_INLINE void AddQuad(const uint8_t* group, const ActRows<R>& act, int64_t column, __m256i (&dot)[R][2]) {
    const __m256i w[2] = {LoadOperand<codes, quad>(group), LoadOperand<codes, quad>(group + kHalfLine)};
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) {
      int32_t bytes;
      __builtin_memcpy(&bytes, act.q[i] + column + 4 * quad, sizeof bytes);
      const __m256i a = _mm256_set1_epi32(bytes);
#pragma GCC unroll 2
      for (size_t h = 0; h < 2; ++h) {
        dot[i][h] = _mm256_dpbusd_avx_epi32(dot[i][h], w[h], a);
        InOrder(dot[i][h]);
      }
    }
  }

  template <size_t R>
  QUORUM_INLINE void Clear(__m256i (&dot)[R][2]) {
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) dot[i][0] = dot[i][1] = _mm256_setzero_si256();
  }

  /// total[i][h] += factor * dot[i][h]
  template <size_t R>
  QUORUM_INLINE void AddScaled(const __m256i (&dot)[R][2], const __m256i (&factor)[2], __m256i (&total)[R][2]) {
    const __m256i s[2] = {_mm256_srai_epi32(factor[0], 16), _mm256_srai_epi32(factor[1], 16)};
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) {
#pragma GCC unroll 2
      for (size_t h = 0; h < 2; ++h) {
        total[i][h] = _mm256_add_epi32(total[i][h], _mm256_mullo_epi32(dot[i][h], s[h]));
      }
    }
  }

  template <Codes codes, int a, int b, int c, int d, size_t R>
  QUORUM_INLINE void AddFourQuads(const uint8_t* group, const ActRows<R>& act, int64_t column,
                                  const __m256i (&factor)[2], __m256i (&total)[R][2]) {
    __m256i dot[R][2];
    Clear(dot);
    AddQuad<codes, a>(group, act, column, dot);
    AddQuad<codes, b>(group, act, column, dot);
    AddQuad<codes, c>(group, act, column, dot);
    AddQuad<codes, d>(group, act, column, dot);
    AddScaled(dot, factor, total);
  }

  template <Codes codes, size_t R>
  QUORUM_INLINE void AddPlainGroup(const uint8_t* group, const ActRows<R>& act, int64_t column,
                                   __m256i (&total)[R][2]) {
    // Quads that share a line of nibbles are neighbours.
    AddQuad<codes, 0>(group, act, column, total);
    AddQuad<codes, 4>(group, act, column, total);
    AddQuad<codes, 1>(group, act, column, total);
    AddQuad<codes, 5>(group, act, column, total);
    AddQuad<codes, 2>(group, act, column, total);
    AddQuad<codes, 6>(group, act, column, total);
    AddQuad<codes, 3>(group, act, column, total);
    AddQuad<codes, 7>(group, act, column, total);
  }

  template <Codes codes, size_t R>
  QUORUM_INLINE void AddGroup(const uint8_t* group, const ActRows<R>& act, int64_t column, const __m256i (&factor)[2],
                              __m256i (&total)[R][2]) {
    __m256i dot[R][2];
    Clear(dot);
    AddPlainGroup<codes>(group, act, column, dot);
    AddScaled(dot, factor, total);
  }
};

}  // namespace
}  // namespace quorum::engine::avx2
