// Products of the formats with one float scale per 32 columns, on AVX-512 VNNI.
#include "engine/kernels/gemm_parts_avx512.h"

namespace quorum::engine::avx512 {
namespace {

/// A panel's scales where they lie.
template <PackTraits traits>
struct RawScales {
  QUORUM_MEMBER __m512 D(int64_t g) const {
    const uint8_t* group = at + g * ScaleBytes(traits, 1);
    return traits.scales == Scales::kE8m0 ? LoadE8m0(group) : LoadHalves(group);
  }
  QUORUM_MEMBER __m512 M(int64_t g) const { return LoadHalves(at + g * ScaleBytes(traits, 1) + 2 * kLanes); }

  const uint8_t* at;
};

/// The same as floats.
template <bool has_min>
struct alignas(kLineBytes) PanelScales {
  QUORUM_MEMBER __m512 D(int64_t g) const { return _mm512_load_ps(d[g]); }
  QUORUM_MEMBER __m512 M(int64_t g) const { return _mm512_load_ps(m[g]); }

  float d[kBlockGroups][kLanes];
  float m[has_min ? kBlockGroups : 1][kLanes];
};

/// Traits of a format's codes and scales once they are unpacked; formats that differ only in these become one.
static constexpr PackTraits Unpacked(PackTraits traits) {
  traits.payload = Payload::kBits8;
  traits.table = Table::kNone;
  traits.bias = traits.bias != 0 ? 1 : 0;  // OneLevelSide::start knows the true one
  traits.scales = HasMin(traits.scales) ? Scales::kHalfMin : Scales::kHalf;
  return traits;
}

/// The sums of earlier blocks.
template <size_t R, size_t P>
QUORUM_INLINE void LoadPartial(const Partial& partial, __m512 (&acc)[R][P]) {
#pragma GCC unroll 8
  for (size_t i = 0; i < R; ++i) {
    const float* from = partial.dst + static_cast<int64_t>(i) * partial.ld;
#pragma GCC unroll 2
    for (size_t p = 0; p < P; ++p) {
      acc[i][p] = partial.start ? _mm512_setzero_ps() : _mm512_loadu_ps(from + p * kLanes);
    }
  }
}
template <size_t R, size_t P>
QUORUM_INLINE void StorePartial(const __m512 (&acc)[R][P], const Partial& partial) {
#pragma GCC unroll 8
  for (size_t i = 0; i < R; ++i) {
    float* to = partial.dst + static_cast<int64_t>(i) * partial.ld;
#pragma GCC unroll 2
    for (size_t p = 0; p < P; ++p) _mm512_storeu_ps(to + p * kLanes, acc[i][p]);
  }
}

struct OneLevel {
  using Side = OneLevelSide;
  template <PackFormat format>
  using Raw = RawScales<TraitsOf(format)>;
  template <PackFormat format>
  using Panel = PanelScales<HasMin(TraitsOf(format).scales)>;
  template <PackFormat format>
  static constexpr PackTraits kTile = Unpacked(TraitsOf(format));

  template <PackFormat format>
  QUORUM_INLINE void PrepareRow(const int8_t* q, const float* scale, const int32_t* sum, int64_t groups,
                                Side* side) {
    PrepareSide<TraitsOf(format).bias>(q, scale, sum, groups, side);
  }

  template <PackFormat format, bool folded>
  QUORUM_INLINE void PreparePanel(const uint8_t* scales, int64_t groups, Panel<format>* panel) {
    const Raw<format> raw = {scales};
    for (int64_t g = 0; g < groups; ++g) {
      _mm512_store_ps(panel->d[g], raw.D(g));
      if constexpr (HasMin(TraitsOf(format).scales)) _mm512_store_ps(panel->m[g], raw.M(g));
    }
  }

  /// Joins the groups of one block to partial's sums.
  template <PackTraits traits, bool in_panel, size_t R, size_t P, typename Scales>
  QUORUM_INLINE void Add(const uint8_t* const (&codes)[P], const Scales (&scales)[P], int64_t groups,
                         const int8_t* const (&q)[R], const Side (&side)[R], const Partial& partial) {
    __m512 acc[R][P];
    LoadPartial(partial, acc);
    const uint8_t* group[P];
    for (size_t p = 0; p < P; ++p) group[p] = codes[p];
    for (int64_t g = 0; g < groups; ++g) {
      __m512i dot[R][P];
      StartDots<traits.bias != 0>(side, g, dot);
      // Quads that share a line of nibbles are neighbours.
      AddGroup<traits>(group, q, g * kGroup, dot);
      NextGroup<traits, in_panel>(group, g, partial);
      __m512 d[P];
      __m512 m[P];
      for (size_t p = 0; p < P; ++p) {
        d[p] = scales[p].D(g);
        m[p] = HasMin(traits.scales) ? scales[p].M(g) : d[p];
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
    StorePartial(acc, partial);
  }

  template <PackFormat format, size_t R>
  QUORUM_INLINE void Few(const uint8_t* const (&codes)[1], const Raw<format> (&scales)[1], int64_t groups,
                         const int8_t* const (&q)[R], const Side (&side)[R], const Partial& partial) {
    Add<TraitsOf(format), true>(codes, scales, groups, q, side, partial);
  }
  template <PackTraits kind, size_t R, typename Scales>
  QUORUM_INLINE void Tile(const uint8_t* const (&codes)[2], const Scales (&scales)[2], int64_t groups,
                          const int8_t* const (&q)[R], const Side (&side)[R], const Partial& partial) {
    Add<kind, false>(codes, scales, groups, q, side, partial);
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
