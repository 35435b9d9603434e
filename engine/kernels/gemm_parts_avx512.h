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

/// What a block needs of one row's scales and sums, to be broadcast.
struct alignas(kLineBytes) ActSide {
  float scale[kBlockGroups];        // one level: d_a of each group
  float scaled_sum[kBlockGroups];   // one level with m: d_a * float(sum of q_a) of each group
  int32_t start[kBlock / 16];       // -bias * sum(q_a) of each group or s-group
  int32_t sum_pairs[kBlockGroups];  // two levels with dmin: int16 sums of two neighbouring s-groups
};

/// Traits of a format's codes once they are unpacked to bytes; formats that differ only in their codes become one.
static constexpr PackTraits Unpacked(PackTraits traits) {
  traits.payload = Payload::kBits8;
  traits.table = Table::kNone;
  traits.bias = traits.bias != 0 ? 1 : 0;  // the true one is passed at run time
  return traits;
}

/// Fills `side` from a row's scales and its sums over 16 columns: |sum| <= 16 * 127 fits int16.
template <PackTraits traits>
QUORUM_INLINE void PrepareSide(const float* scale, const int32_t* sum, int64_t groups, int32_t bias, ActSide* side) {
  constexpr bool kBiased = traits.bias != 0;
  const auto sum_mask = static_cast<__mmask16>((1U << (2 * groups)) - 1);
  const __m512i sum16 = _mm512_maskz_loadu_epi32(sum_mask, sum);
  const __m256i sum16_short = _mm512_cvtepi32_epi16(sum16);
  const __m256i sum32 = _mm256_madd_epi16(sum16_short, _mm256_set1_epi16(1));
  if constexpr (traits.s_columns == 16) {
    if constexpr (kBiased) _mm512_store_si512(side->start, _mm512_mullo_epi32(sum16, _mm512_set1_epi32(-bias)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(side->sum_pairs), sum16_short);
  } else {
    if constexpr (kBiased) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(side->start), _mm256_mullo_epi32(sum32, _mm256_set1_epi32(-bias)));
    }
    _mm_store_si128(reinterpret_cast<__m128i*>(side->sum_pairs), _mm256_cvtepi32_epi16(sum32));
  }
  if constexpr (!IsTwoLevel(traits.scales)) {
    const __m256 scales = _mm256_maskz_loadu_ps(static_cast<__mmask8>((1U << groups) - 1), scale);
    _mm256_store_ps(side->scale, scales);
    _mm256_store_ps(side->scaled_sum, _mm256_mul_ps(scales, _mm256_cvtepi32_ps(sum32)));
  }
}

/// dot[i][p] += the codes of one quad of columns times row i's activations at `column`.
template <PackTraits traits, int quad, size_t R, size_t P>
QUORUM_INLINE void AddQuad(const uint8_t* const (&group)[P], const ActRows<R>& act, int64_t column,
                           __m512i (&dot)[R][P]) {
  __m512i codes[P];
  for (size_t p = 0; p < P; ++p) codes[p] = LoadUnsigned<traits, quad>(group[p]);
#pragma GCC unroll 8
  for (size_t i = 0; i < R; ++i) {
    int32_t bytes;
    __builtin_memcpy(&bytes, act.q[i] + column + 4 * quad, sizeof bytes);
    const __m512i a = _mm512_set1_epi32(bytes);
#pragma GCC unroll 2
    for (size_t p = 0; p < P; ++p) dot[i][p] = _mm512_dpbusd_epi32(dot[i][p], codes[p], a);
  }
}

/// The same for a whole group: quads of both halves in turns.
template <PackTraits traits, size_t R, size_t P>
QUORUM_INLINE void AddGroup(const uint8_t* const (&group)[P], const ActRows<R>& act, int64_t column,
                            __m512i (&dot)[R][P]) {
  AddQuad<traits, 0>(group, act, column, dot);
  AddQuad<traits, 4>(group, act, column, dot);
  AddQuad<traits, 1>(group, act, column, dot);
  AddQuad<traits, 5>(group, act, column, dot);
  AddQuad<traits, 2>(group, act, column, dot);
  AddQuad<traits, 6>(group, act, column, dot);
  AddQuad<traits, 3>(group, act, column, dot);
  AddQuad<traits, 7>(group, act, column, dot);
}

