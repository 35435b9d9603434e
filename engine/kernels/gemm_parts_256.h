// What the products on 256-bit vectors share: of one-level and of two-level formats, on AVX2 and on AVX-VNNI. Only for
// the files built with such flags.
//
// How bytes are multiplied is the `Products` of an instruction set (products_avx2.h, products_avxvnni.h), with
//   kSigned                           int8 codes are wanted as signed values, and not as value + 128
//   kFolds                            codes may be any unsigned bytes, so that s * q can be multiplied out beforehand
//   RunOf(traits)                     column quads whose products are added before they are widened: 8, 4, 2 or 1
//   AddFourQuads<codes, a, b, c, d>   total[i][h] += factor * the products of quads a, b, c, d (columns 4a.., ...) of a
//                                     group; factor holds the integer scale in both int16 halves of each lane
//   AddGroup<codes>                   the same of all its 32 columns
//   AddPlainGroup<codes>              the same without a factor
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/gemm_driver.h"
#include "engine/kernels/payload_avx2.h"

namespace quorum::engine::avx2 {

constexpr int64_t kUnpackedGroup = kGroup * kLanes;

/// How codes are read and summed.
struct Codes {
  PackTraits traits;
  bool unpacked;   // byte plane in scratch
  bool is_signed;  // int8 values, otherwise value + bias
  int run;         // Products::RunOf
};

template <typename Products>
static constexpr Codes PanelCodes(const PackTraits& traits) {
  return {traits, false, Products::kSigned && traits.bias == 128, Products::RunOf(traits)};
}

/// The same once they are unpacked to bytes; formats that differ only in their codes become one.
template <typename Products>
static constexpr Codes UnpackedCodes(const PackTraits& traits) {
  Codes codes = PanelCodes<Products>(traits);
  codes.unpacked = true;
  codes.traits.payload = Payload::kBits8;
  codes.traits.table = Table::kNone;
  codes.traits.bias = traits.bias == 0 || codes.is_signed ? 0 : 1;  // the true one is passed at run time
  return codes;
}

/// Whether value + bias is used with a bias.
static constexpr bool IsBiased(const Codes& codes) { return !codes.is_signed && codes.traits.bias != 0; }

/// What a block needs of one row, to be broadcast.
struct alignas(32) ActSide {
  float scale[kBlockGroups];        // one level: d_a of each group; two levels: d_a
  float scaled_sum[kBlockGroups];   // one level with m: d_a * float(sum of q_a) of each group
  int32_t start[kBlockGroups];      // one level with a bias: -bias * sum(q_a) of each group; int8-exact: of the block
  int32_t sum_pairs[kBlockGroups];  // two levels: int16 sums of two neighbouring s-groups
  const int8_t* q;
};

/// The first `count` of eight lanes.
QUORUM_INLINE __m256i LaneMask(int64_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane);
}

/// Fills `side` from a row's codes, scales and sums over 16 columns: |sum| <= 16 * 127 fits int16.
template <PackTraits traits>
QUORUM_INLINE void PrepareSide(const int8_t* q, const float* scale, const int32_t* sum, int64_t groups, ActSide* side) {
  side->q = q;
  const __m256i low = _mm256_maskload_epi32(sum, LaneMask(2 * groups));
  const __m256i high = groups > 4 ? _mm256_maskload_epi32(sum + 8, LaneMask(2 * groups - 8)) : _mm256_setzero_si256();
  const __m256i sum16 = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
  const __m256i sum32 = _mm256_madd_epi16(sum16, _mm256_set1_epi16(1));
  if constexpr (!IsTwoLevel(traits.scales)) {
    const __m256 scales = _mm256_maskload_ps(scale, LaneMask(groups));
    _mm256_store_ps(side->scale, scales);
    _mm256_store_ps(side->scaled_sum, _mm256_mul_ps(scales, _mm256_cvtepi32_ps(sum32)));
    const __m256i start = _mm256_mullo_epi32(sum32, _mm256_set1_epi32(-traits.bias));
    _mm256_store_si256(reinterpret_cast<__m256i*>(side->start), start);
  } else if constexpr (traits.s_columns == 16) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(side->sum_pairs), sum16);
  } else {
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(sum32, sum32), 0xD8);
    _mm_store_si128(reinterpret_cast<__m128i*>(side->sum_pairs), _mm256_castsi256_si128(packed));
  }
  if constexpr (IsTwoLevel(traits.scales)) side->scale[0] = scale[0];
  if constexpr (IsExact(traits)) {
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum32), _mm256_extracti128_si256(sum32, 1));
    const __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    side->start[0] = -kExactBias * (_mm_cvtsi128_si32(two) + _mm_extract_epi32(two, 1));
  }
}

