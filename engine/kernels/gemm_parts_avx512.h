// What the AVX-512 VNNI products of one-level and of two-level formats share. Only for the files built with AVX-512
// flags.
//
// vpdpbusd multiplies unsigned by signed bytes and adds four products to an int32 lane, exactly: weights come as
// value + bias >= 0, and a dot product starts at -bias * sum(activations).
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/gemm_driver.h"
#include "engine/kernels/payload_avx512.h"

namespace quorum::engine::avx512 {

constexpr int64_t kUnpackedGroup = kGroup * kLanes;

/// What a block needs of one row, to be broadcast. Tiles read little else between codes, so it is kept small: with
/// one-level formats
struct alignas(kLineBytes) OneLevelSide {
  int32_t start[kBlockGroups];     // -bias * sum(q_a) of each group
  float scale[kBlockGroups];       // d_a of each group
  float scaled_sum[kBlockGroups];  // with m: d_a * float(sum of q_a) of each group
  const int8_t* q;
};
/// and with two-level ones, where `start` is for codes that are not folded (all of it of Q6_K alone).
struct alignas(kLineBytes) TwoLevelSide {
  int32_t sum_pairs[kBlockGroups];  // int16 sums of two neighbouring s-groups
  float scale;                      // d_a
  int32_t exact_start;              // int8-exact and folded: -kExactBias * sum(q_a)
  const int8_t* q;
  alignas(kLineBytes) int32_t start[kBlock / 8];  // what the dot product of each s-group, or part of one, starts at
};

/// A row's sums over 16 columns, from memory: |sum| <= 16 * 127 fits int16.
QUORUM_INLINE __m512i LoadSums(const int32_t* sum, int64_t groups) {
  return _mm512_maskz_loadu_epi32(static_cast<__mmask16>((1U << (2 * groups)) - 1), sum);
}
/// Sums of 32 columns.
QUORUM_INLINE __m256i Sums32(__m512i sum16) {
  return _mm256_madd_epi16(_mm512_cvtepi32_epi16(sum16), _mm256_set1_epi16(1));
}
QUORUM_INLINE void StoreStarts(__m256i sum32, int32_t bias, int32_t* start) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(start), _mm256_mullo_epi32(sum32, _mm256_set1_epi32(-bias)));
}

template <int32_t bias>
QUORUM_INLINE void PrepareSide(const int8_t* q, const float* scale, const int32_t* sum, int64_t groups,
                               OneLevelSide* side) {
  const __m256i sum32 = Sums32(LoadSums(sum, groups));
  if constexpr (bias != 0) StoreStarts(sum32, bias, side->start);
  const __m256 scales = _mm256_maskz_loadu_ps(static_cast<__mmask8>((1U << groups) - 1), scale);
  _mm256_store_ps(side->scale, scales);
  _mm256_store_ps(side->scaled_sum, _mm256_mul_ps(scales, _mm256_cvtepi32_ps(sum32)));
  side->q = q;
}

/// -bias times the sums of 8 columns each.
template <int32_t bias>
QUORUM_INLINE void StoreStarts8(const int8_t* q, int32_t* start) {
  const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  for (int64_t half = 0; half < 2; ++half, q += kBlock / 2, start += kLanes) {
    __m512i sums[2];  // of 8 columns, in even lanes
    for (int64_t i = 0; i < 2; ++i) {
      const __m512i quads = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1),
                                                _mm512_loadu_si512(q + i * kLineBytes));
      sums[i] = _mm512_add_epi32(quads, _mm512_srli_epi64(quads, 32));
    }
    const __m512i each = _mm512_permutex2var_epi32(sums[0], even, sums[1]);
    _mm512_store_si512(start, _mm512_mullo_epi32(each, _mm512_set1_epi32(-bias)));
  }
}

