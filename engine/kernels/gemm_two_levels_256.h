// Products of the formats with integer scales and one float per 256 columns, on 256-bit vectors, with the Products of
// an instruction set (gemm_parts_256.h).
#pragma once

#include "engine/kernels/gemm_parts_256.h"

namespace quorum::engine::avx2 {
namespace {

struct TwoLevels {
  /// total[i][h] += sum over the block of s * code * q_a. Bounds: gemm_scalar.cc; with unsigned codes the largest is
  /// 256 * 127 * 128 * 63 < 2^28.
  template <typename Products, Codes codes, size_t R>
  QUORUM_INLINE void SumCodes(const uint8_t* group, const uint8_t* scales, const ActRows<R>& act,
                              const Distances& ahead, __m256i (&total)[R][2]) {
    constexpr PackTraits kTraits = codes.traits;
    for (int64_t g = 0; g < kBlockGroups; ++g) {
      __m256i s[2];
      if constexpr (kTraits.s_columns == 16) {
        LoadSmallScales<kTraits.scales>(scales, 2 * g, s);
        Products::template AddFourQuads<codes, 0, 1, 2, 3>(group, act, g * kGroup, s, total);
        LoadSmallScales<kTraits.scales>(scales, 2 * g + 1, s);
        Products::template AddFourQuads<codes, 4, 5, 6, 7>(group, act, g * kGroup, s, total);
      } else {
        LoadSmallScales<kTraits.scales>(scales, g, s);
        Products::template AddGroup<codes>(group, act, g * kGroup, s, total);
      }
      if constexpr (!codes.unpacked) PrefetchAhead(group, GroupBytes(kTraits.payload), ahead);
      group += GroupBytes(kTraits.payload);
    }
  }

  /// offset[i][h] = sum over the block of z * q_a, or of s * q_a where the format has no offsets.
  template <PackTraits traits, size_t R>
  QUORUM_INLINE void SumOffsets(const uint8_t* scales, const ActSide (&side)[R], __m256i (&offset)[R][2]) {
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) offset[i][0] = offset[i][1] = _mm256_setzero_si256();
    for (int64_t pair = 0; pair < kBlock / traits.s_columns / 2; ++pair) {
#pragma GCC unroll 2
      for (size_t h = 0; h < 2; ++h) {
        const __m256i factor = LoadOffsetPair<traits>(scales + h * kHalfLanes, pair);
#pragma GCC unroll 8
        for (size_t i = 0; i < R; ++i) {
          const __m256i product = _mm256_madd_epi16(factor, _mm256_set1_epi32(side[i].sum_pairs[pair]));
          offset[i][h] = _mm256_add_epi32(offset[i][h], product);
        }
      }
    }
  }

  /// acc[i][h] joins one block, which is always whole.
  template <typename Products, Codes codes, size_t R>
  QUORUM_INLINE void Add(const uint8_t* group, const uint8_t* scales, int64_t /*groups*/, int32_t bias,
                         const ActRows<R>& act, const ActSide (&side)[R], const Distances& ahead, __m256 (&acc)[R][2]) {
    constexpr PackTraits kTraits = codes.traits;
    __m256i offset[R][2];
    constexpr bool kExact = IsExact(kTraits);
    if constexpr (HasOffsets(kTraits) || IsBiased(codes)) SumOffsets<kTraits>(scales, side, offset);
    __m256i total[R][2];
    for (size_t i = 0; i < R; ++i) {
      for (size_t h = 0; h < 2; ++h) {
        total[i][h] = kExact            ? _mm256_sub_epi32(_mm256_setzero_si256(), offset[i][h])
                      : IsBiased(codes) ? _mm256_mullo_epi32(offset[i][h], _mm256_set1_epi32(-bias))
                                        : _mm256_setzero_si256();
      }
    }
    SumCodes<Products, codes>(group, scales, act, ahead, total);
    Join<kTraits>(scales, act, total, offset, acc);
  }

  /// The same of codes that are multiplied with their scales already (int8-exact: with their offsets in them, too), at
  /// most 255: 256 * 255 * 127 fits.
  template <typename Products, Codes codes, size_t R>
  QUORUM_INLINE void AddFolded(const uint8_t* group, const uint8_t* scales, const ActRows<R>& act,
                               const ActSide (&side)[R], __m256 (&acc)[R][2]) {
    __m256i offset[R][2];
    if constexpr (HasMin(codes.traits.scales)) SumOffsets<codes.traits>(scales, side, offset);
    __m256i total[R][2];
    for (size_t i = 0; i < R; ++i) {
      const bool exact = IsExact(codes.traits);
      total[i][0] = total[i][1] = exact ? _mm256_set1_epi32(side[i].start[0]) : _mm256_setzero_si256();
    }
    for (int64_t column = 0; column < kBlock; column += kGroup) {
      Products::template AddPlainGroup<codes>(group, act, column, total);
      group += kUnpackedGroup;
    }
    Join<codes.traits>(scales, act, total, offset, acc);
  }

  template <PackTraits traits, size_t R>
  QUORUM_INLINE void Join(const uint8_t* scales, const ActRows<R>& act, const __m256i (&total)[R][2],
                          const __m256i (&offset)[R][2], __m256 (&acc)[R][2]) {
    __m256 d[2];
    __m256 dmin[2];
    LoadSuper<traits>(scales, d, dmin);
    for (size_t h = 0; h < 2; ++h) {
      for (size_t i = 0; i < R; ++i) {
        const __m256 scale = _mm256_set1_ps(act.scale[i][0]);
        acc[i][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(total[i][h]), _mm256_mul_ps(d[h], scale), acc[i][h]);
        if constexpr (HasMin(traits.scales)) {
          acc[i][h] = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(offset[i][h]), _mm256_mul_ps(dmin[h], scale), acc[i][h]);
        }
      }
    }
  }
};

template <typename Products>
void MatMulTwoLevelsBy(const GemmTask& task) {
  using Kernel = Rows256<Products, TwoLevels>;
  switch (task.w.format) {
    case PackFormat::kK256U2: return Multiply<Kernel, PackFormat::kK256U2>(task);
    case PackFormat::kK256S3: return Multiply<Kernel, PackFormat::kK256S3>(task);
    case PackFormat::kK256U4: return Multiply<Kernel, PackFormat::kK256U4>(task);
    case PackFormat::kK256X4: return Multiply<Kernel, PackFormat::kK256X4>(task);
    case PackFormat::kK256Iq4: return Multiply<Kernel, PackFormat::kK256Iq4>(task);
    case PackFormat::kK256U5: return Multiply<Kernel, PackFormat::kK256U5>(task);
    case PackFormat::kK256S6: return Multiply<Kernel, PackFormat::kK256S6>(task);
    default: return;
  }
}

}  // namespace
}  // namespace quorum::engine::avx2
