// Products of the formats with integer scales and one float per 256 columns, on AVX-512 VNNI.
#include "engine/kernels/gemm_parts_avx512.h"

namespace quorum::engine::avx512 {
namespace {

/// total[i][p] += s * dot[i][p]
template <size_t R, size_t P>
QUORUM_INLINE void AddScaled(const __m512i (&s)[P], const __m512i (&dot)[R][P], __m512i (&total)[R][P]) {
#pragma GCC unroll 8
  for (size_t i = 0; i < R; ++i) {
#pragma GCC unroll 2
    for (size_t p = 0; p < P; ++p) total[i][p] = _mm512_add_epi32(total[i][p], _mm512_mullo_epi32(dot[i][p], s[p]));
  }
}

struct TwoLevels {
  /// total[i][p] = sum over the block of s * q_w * q_a. Bounds: gemm_scalar.cc.
  template <PackTraits traits, bool prefetch, size_t R, size_t P>
  QUORUM_INLINE void SumCodes(const uint8_t* const (&codes)[P], const uint8_t* const (&scales)[P],
                              const ActRows<R>& act, const ActSide (&side)[R], int64_t ahead, __m512i (&total)[R][P]) {
    constexpr bool kBiased = traits.bias != 0;
    const uint8_t* group[P];
    for (size_t p = 0; p < P; ++p) group[p] = codes[p];
    StartDots<false>(side, 0, total);
    for (int64_t g = 0; g < kBlockGroups; ++g) {
      const int64_t column = g * kGroup;
      __m512i dot[R][P];
      __m512i s[P];
      if constexpr (traits.s_columns == 16) {
        StartDots<kBiased>(side, 2 * g, dot);
        AddQuad<traits, 0>(group, act, column, dot);
        AddQuad<traits, 1>(group, act, column, dot);
        AddQuad<traits, 2>(group, act, column, dot);
        AddQuad<traits, 3>(group, act, column, dot);
        for (size_t p = 0; p < P; ++p) s[p] = LoadSmallScales<traits.scales>(scales[p], 2 * g);
        AddScaled(s, dot, total);
        StartDots<kBiased>(side, 2 * g + 1, dot);
        AddQuad<traits, 4>(group, act, column, dot);
        AddQuad<traits, 5>(group, act, column, dot);
        AddQuad<traits, 6>(group, act, column, dot);
        AddQuad<traits, 7>(group, act, column, dot);
        for (size_t p = 0; p < P; ++p) s[p] = LoadSmallScales<traits.scales>(scales[p], 2 * g + 1);
        AddScaled(s, dot, total);
      } else {
        StartDots<kBiased>(side, g, dot);
        AddGroup<traits>(group, act, column, dot);
        for (size_t p = 0; p < P; ++p) s[p] = LoadSmallScales<traits.scales>(scales[p], g);
        AddScaled(s, dot, total);
      }
      NextGroup<traits, prefetch>(group, ahead);
    }
  }

  /// offset[i] = sum over the block of z * q_a, for one panel.
  template <PackTraits traits, size_t R>
  QUORUM_INLINE void SumOffsets(const uint8_t* scales, const ActSide (&side)[R], __m512i (&offset)[R]) {
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) offset[i] = _mm512_setzero_si512();
    for (int64_t pair = 0; pair < kBlock / traits.s_columns / 2; ++pair) {
      const __m512i z = LoadOffsetPair<traits>(scales, pair);
#pragma GCC unroll 8
      for (size_t i = 0; i < R; ++i) {
        offset[i] = _mm512_dpwssd_epi32(offset[i], z, _mm512_set1_epi32(side[i].sum_pairs[pair]));
      }
    }
  }

  /// The same of codes that are multiplied with their scales already, at most 255: 256 * 255 * 127 fits.
  template <PackTraits traits, size_t R, size_t P>
  QUORUM_INLINE void SumFolded(const uint8_t* const (&codes)[P], const ActRows<R>& act, const ActSide (&side)[R],
                               __m512i (&total)[R][P]) {
    const uint8_t* group[P];
    for (size_t p = 0; p < P; ++p) group[p] = codes[p];
    StartDots<false>(side, 0, total);
    for (int64_t column = 0; column < kBlock; column += kGroup) {
      AddGroup<traits>(group, act, column, total);
      NextGroup<traits, false>(group, 0);
    }
  }

  /// acc[i][p] joins one block, which is always whole.
  template <PackTraits traits, bool prefetch, size_t R, size_t P>
  QUORUM_INLINE void Add(const uint8_t* const (&codes)[P], const uint8_t* const (&scales)[P], int64_t /*groups*/,
                         const ActRows<R>& act, const ActSide (&side)[R], int64_t ahead, __m512 (&acc)[R][P]) {
    __m512i total[R][P];
    SumCodes<traits, prefetch>(codes, scales, act, side, ahead, total);
    Join<traits>(scales, act, side, total, acc);
  }

  template <PackTraits traits, size_t R, size_t P>
  QUORUM_INLINE void AddFolded(const uint8_t* const (&codes)[P], const uint8_t* const (&scales)[P],
                               const ActRows<R>& act, const ActSide (&side)[R], __m512 (&acc)[R][P]) {
    __m512i total[R][P];
    SumFolded<traits>(codes, act, side, total);
    Join<traits>(scales, act, side, total, acc);
  }

  template <PackTraits traits, size_t R, size_t P>
  QUORUM_INLINE void Join(const uint8_t* const (&scales)[P], const ActRows<R>& act, const ActSide (&side)[R],
                          const __m512i (&total)[R][P], __m512 (&acc)[R][P]) {
    for (size_t p = 0; p < P; ++p) {
      const uint8_t* super = scales[p] + SuperOffset(traits);
      const __m512 d = LoadHalves(super);
#pragma GCC unroll 8
      for (size_t i = 0; i < R; ++i) {
        const __m512 product = _mm512_mul_ps(d, _mm512_set1_ps(act.scale[i][0]));
        acc[i][p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(total[i][p]), product, acc[i][p]);
      }
      if constexpr (HasMin(traits.scales)) {
        __m512i offset[R];
        SumOffsets<traits>(scales[p], side, offset);
        const __m512 dmin = LoadHalves(super + 2 * kLanes);
#pragma GCC unroll 8
        for (size_t i = 0; i < R; ++i) {
          const __m512 product = _mm512_mul_ps(dmin, _mm512_set1_ps(act.scale[i][0]));
          acc[i][p] = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(offset[i]), product, acc[i][p]);
        }
      }
    }
  }
};

}  // namespace

void MatMulTwoLevels(const GemmTask& task) {
  using Kernel = Vnni<TwoLevels>;
  switch (task.w.format) {
    case PackFormat::kK256U2: return Multiply<Kernel, PackFormat::kK256U2>(task);
    case PackFormat::kK256S3: return Multiply<Kernel, PackFormat::kK256S3>(task);
    case PackFormat::kK256U4: return Multiply<Kernel, PackFormat::kK256U4>(task);
    case PackFormat::kK256Iq4: return Multiply<Kernel, PackFormat::kK256Iq4>(task);
    case PackFormat::kK256U5: return Multiply<Kernel, PackFormat::kK256U5>(task);
    case PackFormat::kK256S6: return Multiply<Kernel, PackFormat::kK256S6>(task);
    default: return;
  }
}

}  // namespace quorum::engine::avx512