template <bool biased, size_t R, size_t P>
QUORUM_INLINE void StartDots(const ActSide (&side)[R], int64_t s_group, __m512i (&dot)[R][P]) {
#pragma GCC unroll 8
  for (size_t i = 0; i < R; ++i) {
    const __m512i start = biased ? _mm512_set1_epi32(side[i].start[s_group]) : _mm512_setzero_si512();
#pragma GCC unroll 2
    for (size_t p = 0; p < P; ++p) dot[i][p] = start;
  }
}

/// Steps to the next group; in a panel, asks for the bytes that lie `ahead`.
template <PackTraits traits, bool prefetch, size_t P>
QUORUM_INLINE void NextGroup(const uint8_t* (&group)[P], int64_t ahead) {
  for (size_t p = 0; p < P; ++p) {
    if constexpr (prefetch) PrefetchAhead(group[p], GroupBytes(traits.payload), ahead);
    group[p] += GroupBytes(traits.payload);
  }
}

/// Integer scales of s-group `h`, each twice in its lane: for products of 16 bits.
template <PackTraits traits>
QUORUM_INLINE __m512i ScalePairs(const uint8_t* scales, int64_t h) {
  const __m512i s = LoadSmallScales<traits.scales>(scales, h);
  return _mm512_or_si512(_mm512_slli_epi32(s, 16), _mm512_and_si512(s, _mm512_set1_epi32(0xFFFF)));
}

/// Whether s * q of a whole block fits unsigned bytes.
template <PackTraits traits>
QUORUM_INLINE bool FitsBytes(const uint8_t* scales) {
  __m512i most = _mm512_setzero_si512();
  for (int64_t h = 0; h < kBlock / traits.s_columns; ++h) {
    most = _mm512_max_epi32(most, LoadSmallScales<traits.scales>(scales, h));
  }
  return _mm512_cmpgt_epi32_mask(most, _mm512_set1_epi32(255 / LargestCode(traits))) == 0;
}

/// One quad of columns as s * q of 64 weights. `s` holds each scale twice in its lane: of two codes q + 256 r it makes
/// s * q + 256 * s * r, and as s * q is a byte nothing of it gets into the other.
template <PackTraits traits, int quad>
QUORUM_INLINE void FoldQuad(const uint8_t* group, __m512i s, uint8_t* scratch) {
  _mm512_store_si512(scratch + quad * kLineBytes, _mm512_mullo_epi16((LoadUnsigned<traits, quad>(group)), s));
}

/// A block as bytes ((s >> shift) & mask) * q, which fit.
template <PackTraits traits, int shift, int mask>
QUORUM_INLINE void Fold(const uint8_t* block, uint8_t* scratch) {
  constexpr int64_t kPerGroup = kGroup / traits.s_columns;
  const uint8_t* scales = block + kBlockGroups * GroupBytes(traits.payload);
  for (int64_t g = 0; g < kBlockGroups; ++g) {
    const __m512i bits = _mm512_set1_epi16(mask);
    const __m512i s = _mm512_and_si512(_mm512_srli_epi16(ScalePairs<traits>(scales, kPerGroup * g), shift), bits);
    __m512i next = s;
    if constexpr (kPerGroup == 2) {
      next = _mm512_and_si512(_mm512_srli_epi16(ScalePairs<traits>(scales, 2 * g + 1), shift), bits);
    }
    FoldQuad<traits, 0>(block, s, scratch);
    FoldQuad<traits, 1>(block, s, scratch);
    FoldQuad<traits, 2>(block, s, scratch);
    FoldQuad<traits, 3>(block, s, scratch);
    FoldQuad<traits, 4>(block, next, scratch);
    FoldQuad<traits, 5>(block, next, scratch);
    FoldQuad<traits, 6>(block, next, scratch);
    FoldQuad<traits, 7>(block, next, scratch);
    block += GroupBytes(traits.payload);
    scratch += kUnpackedGroup;
  }
}

/// The Kernel of gemm_driver.h, but for what is done with one block: Block::Add.
template <typename Block>
struct Vnni {
  template <PackFormat>
  static constexpr int64_t kDirectRows = 16;
  static constexpr int64_t kPassRows = 8;
  static constexpr int64_t kFewRows = 4;
  static constexpr int64_t kTileRows = 6;
  static constexpr int64_t kTileMinRows = 4;
  template <PackFormat format>
  static constexpr bool kFolds = Folds(TraitsOf(format));