/// One quad's operand for 8 lanes: unsigned codes, or int8 values.
template <Codes codes, int quad>
QUORUM_INLINE __m256i LoadOperand(const uint8_t* group) {
  constexpr PackTraits kTraits = codes.traits;
  const __m256i raw = LoadCodes<kTraits.payload, quad>(group);
  if constexpr (codes.unpacked) {
    return raw;
  } else if constexpr (kTraits.table != Table::kNone) {
    const int8_t* values = kTraits.table == Table::kIq4 ? kIq4Values : kMxfp4Values;
    const __m128i table = _mm_add_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)),
                                       _mm_set1_epi8(codes.is_signed ? 0 : static_cast<char>(kTraits.bias)));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), raw);
  } else if constexpr (codes.is_signed) {
    return _mm256_xor_si256(raw, _mm256_set1_epi8(static_cast<char>(0x80)));
  } else {
    return raw;
  }
}

/// Keeps `v` a sum of what was added so far: g++ otherwise reorders the additions of a whole group behind its products,
/// which then do not fit the registers.
QUORUM_INLINE void InOrder(__m256i& v) { asm("" : "+x"(v)); }

/// The Kernel of gemm_driver.h, but for what is done with one block: Block::Add.
template <typename Products, typename Block>
struct Rows256 {
  static constexpr int64_t kDirectRows = 8;  // measured (tests/bench/kernel_bench) with weights that come from memory
  static constexpr int64_t kPassRows = 4;
  static constexpr int64_t kFewRows = 3;
  static constexpr TileShape kTile = {.folded = false, .panels = 1, .most = 4, .best = 4, .least = 3};
  static constexpr TileShape kFoldedTile = {.folded = true, .panels = 1, .most = 4, .best = 4, .least = 3};
  static constexpr TileShape kWideTile = kFoldedTile;
  using RowSide = ActSide;
  template <PackFormat>
  using PanelSide = const uint8_t*;  // the scales as they are
  template <PackFormat format>
  static constexpr Folding kFolding = Products::kFolds ? FoldingOf(TraitsOf(format)) : Folding::kNever;

  template <Codes codes, bool folded = false, size_t R>
  QUORUM_INLINE void Add(const uint8_t* at, const uint8_t* scales, int64_t groups, int32_t bias, const ActRows<R>& act,
                         const ActSide (&side)[R], const Partial& partial) {
    __m256 acc[R][2];
    for (size_t i = 0; i < R; ++i) {
      const float* from = partial.dst + static_cast<int64_t>(i) * partial.ld;
      for (size_t h = 0; h < 2; ++h) {
        acc[i][h] = partial.start ? _mm256_setzero_ps() : _mm256_loadu_ps(from + h * kHalfLanes);
      }
    }
    if constexpr (folded) {
      Block::template AddFolded<Products, codes>(at, scales, act, side, acc);
    } else {
      Block::template Add<Products, codes>(at, scales, groups, bias, act, side, partial.ahead, acc);
    }
    for (size_t i = 0; i < R; ++i) {
      float* to = partial.dst + static_cast<int64_t>(i) * partial.ld;
      for (size_t h = 0; h < 2; ++h) _mm256_storeu_ps(to + h * kHalfLanes, acc[i][h]);
    }
  }

