// Products of the formats with integer scales and one float per 256 columns, on AVX-512 VNNI.
#include "engine/kernels/gemm_parts_avx512.h"

namespace quorum::engine::avx512 {
namespace {

/// How the codes of a block are summed before an integer scale is multiplied in.
struct Dots {
  int64_t columns;  // of one sum: those that share a scale, or as many of them as
  bool in_16;       // fit int16, so that vpdpwssd multiplies and adds in one instruction
  int32_t start;    // sums start at -start * sum(q_a): the bias, or what lets more columns fit; the latter
  bool comes_back;  // times s comes back once a block
};

static constexpr int64_t Fitting(const PackTraits& traits, int32_t start) {
  const int32_t above = LargestCode(traits) - start;
  int64_t columns = traits.s_columns;
  while ((start > above ? start : above) * columns * 127 > 32767) columns /= 2;
  return columns;
}

/// vpmulld is two operations, and an addition a third: two products of 16 bits are faster, and even four. `tiles`: what
/// comes back may be worth its while, which is where four would become two.
static constexpr Dots DotsOf(const PackTraits& traits, bool tiles) {
  if (traits.table != Table::kNone) return {traits.s_columns, false, traits.bias, false};
  const int64_t columns = Fitting(traits, traits.bias);
  const int32_t centre = (LargestCode(traits) + 1) / 2;
  if (tiles && traits.bias == 0 && columns == 8) return {Fitting(traits, centre), true, centre, true};
  return {columns, true, traits.bias, false};
}

/// What the code of tiles depends on.
struct TileKind {
  PackTraits traits;
  Dots dots;
};

/// A panel's scales where they lie. s-groups are counted by h, two neighbouring ones by pair.
template <PackTraits traits>
struct RawScales {
  QUORUM_MEMBER __m512i S(int64_t h) const { return LoadSmallScales<traits.scales>(at, h); }
  /// s in the low half of each lane, and zero.
  QUORUM_MEMBER __m512i Low(int64_t h) const {
    return traits.scales == Scales::kSigned ? _mm512_maskz_mov_epi16(0x55555555, S(h)) : S(h);
  }
  QUORUM_MEMBER __m512i Pair(int64_t pair) const {
    return _mm512_or_si512(Low(2 * pair), _mm512_slli_epi32(S(2 * pair + 1), 16));
  }
  QUORUM_MEMBER __m512i Z(int64_t pair) const { return LoadOffsetPair<traits>(at, pair); }
  QUORUM_MEMBER __m512 D() const { return LoadD<traits>(at); }
  QUORUM_MEMBER __m512 Dmin() const { return LoadDmin<traits>(at); }

  const uint8_t* at;
};

/// The same taken apart, as one load each.
template <bool has_min, int64_t s_columns>
struct alignas(kLineBytes) PanelScales {
  static constexpr size_t kPairs = kBlock / s_columns / 2;

  QUORUM_MEMBER __m512i S(int64_t h) const { return _mm512_load_si512(s[h]); }
  QUORUM_MEMBER __m512i Low(int64_t h) const { return S(h); }
  QUORUM_MEMBER __m512i Pair(int64_t p) const {
    return _mm512_or_si512(Low(2 * p), _mm512_slli_epi32(S(2 * p + 1), 16));
  }
  QUORUM_MEMBER __m512i Z(int64_t p) const { return _mm512_load_si512(z[p]); }
  QUORUM_MEMBER __m512 D() const { return _mm512_load_ps(d); }
  QUORUM_MEMBER __m512 Dmin() const { return _mm512_load_ps(dmin); }

  int32_t s[2 * kPairs][kLanes];
  int32_t z[has_min ? kPairs : 1][kLanes];
  float d[kLanes];
  float dmin[kLanes];
};

struct TwoLevels {
  using Side = TwoLevelSide;
  template <PackFormat format>
  using Raw = RawScales<TraitsOf(format)>;
  template <PackFormat format>
  using Panel = PanelScales<HasMin(TraitsOf(format).scales), TraitsOf(format).s_columns>;

  static constexpr PackTraits Unpacked(PackTraits traits) {
    traits.payload = Payload::kBits8;
    traits.table = Table::kNone;
    traits.bias = 0;  // a tile's kind knows whether there is one
    return traits;
  }
  template <PackFormat format>
  static constexpr TileKind kTile = {Unpacked(TraitsOf(format)), DotsOf(TraitsOf(format), true)};
  template <PackFormat format>
  static constexpr PackTraits kFoldedTile = Unpacked(TraitsOf(format));

  template <PackFormat format>
  QUORUM_INLINE void PrepareRow(const int8_t* q, const float* scale, const int32_t* sum, int64_t /*groups*/,
                                Side* side) {
    constexpr PackTraits kTraits = TraitsOf(format);
    constexpr Dots kDots = DotsOf(kTraits, true);
    PrepareSide<kTraits.s_columns, kDots.columns, kDots.start>(q, scale, sum, side);
  }