  template <PackTraits traits, bool prefetch, bool folded = false, size_t R, size_t P>
  QUORUM_INLINE void Add(const uint8_t* const (&codes)[P], const uint8_t* const (&scales)[P], int64_t groups,
                         const ActRows<R>& act, const ActSide (&side)[R], const Partial& partial) {
    __m512 acc[R][P];
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) {
      const float* from = partial.dst + static_cast<int64_t>(i) * partial.ld;
#pragma GCC unroll 2
      for (size_t p = 0; p < P; ++p) {
        acc[i][p] = partial.start ? _mm512_setzero_ps() : _mm512_loadu_ps(from + p * kLanes);
      }
    }
    if constexpr (folded) {
      Block::template AddFolded<traits>(codes, scales, act, side, acc);
    } else {
      Block::template Add<traits, prefetch>(codes, scales, groups, act, side, partial.ahead, acc);
    }
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) {
      float* to = partial.dst + static_cast<int64_t>(i) * partial.ld;
#pragma GCC unroll 2
      for (size_t p = 0; p < P; ++p) _mm512_storeu_ps(to + p * kLanes, acc[i][p]);
    }
  }

  template <PackFormat format, size_t R>
  static void Few(const uint8_t* block, int64_t groups, const ActRows<R>& act, const Partial& partial) {
    constexpr PackTraits kTraits = TraitsOf(format);
    ActSide side[R];
    for (size_t i = 0; i < R; ++i) PrepareSide<kTraits>(act.scale[i], act.sum[i], groups, kTraits.bias, &side[i]);
    const uint8_t* const codes[1] = {block};
    const uint8_t* const scales[1] = {block + groups * GroupBytes(kTraits.payload)};
    PrefetchAhead(scales[0], ScaleBytes(kTraits, groups), partial.ahead);
    Add<kTraits, true>(codes, scales, groups, act, side, partial);
  }

  template <PackTraits traits, bool folded, size_t R>
  static __attribute__((noinline)) void TileOf(const uint8_t* scratch, const uint8_t* const* scales, int64_t pairs,
                                               int64_t groups, int32_t bias, const ActRows<R>& act, Partial partial) {
    ActSide side[R];
    for (size_t i = 0; i < R; ++i) PrepareSide<traits>(act.scale[i], act.sum[i], groups, bias, &side[i]);
    for (int64_t pair = 0; pair < pairs; ++pair) {
      const uint8_t* const codes[2] = {scratch, scratch + kUnpackedBytes};
      const uint8_t* const pair_scales[2] = {scales[0], scales[1]};
      Add<traits, false, folded>(codes, pair_scales, groups, act, side, partial);
      scratch += 2 * kUnpackedBytes;
      scales += 2;
      partial.dst += 2 * kLanes;
    }
  }

  template <PackFormat format, size_t R>
  static void Tile(const uint8_t* scratch, const uint8_t* const* scales, int64_t pairs, int64_t groups,
                   const ActRows<R>& act, const Partial& partial) {
    constexpr PackTraits kTraits = TraitsOf(format);
    TileOf<Unpacked(kTraits), false, R>(scratch, scales, pairs, groups, kTraits.bias, act, partial);
  }

  template <PackFormat format, size_t R>
  static void TileFolded(const uint8_t* scratch, const uint8_t* const* scales, int64_t pairs, const ActRows<R>& act,
                         const Partial& partial) {
    TileOf<Unpacked(TraitsOf(format)), true, R>(scratch, scales, pairs, kBlockGroups, 0, act, partial);
  }

  template <PackFormat format>
  static bool Fits(const uint8_t* scales) {
    return FitsBytes<TraitsOf(format)>(scales);
  }

  template <PackFormat format>
  static void UnpackFolded(const uint8_t* block, uint8_t* scratch) {
    Fold<TraitsOf(format), 0, 255>(block, scratch);
  }

  template <PackFormat format>
  static void Unpack(const uint8_t* block, int64_t groups, uint8_t* scratch) {
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
      block += GroupBytes(kTraits.payload);
      scratch += kUnpackedGroup;
    }
  }
};

}  // namespace quorum::engine::avx512
