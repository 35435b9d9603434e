// Products of the formats with one float scale per 32 columns, on AVX-512 VNNI.
#include "engine/kernels/gemm_parts_avx512.h"

namespace quorum::engine::avx512 {
namespace {

struct OneLevel {
  /// acc[i][p] joins the groups of one block.
  template <PackTraits traits, bool prefetch, size_t R, size_t P>
  QUORUM_INLINE void Add(const uint8_t* const (&codes)[P], const uint8_t* const (&scales)[P], int64_t groups,
                         const ActRows<R>& act, const ActSide (&side)[R], int64_t ahead, __m512 (&acc)[R][P]) {
    constexpr int64_t kScaleStep = ScaleBytes(traits, 1);
    const uint8_t* group[P];
    for (size_t p = 0; p < P; ++p) group[p] = codes[p];
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t column = g * kGroup;
      __m512i dot[R][P];
      StartDots<traits.bias != 0>(side, g, dot);
      // Quads that share a line of nibbles are neighbours.
      AddGroup<traits>(group, act, column, dot);
      NextGroup<traits, prefetch>(group, ahead);
      __m512 d[P];
      __m512 m[P];
      for (size_t p = 0; p < P; ++p) {
        const uint8_t* at = scales[p] + g * kScaleStep;
        d[p] = traits.scales == Scales::kE8m0 ? LoadE8m0(at) : LoadHalves(at);
        m[p] = HasMin(traits.scales) ? LoadHalves(at + 2 * kLanes) : d[p];
      }
#pragma GCC unroll 8
      for (size_t i = 0; i < R; ++i) {
        const __m512 scale = _mm512_set1_ps(side[i].scale[g]);
        const __m512 scaled_sum = _mm512_set1_ps(side[i].scaled_sum[g]);
#pragma GCC unroll 2
        for (size_t p = 0; p < P; ++p) {
          acc[i][p] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[i][p]), _mm512_mul_ps(d[p], scale), acc[i][p]);
          if constexpr (HasMin(traits.scales)) acc[i][p] = _mm512_fmadd_ps(m[p], scaled_sum, acc[i][p]);
        }
      }
    }
  }
};

}  // namespace

void MatMulOneLevel(const GemmTask& task) {
  using Kernel = Vnni<OneLevel>;
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

}  // namespace quorum::engine::avx512