  template <PackFormat format, bool folded>
  QUORUM_INLINE void PreparePanel(const uint8_t* scales, int64_t /*groups*/, Panel<format>* panel) {
    constexpr PackTraits kTraits = TraitsOf(format);
    constexpr Dots kDots = DotsOf(kTraits, true);
    const Raw<format> raw = {scales};
    for (int64_t h = 0; h < kBlock / kTraits.s_columns && !folded; ++h) {
      _mm512_store_si512(panel->s[h], kDots.in_16 ? raw.Low(h) : raw.S(h));
    }
    _mm512_store_ps(panel->d, raw.D());
    if constexpr (HasMin(kTraits.scales)) {
      for (int64_t pair = 0; pair < kBlock / kTraits.s_columns / 2; ++pair) {
        _mm512_store_si512(panel->z[pair], raw.Z(pair));
      }
      _mm512_store_ps(panel->dmin, raw.Dmin());
    }
  }

  /// `step(pair)` for each two neighbouring s-groups. Tiles do not unroll it: g++ would keep each row's sums in general
  /// registers from one such loop to the next, and bringing them back takes two operations of the products' own ports.
  template <int64_t s_columns, bool unrolled, typename Step>
  QUORUM_INLINE void ForPairs(Step step) {
    constexpr int64_t kPairs = kBlock / s_columns / 2;
    if constexpr (unrolled) {
#pragma GCC unroll 8
      for (int64_t pair = 0; pair < kPairs; ++pair) step(pair);
    } else {
#pragma GCC unroll 1
      for (int64_t pair = 0; pair < kPairs; ++pair) step(pair);
    }
  }

  /// total[i][p] += s * dot[i][p]
  template <bool in_16, size_t R, size_t P>
  QUORUM_INLINE void AddScaled(const __m512i (&s)[P], const __m512i (&dot)[R][P], __m512i (&total)[R][P]) {
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) {
#pragma GCC unroll 2
      for (size_t p = 0; p < P; ++p) {
        total[i][p] = in_16 ? _mm512_dpwssd_epi32(total[i][p], dot[i][p], s[p])
                            : _mm512_add_epi32(total[i][p], _mm512_mullo_epi32(dot[i][p], s[p]));
      }
    }
  }

  template <bool in_16, size_t P, typename Scales>
  QUORUM_INLINE void LoadScales(const Scales (&scales)[P], int64_t h, __m512i (&s)[P]) {
    for (size_t p = 0; p < P; ++p) s[p] = in_16 ? scales[p].Low(h) : scales[p].S(h);
  }

  /// Columns [4 * quad, 4 * quad + columns) of a group join the sums.
  template <PackTraits traits, Dots dots, int quad, size_t R, size_t P>
  QUORUM_INLINE void AddPart(const uint8_t* const (&group)[P], const int8_t* const (&q)[R], int64_t g,
                             const Side (&side)[R], const __m512i (&s)[P], __m512i (&total)[R][P]) {
    __m512i dot[R][P];
    StartDots<dots.start != 0>(side, g * (kGroup / dots.columns) + 4 * quad / dots.columns, dot);
    if constexpr (dots.columns == kGroup) {
      AddGroup<traits>(group, q, g * kGroup, dot);
    } else {
      AddQuad<traits, quad>(group, q, g * kGroup, dot);
      AddQuad<traits, quad + 1>(group, q, g * kGroup, dot);
      if constexpr (dots.columns == 16) {
        AddQuad<traits, quad + 2>(group, q, g * kGroup, dot);
        AddQuad<traits, quad + 3>(group, q, g * kGroup, dot);
      }
    }
    AddScaled<dots.in_16>(s, dot, total);
  }

  /// total[i][p] = sum over the block of s * q_w * q_a. Bounds: gemm_scalar.cc.
  template <PackTraits traits, Dots dots, bool in_panel, size_t R, size_t P, typename Scales>
  QUORUM_INLINE void SumCodes(const uint8_t* const (&codes)[P], const Scales (&scales)[P], const int8_t* const (&q)[R],
                              const Side (&side)[R], const Partial& partial, __m512i (&total)[R][P]) {
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) {
#pragma GCC unroll 2
      for (size_t p = 0; p < P; ++p) total[i][p] = _mm512_setzero_si512();
    }
    const uint8_t* group[P];
    for (size_t p = 0; p < P; ++p) group[p] = codes[p];
    constexpr int64_t kPerGroup = kGroup / traits.s_columns;
    for (int64_t g = 0; g < kBlockGroups; ++g) {
      __m512i s[P];
      LoadScales<dots.in_16>(scales, kPerGroup * g, s);
      AddPart<traits, dots, 0>(group, q, g, side, s, total);
      if constexpr (dots.columns == 8) AddPart<traits, dots, 2>(group, q, g, side, s, total);
      if constexpr (dots.columns <= 16) {
        if constexpr (kPerGroup == 2) LoadScales<dots.in_16>(scales, 2 * g + 1, s);
        AddPart<traits, dots, 4>(group, q, g, side, s, total);
      }
      if constexpr (dots.columns == 8) AddPart<traits, dots, 6>(group, q, g, side, s, total);
      NextGroup<traits, in_panel>(group, g, partial);
    }
  }