/// Dot products of `columns` columns, 8, 16 or 32, start at -bias * sum.
template <int64_t s_columns, int64_t columns, int32_t bias>
QUORUM_INLINE void PrepareSide(const int8_t* q, const float* scale, const int32_t* sum, TwoLevelSide* side) {
  const __m512i sum16 = LoadSums(sum, kBlockGroups);
  if constexpr (bias != 0 && columns == 8) {
    StoreStarts8<bias>(q, side->start);
  } else if constexpr (bias != 0 && columns == 16) {
    _mm512_store_si512(side->start, _mm512_mullo_epi32(sum16, _mm512_set1_epi32(-bias)));
  } else if constexpr (bias != 0) {
    StoreStarts(Sums32(sum16), bias, side->start);
  }
  if constexpr (s_columns == 16) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(side->sum_pairs), _mm512_cvtepi32_epi16(sum16));
  } else {
    _mm_store_si128(reinterpret_cast<__m128i*>(side->sum_pairs), _mm256_cvtepi32_epi16(Sums32(sum16)));
  }
  side->scale = scale[0];
  side->q = q;
}

/// What tiles of int8-exact weights need, which are folded.
QUORUM_INLINE void PrepareExactSide(const int8_t* q, const float* scale, const int32_t* sum, TwoLevelSide* side) {
  side->exact_start = -kExactBias * _mm512_reduce_add_epi32(LoadSums(sum, kBlockGroups));
  side->scale = scale[0];
  side->q = q;
}

/// dot[i][p] += the codes of one quad of columns times row i's activations at `column`.
template <PackTraits traits, int quad, size_t R, size_t P>
QUORUM_INLINE void AddQuad(const uint8_t* const (&group)[P], const int8_t* const (&q)[R], int64_t column,
                           __m512i (&dot)[R][P]) {
  __m512i codes[P];
  for (size_t p = 0; p < P; ++p) codes[p] = LoadUnsigned<traits, quad>(group[p]);
#pragma GCC unroll 8
  for (size_t i = 0; i < R; ++i) {
    int32_t bytes;
    __builtin_memcpy(&bytes, q[i] + column + 4 * quad, sizeof bytes);
    const __m512i a = _mm512_set1_epi32(bytes);
#pragma GCC unroll 4
    for (size_t p = 0; p < P; ++p) dot[i][p] = _mm512_dpbusd_epi32(dot[i][p], codes[p], a);
  }
}

/// The same for a whole group: quads of both halves in turns.
template <PackTraits traits, size_t R, size_t P>
QUORUM_INLINE void AddGroup(const uint8_t* const (&group)[P], const int8_t* const (&q)[R], int64_t column,
                            __m512i (&dot)[R][P]) {
  AddQuad<traits, 0>(group, q, column, dot);
  AddQuad<traits, 4>(group, q, column, dot);
  AddQuad<traits, 1>(group, q, column, dot);
  AddQuad<traits, 5>(group, q, column, dot);
  AddQuad<traits, 2>(group, q, column, dot);
  AddQuad<traits, 6>(group, q, column, dot);
  AddQuad<traits, 3>(group, q, column, dot);
  AddQuad<traits, 7>(group, q, column, dot);
}

template <bool biased, typename Side, size_t R, size_t P>
QUORUM_INLINE void StartDots(const Side (&side)[R], int64_t s_group, __m512i (&dot)[R][P]) {
#pragma GCC unroll 8
  for (size_t i = 0; i < R; ++i) {
    const __m512i start = biased ? _mm512_set1_epi32(side[i].start[s_group]) : _mm512_setzero_si512();
#pragma GCC unroll 4
    for (size_t p = 0; p < P; ++p) dot[i][p] = start;
  }
}

/// Steps to the group behind `g`; asks for the bytes of a panel that lie ahead, or for a part of what a tile has to ask
/// for.
template <PackTraits traits, bool in_panel, size_t P>
QUORUM_INLINE void NextGroup(const uint8_t* (&group)[P], int64_t g, const Partial& partial) {
  if constexpr (!in_panel) partial.upcoming.Ask(g, P);
  for (size_t p = 0; p < P; ++p) {
    if constexpr (in_panel) PrefetchAhead(group[p], GroupBytes(traits.payload), partial.ahead);
    group[p] += GroupBytes(traits.payload);
  }
}