  template <size_t R>
  QUORUM_INLINE ActRows<R> ActOf(const ActSide (&side)[R]) {
    ActRows<R> act;
    for (size_t i = 0; i < R; ++i) {
      act.q[i] = side[i].q;
      act.scale[i] = side[i].scale;
    }
    return act;
  }

  template <PackFormat format, size_t R>
  static void Few(const uint8_t* block, int64_t groups, const ActSide* rows, const Partial& partial) {
    constexpr PackTraits kTraits = TraitsOf(format);
    const ActSide(&side)[R] = *reinterpret_cast<const ActSide(*)[R]>(rows);
    const uint8_t* scales = block + groups * GroupBytes(kTraits.payload);
    PrefetchAhead(scales, ScaleBytes(kTraits, groups), partial.ahead);
    Add<PanelCodes<Products>(kTraits)>(block, scales, groups, kTraits.bias, ActOf(side), side, partial);
  }

  template <PackFormat format>
  static void PrepareFewRow(const ActRows<1>& act, int64_t groups, ActSide* side) {
    PrepareRow<format>(act, groups, side);
  }
  template <PackFormat format>
  static void PrepareRow(const ActRows<1>& act, int64_t groups, ActSide* side) {
    PrepareSide<TraitsOf(format)>(act.q[0], act.scale[0], act.sum[0], groups, side);
  }
  template <PackFormat, bool folded>
  static void PreparePanel(const uint8_t* scales, int64_t /*groups*/, const uint8_t** panel) {
    *panel = scales;
  }

  template <Codes codes, bool folded, size_t R>
  static __attribute__((noinline)) void TileOf(const uint8_t* scratch, const uint8_t* const* scales, int64_t panels,
                                               int64_t groups, int32_t bias, const ActSide* rows, Partial partial) {
    const ActSide(&side)[R] = *reinterpret_cast<const ActSide(*)[R]>(rows);
    const ActRows<R> act = ActOf(side);
    for (int64_t p = 0; p < panels; ++p) {
      for (int64_t g = 0; g < kBlockGroups; ++g) partial.upcoming.Ask(g, 1);
      partial.upcoming.at += partial.upcoming.panel_bytes;
      Add<codes, folded>(scratch, scales[p], groups, bias, act, side, partial);
      scratch += kUnpackedBytes;
      partial.dst += kLanes;
    }
  }

  template <PackFormat format, TileShape shape, size_t R>
  static void Tile(const uint8_t* scratch, const uint8_t* const* scales, int64_t panels, int64_t groups,
                   const ActSide* rows, const Partial& partial) {
    constexpr PackTraits kTraits = TraitsOf(format);
    constexpr int32_t kBias = shape.folded ? 0 : kTraits.bias;
    TileOf<UnpackedCodes<Products>(kTraits), shape.folded, R>(scratch, scales, panels, groups, kBias, rows, partial);
  }

  template <PackFormat format>
  static bool Fits(const uint8_t* scales) {
    constexpr PackTraits kTraits = TraitsOf(format);
    __m128i most = _mm_setzero_si128();
    for (int64_t h = 0; h < kBlock / kTraits.s_columns; ++h) {
      __m128i s = _mm_loadu_si128(reinterpret_cast<const __m128i*>(scales + h * kLanes));
      s = _mm_and_si128(s, _mm_set1_epi8(SmallScaleMask(kTraits.scales)));
      most = _mm_max_epu8(most, s);
    }
    const __m128i limit = _mm_set1_epi8(static_cast<char>(255 / LargestCode(kTraits)));
    const __m128i over = _mm_subs_epu8(most, limit);
    return _mm_testz_si128(over, over) != 0;
  }