  /// The block joins partial's sums. `has_offsets`: they are not in `total` yet, nor is what comes back.
  template <PackTraits traits, Dots dots, bool has_offsets, bool unrolled, size_t R, size_t P, typename Scales>
  QUORUM_INLINE void Join(const Scales (&scales)[P], const Side (&side)[R], const __m512i (&total)[R][P],
                          const Partial& partial) {
    for (size_t p = 0; p < P; ++p) {
      __m512i offset[R];
      __m512i back[R];
#pragma GCC unroll 8
      for (size_t i = 0; i < R; ++i) offset[i] = back[i] = _mm512_setzero_si512();
      if constexpr (has_offsets) {
        ForPairs<traits.s_columns, unrolled>([&](int64_t pair) __attribute__((always_inline)) {
          const __m512i z = scales[p].Z(pair);
          const __m512i s = dots.comes_back ? scales[p].Pair(pair) : z;
#pragma GCC unroll 8
          for (size_t i = 0; i < R; ++i) {
            const __m512i sums = _mm512_set1_epi32(side[i].sum_pairs[pair]);
            offset[i] = _mm512_dpwssd_epi32(offset[i], z, sums);
            if constexpr (dots.comes_back) back[i] = _mm512_dpwssd_epi32(back[i], s, sums);
          }
        });
      }
      const __m512 d = scales[p].D();
      const __m512 dmin = HasMin(traits.scales) ? scales[p].Dmin() : d;
#pragma GCC unroll 8
      for (size_t i = 0; i < R; ++i) {
        float* at = partial.dst + static_cast<int64_t>(i) * partial.ld + p * kLanes;
        __m512 acc = partial.start ? _mm512_setzero_ps() : _mm512_loadu_ps(at);
        const __m512 scale = _mm512_set1_ps(side[i].scale);
        __m512i whole = total[i][p];
        if constexpr (has_offsets && IsExact(traits)) whole = _mm512_sub_epi32(whole, offset[i]);
        if constexpr (dots.comes_back) {
          whole = _mm512_add_epi32(whole, _mm512_mullo_epi32(back[i], _mm512_set1_epi32(dots.start)));
        }
        acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), _mm512_mul_ps(d, scale), acc);
        if constexpr (HasMin(traits.scales)) {
          acc = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(offset[i]), _mm512_mul_ps(dmin, scale), acc);
        }
        _mm512_storeu_ps(at, acc);
      }
    }
  }

  template <PackFormat format, size_t R>
  QUORUM_INLINE void Few(const uint8_t* const (&codes)[1], const Raw<format> (&scales)[1], int64_t /*groups*/,
                         const int8_t* const (&q)[R], const Side (&side)[R], const Partial& partial) {
    constexpr PackTraits kTraits = TraitsOf(format);
    __m512i total[R][1];
    SumCodes<kTraits, DotsOf(kTraits, false), true>(codes, scales, q, side, partial, total);
    Join<kTraits, DotsOf(kTraits, false), HasOffsets(kTraits), true>(scales, side, total, partial);
  }

  template <TileKind kind, size_t R, typename Scales>
  QUORUM_INLINE void Tile(const uint8_t* const (&codes)[2], const Scales (&scales)[2], int64_t /*groups*/,
                          const int8_t* const (&q)[R], const Side (&side)[R], const Partial& partial) {
    __m512i total[R][2];
    SumCodes<kind.traits, kind.dots, false>(codes, scales, q, side, partial, total);
    Join<kind.traits, kind.dots, HasOffsets(kind.traits), false>(scales, side, total, partial);
  }

  /// Codes that are multiplied with their scales (int8-exact: with their offsets in them, too). They are at most 255,
  /// and 256 * 255 * 127 fits.
  template <PackTraits kind, size_t R, size_t P, typename Scales>
  QUORUM_INLINE void TileFolded(const uint8_t* const (&codes)[P], const Scales (&scales)[P], int64_t /*groups*/,
                                const int8_t* const (&q)[R], const Side (&side)[R], const Partial& partial) {
    constexpr Dots kNothingBack = {kBlock, false, 0, false};
    __m512i total[R][P];
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) {
      const __m512i start = IsExact(kind) ? _mm512_set1_epi32(side[i].exact_start) : _mm512_setzero_si512();
#pragma GCC unroll 4
      for (size_t p = 0; p < P; ++p) total[i][p] = start;
    }
    const uint8_t* group[P];
    for (size_t p = 0; p < P; ++p) group[p] = codes[p];
    for (int64_t g = 0; g < kBlockGroups; ++g) {
      AddGroup<kind>(group, q, g * kGroup, total);
      NextGroup<kind, false>(group, g, partial);
    }
    Join<kind, kNothingBack, HasMin(kind.scales), false>(scales, side, total, partial);
  }
};

}  // namespace

void MatMulTwoLevels(const GemmTask& task) {
  using Kernel = Vnni<TwoLevels>;
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

}  // namespace quorum::engine::avx512