/// Integer scales of s-group `h`, each twice in its lane: for products of 16 bits.
template <PackTraits traits>
QUORUM_INLINE __m512i ScalePairs(const uint8_t* scales, int64_t h) {
  if constexpr (traits.scales == Scales::kSigned) {
    const __m512i s = LoadSmallScales<traits.scales>(scales, h);
    return _mm512_or_si512(_mm512_slli_epi32(s, 16), _mm512_and_si512(s, _mm512_set1_epi32(0xFFFF)));
  }
  // Byte 4 * lane of a line comes from byte `lane`, so does byte 4 * lane + 2; the others are zero.
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i zero = _mm512_set1_epi16(static_cast<int16_t>(0x8000));
  const __m512i spread = _mm512_or_si512(_mm512_or_si512(lanes, _mm512_slli_epi32(lanes, 16)), zero);
  const __m512i s = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(LoadBytes16(scales + h * kLanes)), spread);
  return _mm512_and_si512(s, _mm512_set1_epi16(SmallScaleMask(traits.scales)));
}

/// Whether s * q of a whole block fits unsigned bytes. Four s-groups lie in a line.
template <PackTraits traits>
QUORUM_INLINE bool FitsBytes(const uint8_t* scales) {
  __m512i most = _mm512_setzero_si512();
  for (int64_t line = 0; line < kBlock / traits.s_columns / 4; ++line) {
    __m512i s = LoadLine(scales, line);
    s = _mm512_and_si512(s, _mm512_set1_epi8(SmallScaleMask(traits.scales)));
    most = _mm512_max_epu8(most, s);
  }
  return _mm512_cmpgt_epu8_mask(most, _mm512_set1_epi8(static_cast<char>(255 / LargestCode(traits)))) == 0;
}

/// z - bias of int8-exact s-group `h` in all four bytes of its lane.
template <PackTraits traits, int32_t bias>
QUORUM_INLINE __m512i ExactOffsets(const uint8_t* scales, int64_t h) {
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i two = _mm512_or_si512(lanes, _mm512_slli_epi32(lanes, 8));
  const __m512i four = _mm512_or_si512(two, _mm512_slli_epi32(two, 16));
  const __m128i z = LoadBytes16(scales + BehindScales(traits) + h * kLanes);
  const __m512i spread = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(z), four);
  return bias == 0 ? spread : _mm512_sub_epi8(spread, _mm512_set1_epi8(static_cast<char>(bias)));
}

/// One quad of columns as s * q of 64 weights, less z where they are int8-exact. `s` holds each scale twice in its
/// lane: of two codes q + 256 r it makes s * q + 256 * s * r, and as s * q is a byte nothing of it gets into the other.
template <PackTraits traits, int quad>
QUORUM_INLINE void FoldQuad(const uint8_t* group, __m512i s, __m512i z, uint8_t* scratch) {
  const __m512i product = _mm512_mullo_epi16((LoadUnsigned<traits, quad>(group)), s);
  _mm512_store_si512(scratch + quad * kLineBytes, IsExact(traits) ? _mm512_sub_epi8(product, z) : product);
}

