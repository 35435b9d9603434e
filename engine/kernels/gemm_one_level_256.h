// Products of the formats with one float scale per 32 columns, on 256-bit vectors, with the Products of an
// instruction set (gemm_parts_256.h).
#pragma once

#include "engine/kernels/gemm_parts_256.h"

namespace quorum::engine::avx2 {
namespace {

struct OneLevel {
  /// acc[i][h] joins the groups of one block.
  template <typename Products, Codes codes, size_t R>
  QUORUM_INLINE void Add(const uint8_t* group, const uint8_t* scales, int64_t groups, int32_t /*bias*/,
                         const ActRows<R>& act, const ActSide (&side)[R], const Distances& ahead, __m256 (&acc)[R][2]) {
    constexpr PackTraits kTraits = codes.traits;
    for (int64_t g = 0; g < groups; ++g) {
      __m256i dot[R][2];
#pragma GCC unroll 8
      for (size_t i = 0; i < R; ++i) {
        dot[i][0] = dot[i][1] = IsBiased(codes) ? _mm256_set1_epi32(side[i].start[g]) : _mm256_setzero_si256();
      }
      Products::template AddPlainGroup<codes>(group, act, g * kGroup, dot);
      if constexpr (!codes.unpacked) PrefetchAhead(group, GroupBytes(kTraits.payload), ahead);
      group += GroupBytes(kTraits.payload);
#pragma GCC unroll 2
      for (size_t h = 0; h < 2; ++h) {
        constexpr int64_t kScaleBytes = kTraits.scales == Scales::kE8m0 ? 1 : 2;
        const uint8_t* at = scales + static_cast<int64_t>(h) * kHalfLanes * kScaleBytes;
        const __m256 d = kTraits.scales == Scales::kE8m0 ? LoadE8m0(at) : LoadHalves(at);
        const __m256 m = HasMin(kTraits.scales) ? LoadHalves(at + 2 * kLanes) : d;
#pragma GCC unroll 8
        for (size_t i = 0; i < R; ++i) {
          const __m256 product = _mm256_mul_ps(d, _mm256_set1_ps(side[i].scale[g]));
          acc[i][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[i][h]), product, acc[i][h]);
          if constexpr (HasMin(kTraits.scales)) {
            acc[i][h] = _mm256_fmadd_ps(m, _mm256_set1_ps(side[i].scaled_sum[g]), acc[i][h]);
          }
        }
      }
      scales += ScaleBytes(kTraits, 1);
    }
  }
};

template <typename Products>
void MatMulOneLevelBy(const GemmTask& task) {
  using Kernel = Rows256<Products, OneLevel>;
  switch (task.w.format) {
    case PackFormat::kG32U4: return Multiply<Kernel, PackFormat::kG32U4>(task);
    case PackFormat::kG32S4: return Multiply<Kernel, PackFormat::kG32S4>(task);
    case PackFormat::kG32U5: return Multiply<Kernel, PackFormat::kG32U5>(task);
    case PackFormat::kG32S5: return Multiply<Kernel, PackFormat::kG32S5>(task);
    case PackFormat::kG32S8: return Multiply<Kernel, PackFormat::kG32S8>(task);
    case PackFormat::kG32Iq4: return Multiply<Kernel, PackFormat::kG32Iq4>(task);
    case PackFormat::kG32Mxfp4: return Multiply<Kernel, PackFormat::kG32Mxfp4>(task);
    default: return;
  }
}

}  // namespace
}  // namespace quorum::engine::avx2