  /// One quad of columns as s * q, or s * q - (z - bias) where they are int8-exact. Of two codes q + 256 r a product of
  /// 16 bits makes s * q + 256 * s * r, and as s * q is a byte nothing of it gets into the other.
  template <Codes codes, int quad>
  QUORUM_INLINE void FoldQuad(const uint8_t* group, const __m256i (&s)[2], const __m256i (&z)[2], uint8_t* scratch) {
    for (size_t h = 0; h < 2; ++h) {
      const int64_t half = static_cast<int64_t>(h) * kHalfLine;
      __m256i product = _mm256_mullo_epi16((LoadOperand<codes, quad>(group + half)), s[h]);
      if constexpr (IsExact(codes.traits)) product = _mm256_sub_epi8(product, z[h]);
      _mm256_store_si256(reinterpret_cast<__m256i*>(scratch + quad * kLineBytes + half), product);
    }
  }

  template <PackFormat format>
  static void UnpackFolded(const uint8_t* block, const Upcoming& next, uint8_t* scratch) {
    constexpr Codes kCodes = PanelCodes<Products>(TraitsOf(format));
    constexpr int64_t kPerGroup = kGroup / kCodes.traits.s_columns;
    const uint8_t* scales = block + kBlockGroups * GroupBytes(kCodes.traits.payload);
    for (int64_t g = 0; g < kBlockGroups; ++g) {
      __m256i s[2];
      LoadSmallScales<kCodes.traits.scales>(scales, kPerGroup * g, s);
      __m256i z[2] = {s[0], s[1]};
      if constexpr (IsExact(kCodes.traits)) {
        const uint8_t* at = scales + BehindScales(kCodes.traits) + g * kLanes;
        Spread16(_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))), z);
        for (__m256i& half : z) {  // from the even byte of each int16 to both
          half = _mm256_or_si256(half, _mm256_slli_epi16(half, 8));
          half = _mm256_sub_epi8(half, _mm256_set1_epi8(static_cast<char>(kExactBias)));
        }
      }
      FoldQuad<kCodes, 0>(block, s, z, scratch);
      FoldQuad<kCodes, 1>(block, s, z, scratch);
      FoldQuad<kCodes, 2>(block, s, z, scratch);
      FoldQuad<kCodes, 3>(block, s, z, scratch);
      if constexpr (kPerGroup == 2) LoadSmallScales<kCodes.traits.scales>(scales, 2 * g + 1, s);
      FoldQuad<kCodes, 4>(block, s, z, scratch);
      FoldQuad<kCodes, 5>(block, s, z, scratch);
      FoldQuad<kCodes, 6>(block, s, z, scratch);
      FoldQuad<kCodes, 7>(block, s, z, scratch);
      next.Ask(g, 1);
      block += GroupBytes(kCodes.traits.payload);
      scratch += kUnpackedGroup;
    }
  }

  template <Codes codes, int quad>
  QUORUM_INLINE void UnpackQuad(const uint8_t* group, uint8_t* scratch) {
    for (int64_t half = 0; half < kLineBytes; half += kHalfLine) {
      const __m256i bytes = LoadOperand<codes, quad>(group + half);
      _mm256_store_si256(reinterpret_cast<__m256i*>(scratch + quad * kLineBytes + half), bytes);
    }
  }

  template <PackFormat format>
  static void Unpack(const uint8_t* block, int64_t groups, const Upcoming& next, uint8_t* scratch) {
    constexpr Codes kCodes = PanelCodes<Products>(TraitsOf(format));
    for (int64_t g = 0; g < groups; ++g) {
      UnpackQuad<kCodes, 0>(block, scratch);
      UnpackQuad<kCodes, 1>(block, scratch);
      UnpackQuad<kCodes, 2>(block, scratch);
      UnpackQuad<kCodes, 3>(block, scratch);
      UnpackQuad<kCodes, 4>(block, scratch);
      UnpackQuad<kCodes, 5>(block, scratch);
      UnpackQuad<kCodes, 6>(block, scratch);
      UnpackQuad<kCodes, 7>(block, scratch);
      next.Ask(g, 1);
      block += GroupBytes(kCodes.traits.payload);
      scratch += kUnpackedGroup;
    }
  }
};

}  // namespace quorum::engine::avx2