/// A block as bytes ((s >> shift) & mask) * q, which fit; int8-exact ones as s * q - z + bias.
template <PackTraits traits, int shift, int mask, int32_t bias = 0>
QUORUM_INLINE void Fold(const uint8_t* block, const Upcoming& upcoming, uint8_t* scratch) {
  constexpr int64_t kPerGroup = kGroup / traits.s_columns;
  const uint8_t* scales = block + kBlockGroups * GroupBytes(traits.payload);
  const auto load = [scales](int64_t h) __attribute__((always_inline)) {
    const __m512i s = ScalePairs<traits>(scales, h);
    if constexpr (shift == 0 && mask == 255) return s;
    return _mm512_and_si512(_mm512_srli_epi16(s, shift), _mm512_set1_epi16(mask));
  };
  for (int64_t g = 0; g < kBlockGroups; ++g) {
    const __m512i s = load(kPerGroup * g);
    const __m512i next = kPerGroup == 2 ? load(2 * g + 1) : s;
    __m512i z = s;
    if constexpr (IsExact(traits)) z = ExactOffsets<traits, bias>(scales, g);
    FoldQuad<traits, 0>(block, s, z, scratch);
    FoldQuad<traits, 1>(block, s, z, scratch);
    FoldQuad<traits, 2>(block, s, z, scratch);
    FoldQuad<traits, 3>(block, s, z, scratch);
    FoldQuad<traits, 4>(block, next, z, scratch);
    FoldQuad<traits, 5>(block, next, z, scratch);
    FoldQuad<traits, 6>(block, next, z, scratch);
    FoldQuad<traits, 7>(block, next, z, scratch);
    upcoming.Ask(g, 1);
    block += GroupBytes(traits.payload);
    scratch += kUnpackedGroup;
  }
}

/// The Kernel of gemm_driver.h. How one block joins is a Block's:
///   Side, PrepareRow<format>(q, scale, sum, groups, side)   of a row
///   Raw<format>                               a panel's scales `at` where they lie,
///   Panel<format>, PreparePanel<format, folded>(scales, groups, panel)   and taken apart: read in the same way
///   Few<format>(codes, scales, groups, q, side, partial)   one panel
///   kTile<format>                             what tells the code of tiles of one format from that of others
///   Tile<kind>(the same)                      two panels' bytes; and with their scales in them,
///   kFoldedTile<format>, TileFolded<kind>     where Folds(format)
template <typename Block>
struct Vnni {
  static constexpr int64_t kDirectRows = 4;
  static constexpr int64_t kPassRows = 4;
  static constexpr int64_t kFewRows = 3;
  static constexpr TileShape kTile = {.folded = false, .panels = 2, .most = 6, .best = 6, .least = 3};
  static constexpr TileShape kFoldedTile = {.folded = true, .panels = 2, .most = 8, .best = 8, .least = 4};
  static constexpr TileShape kWideTile = {.folded = true, .panels = 4, .most = 5, .best = 4, .least = 3};
  template <PackFormat format>
  static constexpr Folding kFolding = FoldingOf(TraitsOf(format));
  using RowSide = typename Block::Side;
  template <PackFormat format>
  using PanelSide = typename Block::template Panel<format>;

  template <PackFormat format>
  static void PrepareFewRow(const ActRows<1>& act, int64_t groups, RowSide* side) {
    Block::template PrepareRow<format>(act.q[0], act.scale[0], act.sum[0], groups, side);
  }
  template <PackFormat format>
  static void PrepareRow(const ActRows<1>& act, int64_t groups, RowSide* side) {
    if constexpr (IsExact(TraitsOf(format))) {
      PrepareExactSide(act.q[0], act.scale[0], act.sum[0], side);
    } else {
      PrepareFewRow<format>(act, groups, side);
    }
  }
  template <PackFormat format, bool folded>
  static void PreparePanel(const uint8_t* scales, int64_t groups, PanelSide<format>* panel) {
    Block::template PreparePanel<format, folded>(scales, groups, panel);
  }

  template <PackFormat format, size_t R>
  static void Few(const uint8_t* block, int64_t groups, const RowSide* rows, const Partial& partial) {
    constexpr PackTraits kTraits = TraitsOf(format);
    const RowSide(&side)[R] = *reinterpret_cast<const RowSide(*)[R]>(rows);
    const int8_t* q[R];
    for (size_t i = 0; i < R; ++i) q[i] = side[i].q;
    const uint8_t* const codes[1] = {block};
    const typename Block::template Raw<format> scales[1] = {{block + groups * GroupBytes(kTraits.payload)}};
    PrefetchAhead(scales[0].at, ScaleBytes(kTraits, groups), partial.ahead);
    Block::template Few<format>(codes, scales, groups, q, side, partial);
  }

  /// `count` panels, P at a time.
  template <typename Panel, auto kind, bool folded, size_t R, size_t P>
  static __attribute__((noinline)) void TileOf(const uint8_t* scratch, const Panel* panels, int64_t count,
                                               int64_t groups, const RowSide* rows, const Partial& task) {
    // Member by member: a copy as one would wait for all that was just written.
    const Upcoming& next = task.upcoming;
    Partial partial = {task.dst, task.ld, task.start, {}, {next.at, next.panel_bytes, next.lines}};
    const RowSide(&side)[R] = *reinterpret_cast<const RowSide(*)[R]>(rows);
    const int8_t* q[R];
    for (size_t i = 0; i < R; ++i) q[i] = side[i].q;
    constexpr int64_t kPanels = P;
    for (int64_t panel = 0; panel < count; panel += kPanels) {
      const uint8_t* codes[P];
      for (size_t p = 0; p < P; ++p) codes[p] = scratch + static_cast<int64_t>(p) * kUnpackedBytes;
      const Panel(&scales)[P] = *reinterpret_cast<const Panel(*)[P]>(panels);
      if constexpr (folded) {
        Block::template TileFolded<kind>(codes, scales, groups, q, side, partial);
      } else {
        Block::template Tile<kind>(codes, scales, groups, q, side, partial);
      }
      scratch += kPanels * kUnpackedBytes;
      panels += kPanels;
      partial.dst += kPanels * kLanes;
      partial.upcoming.at += kPanels * partial.upcoming.panel_bytes;
    }
  }

  template <PackFormat format, TileShape shape, size_t R>
  static void Tile(const uint8_t* scratch, const PanelSide<format>* panels, int64_t count, int64_t groups,
                   const RowSide* rows, const Partial& partial) {
    constexpr size_t kPanels = shape.panels;
    if constexpr (shape.folded) {
      constexpr auto kKind = Block::template kFoldedTile<format>;
      TileOf<PanelSide<format>, kKind, true, R, kPanels>(scratch, panels, count, groups, rows, partial);
    } else {
      constexpr auto kKind = Block::template kTile<format>;
      TileOf<PanelSide<format>, kKind, false, R, kPanels>(scratch, panels, count, groups, rows, partial);
    }
  }

  template <PackFormat format>
  static bool Fits(const uint8_t* scales) {
    return FitsBytes<TraitsOf(format)>(scales);
  }

  template <PackFormat format>
  static void UnpackFolded(const uint8_t* block, const Upcoming& next, uint8_t* scratch) {
    Fold<TraitsOf(format), 0, 255, kExactBias>(block, next, scratch);
  }

  template <PackFormat format>
  static void Unpack(const uint8_t* block, int64_t groups, const Upcoming& next, uint8_t* scratch) {
    constexpr PackTraits kTraits = TraitsOf(format);
    for (int64_t g = 0; g < groups; ++g) {
      _mm512_store_si512(scratch + 0 * kLineBytes, (LoadUnsigned<kTraits, 0>(block)));
      _mm512_store_si512(scratch + 1 * kLineBytes, (LoadUnsigned<kTraits, 1>(block)));
      _mm512_store_si512(scratch + 2 * kLineBytes, (LoadUnsigned<kTraits, 2>(block)));
      _mm512_store_si512(scratch + 3 * kLineBytes, (LoadUnsigned<kTraits, 3>(block)));
      _mm512_store_si512(scratch + 4 * kLineBytes, (LoadUnsigned<kTraits, 4>(block)));
      _mm512_store_si512(scratch + 5 * kLineBytes, (LoadUnsigned<kTraits, 5>(block)));
      _mm512_store_si512(scratch + 6 * kLineBytes, (LoadUnsigned<kTraits, 6>(block)));
      _mm512_store_si512(scratch + 7 * kLineBytes, (LoadUnsigned<kTraits, 7>(block)));
      next.Ask(g, 1);
      block += GroupBytes(kTraits.payload);
      scratch += kUnpackedGroup;
    }
  }
};

}  // namespace quorum::engine::avx512
