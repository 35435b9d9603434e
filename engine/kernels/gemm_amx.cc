// The integer matrix products of many rows on AMX. Few rows, and float formats, are AVX-512's: the bits are the same.
//
// A panel's block, unpacked to the byte plane of pack_layout.h, is a `b` tile: line q holds columns 4q..4q+3 of 16
// lanes. Rows of activations are `a` tiles.
//   - two levels: w = s * q, at most 15 bits, is split as w = low + (high << shift) in bytes: where s is signed, the
//     low and the high byte of w, otherwise by the bits of s, each part times q, which takes a third of the operations.
//     One product with low and, where any high is not 0, one with high give the exact sum over the 256 columns. Q4_K
//     super-blocks with s <= 17 need low alone, and int8-exact ones, which are s * q - z.
//   - one level: each group of 32 columns has a float scale, so a tile of its own.
#include "engine/kernels/gemm_parts_avx512.h"
#include "engine/kernels/kernel_impl.h"

#ifndef QUORUM_EMULATED_TILES  // else tests/emulated/tile_unit.h is included in front of this file
#include "engine/kernels/tile_unit_amx.h"
#endif

namespace quorum::engine::amx {
namespace {

#ifdef QUORUM_EMULATED_TILES
using Tiles = EmulatedTiles;
#else
using Tiles = HardwareTiles;
#endif

constexpr int64_t kMinRows = 12;     // below, a tile would be mostly empty and unpacking dominates
constexpr int64_t kTileRows = 16;
constexpr int64_t kPlaneBytes = kUnpackedBytes;
constexpr int64_t kSumStride = kLanes * int64_t{sizeof(int32_t)};

/// A block's activations, row after row, and what is broadcast of each row. Rows up to a whole tile are zero. Codes of
/// weights are made signed or multiplied out before they are used, so no sum has to be corrected for a bias.
template <typename Side>
struct Activations {
  alignas(kLineBytes) int8_t q[kChunkRows * kBlock];
  Side side[kChunkRows];
};

/// The sums of one tile of rows and one panel.
struct alignas(kLineBytes) Sums {
  int32_t at[kTileRows][kLanes];
};

template <PackTraits traits, typename Side>
void PackActivations(const GemmTask& t, int64_t column, int64_t groups, Activations<Side>* act) {
  const int64_t rows = (t.m + kTileRows - 1) / kTileRows * kTileRows;
  for (int64_t i = 0; i < t.m; ++i) {
    const ActRows<1> row = RowsAt<1>(t, i, column, ActBlockOf(traits));
    __builtin_memcpy(act->q + i * kBlock, row.q[0], static_cast<size_t>(groups * kGroup));
    if constexpr (IsTwoLevel(traits.scales)) {
      avx512::PrepareSide<traits.s_columns, kGroup, 0>(row.q[0], row.scale[0], row.sum[0], &act->side[i]);
    } else {
      avx512::PrepareSide<0>(row.q[0], row.scale[0], row.sum[0], groups, &act->side[i]);
    }
  }
  __builtin_memset(act->q + t.m * kBlock, 0, static_cast<size_t>((rows - t.m) * kBlock));
}

/// Asks for a block that comes next.
QUORUM_INLINE void Prefetch(const uint8_t* block, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += kLineBytes) __builtin_prefetch(block + at, 0, 2);
}

// -------------------------------------------------------------- two levels

/// One quad of columns: s * (code - bias) of 64 weights as low and high bytes.
template <PackTraits traits, int quad>
QUORUM_INLINE void SplitQuad(const uint8_t* group, __m512i s, uint8_t* low, uint8_t* high, __m512i* any) {
  const __m512i codes = avx512::LoadUnsigned<traits, quad>(group);
  const __m512i byte = _mm512_set1_epi16(255);
  const __m512i bias = _mm512_set1_epi16(static_cast<int16_t>(traits.bias));
  const __m512i even = _mm512_mullo_epi16(_mm512_sub_epi16(_mm512_and_si512(codes, byte), bias), s);
  const __m512i odd = _mm512_mullo_epi16(_mm512_sub_epi16(_mm512_srli_epi16(codes, 8), bias), s);
  const __m512i lows = _mm512_or_si512(_mm512_and_si512(even, byte), _mm512_slli_epi16(odd, 8));
  const __m512i highs = _mm512_or_si512(_mm512_srli_epi16(even, 8), _mm512_andnot_si512(byte, odd));
  _mm512_store_si512(low + quad * kLineBytes, lows);
  _mm512_store_si512(high + quad * kLineBytes, highs);
  *any = _mm512_or_si512(*any, highs);
}

/// How far the high plane is shifted. With scales of at least 0: so many bits of them times any code fit a byte, and so
/// does what their other bits, three at most, make.
static constexpr int ShiftOf(const PackTraits& traits) {
  if (!Folds(traits)) return 8;
  int bits = 0;
  while (((2 << bits) - 1) * LargestCode(traits) <= 255) ++bits;
  return bits;
}

/// Both planes of a block; returns whether the high one has anything but zeros.
template <PackTraits traits>
bool Split(const uint8_t* group, const uint8_t* scales, uint8_t* low, uint8_t* high) {
  __m512i any = _mm512_setzero_si512();
  for (int64_t g = 0; g < kBlockGroups; ++g) {
    constexpr int64_t kPerGroup = kGroup / traits.s_columns;
    const __m512i s = avx512::ScalePairs<traits>(scales, g * kPerGroup);
    const __m512i next = kPerGroup == 2 ? avx512::ScalePairs<traits>(scales, 2 * g + 1) : s;
    SplitQuad<traits, 0>(group, s, low, high, &any);
    SplitQuad<traits, 1>(group, s, low, high, &any);
    SplitQuad<traits, 2>(group, s, low, high, &any);
    SplitQuad<traits, 3>(group, s, low, high, &any);
    SplitQuad<traits, 4>(group, next, low, high, &any);
    SplitQuad<traits, 5>(group, next, low, high, &any);
    SplitQuad<traits, 6>(group, next, low, high, &any);
    SplitQuad<traits, 7>(group, next, low, high, &any);
    group += GroupBytes(traits.payload);
    low += avx512::kUnpackedGroup;
    high += avx512::kUnpackedGroup;
  }
  alignas(kLineBytes) uint64_t bits[8];
  _mm512_store_si512(bits, any);
  return (bits[0] | bits[1] | bits[2] | bits[3] | bits[4] | bits[5] | bits[6] | bits[7]) != 0;
}

/// The planes of `panels` neighbouring blocks; returns whether the high ones count.
template <PackTraits traits>
bool MakePlanes(const uint8_t* const (&block)[2], int64_t panels, uint8_t (*low)[kPlaneBytes],
                uint8_t (*high)[kPlaneBytes]) {
  constexpr int64_t kCodes = kBlockGroups * GroupBytes(traits.payload);
  bool wide = false;
  if constexpr (FoldingOf(traits) == Folding::kAlways) {
    for (int64_t p = 0; p < panels; ++p) avx512::Fold<traits, 0, 255>(block[p], {}, low[p]);
  } else if constexpr (Folds(traits)) {
    for (int64_t p = 0; p < panels; ++p) wide = wide || !avx512::FitsBytes<traits>(block[p] + kCodes);
    for (int64_t p = 0; p < panels; ++p) {
      if (wide) {
        avx512::Fold<traits, 0, (1 << ShiftOf(traits)) - 1>(block[p], {}, low[p]);
        avx512::Fold<traits, ShiftOf(traits), 255>(block[p], {}, high[p]);
      } else {
        avx512::Fold<traits, 0, 255>(block[p], {}, low[p]);
      }
    }
  } else {
    for (int64_t p = 0; p < panels; ++p) wide |= Split<traits>(block[p], block[p] + kCodes, low[p], high[p]);
  }
  return wide;
}

/// sums[r][p] = two tiles of rows from `q` on (one, unless `both_rows`) times two panels' planes.
template <bool unsigned_b>
QUORUM_INLINE void MultiplyTiles(const int8_t* q, bool both_rows, const uint8_t* plane, const uint8_t* plane2,
                                 Sums (*sums)[2]) {
  Tiles::Zero<0>();
  Tiles::Zero<1>();
  Tiles::Zero<2>();
  Tiles::Zero<3>();
  for (int64_t column = 0; column < kBlock; column += kLineBytes) {
    Tiles::Load<6>(plane + column * kLanes, kLineBytes);
    Tiles::Load<7>(plane2 + column * kLanes, kLineBytes);
    Tiles::Load<4>(q + column, kBlock);
    Tiles::Dot<0, 4, 6, unsigned_b>();
    Tiles::Dot<1, 4, 7, unsigned_b>();
    if (!both_rows) continue;
    Tiles::Load<5>(q + kTileRows * kBlock + column, kBlock);
    Tiles::Dot<2, 5, 6, unsigned_b>();
    Tiles::Dot<3, 5, 7, unsigned_b>();
  }
  Tiles::Store<0>(&sums[0][0], kSumStride);
  Tiles::Store<1>(&sums[0][1], kSumStride);
  if (!both_rows) return;
  Tiles::Store<2>(&sums[1][0], kSumStride);
  Tiles::Store<3>(&sums[1][1], kSumStride);
}

/// Joins a block's sums low + (high << shift) of rows [first, first + count) to dst's 16 columns.
template <PackTraits traits>
QUORUM_INLINE void JoinTwoLevels(const avx512::TwoLevelSide* side, int64_t count, const Sums& low,
                                 const Sums* high, const uint8_t* scales, float* dst, int64_t ld, bool start) {
  constexpr int64_t kPairs = kBlock / traits.s_columns / 2;
  const __m512 d = avx512::LoadD<traits>(scales);
  const __m512 dmin = HasMin(traits.scales) ? avx512::LoadDmin<traits>(scales) : d;
  __m512i z[size_t{kPairs}];
  for (int64_t pair = 0; pair < kPairs; ++pair) {
    z[pair] = HasMin(traits.scales) ? avx512::LoadOffsetPair<traits>(scales, pair) : _mm512_setzero_si512();
  }
  for (int64_t i = 0; i < count; ++i) {
    __m512i total = _mm512_load_si512(low.at[i]);
    if (high != nullptr)
      total = _mm512_add_epi32(total, _mm512_slli_epi32(_mm512_load_si512(high->at[i]), ShiftOf(traits)));
    const __m512 scale = _mm512_set1_ps(side[i].scale);
    __m512 acc = start ? _mm512_setzero_ps() : _mm512_loadu_ps(dst + i * ld);
    acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(total), _mm512_mul_ps(d, scale), acc);
    if constexpr (HasMin(traits.scales)) {
      __m512i offset = _mm512_setzero_si512();
      for (int64_t pair = 0; pair < kPairs; ++pair) {
        offset = _mm512_dpwssd_epi32(offset, z[pair], _mm512_set1_epi32(side[i].sum_pairs[pair]));
      }
      acc = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(offset), _mm512_mul_ps(dmin, scale), acc);
    }
    _mm512_storeu_ps(dst + i * ld, acc);
  }
}

/// At most kChunkRows rows. Columns are the outermost loop, so that activations are packed once for all panels.
template <PackFormat format>
void MultiplyTwoLevels(const GemmTask& t) {
  constexpr PackTraits kTraits = TraitsOf(format);
  constexpr int64_t kBytes = BlockBytes(kTraits, kBlockGroups);
  Activations<avx512::TwoLevelSide> act;
  alignas(kLineBytes) uint8_t low[2][kPlaneBytes];
  alignas(kLineBytes) uint8_t high[2][kPlaneBytes];
  Sums low_sums[2][2];
  Sums high_sums[2][2];
  for (int64_t column = 0; column < t.w.k; column += kBlock) {
    PackActivations<kTraits>(t, column, kBlockGroups, &act);
    for (int64_t panel = t.panel_begin; panel < t.panel_end; panel += 2) {
      const int64_t panels = panel + 1 < t.panel_end ? 2 : 1;
      const uint8_t* block[2];
      for (int64_t p = 0; p < panels; ++p) {
        block[p] = t.w.panels + (panel + p) * t.w.panel_bytes + column / kBlock * kBytes;
        if (panel + p + 2 < t.panel_end) Prefetch(block[p] + 2 * t.w.panel_bytes, kBytes);
      }
      const bool wide = MakePlanes<kTraits>(block, panels, low, high);
      for (int64_t first = 0; first < t.m; first += 2 * kTileRows) {
        const int8_t* q = act.q + first * kBlock;
        const bool both_rows = first + kTileRows < t.m;
        constexpr bool kUnsigned = !IsExact(kTraits);  // its offsets are in the codes
        MultiplyTiles<kUnsigned>(q, both_rows, low[0], low[panels - 1], low_sums);
        if (wide) MultiplyTiles<Folds(kTraits)>(q, both_rows, high[0], high[panels - 1], high_sums);
        for (int64_t r = 0; r < (both_rows ? 2 : 1); ++r) {
          const int64_t row = first + r * kTileRows;
          const int64_t count = t.m - row < kTileRows ? t.m - row : kTileRows;
          for (int64_t p = 0; p < panels; ++p) {
            float* dst = t.dst + row * t.ld + (panel + p - t.panel_begin) * kLanes;
            JoinTwoLevels<kTraits>(act.side + row, count, low_sums[r][p], wide ? &high_sums[r][p] : nullptr,
                                   block[p] + kBlockGroups * GroupBytes(kTraits.payload), dst, t.ld, column == 0);
          }
        }
      }
    }
  }
}

// -------------------------------------------------------------- one level

constexpr int64_t kRun = 4;  // groups whose sums are in tiles at once: the float sums stay in registers meanwhile

template <PackTraits traits, int quad>
QUORUM_INLINE void SignQuad(const uint8_t* group, uint8_t* plane) {
  const __m512i bias = _mm512_set1_epi8(static_cast<char>(traits.bias));
  _mm512_store_si512(plane + quad * kLineBytes, _mm512_sub_epi8((avx512::LoadUnsigned<traits, quad>(group)), bias));
}

/// A block as int8 values.
template <PackTraits traits>
void Sign(const uint8_t* group, int64_t groups, uint8_t* plane) {
  for (int64_t g = 0; g < groups; ++g) {
    SignQuad<traits, 0>(group, plane);
    SignQuad<traits, 1>(group, plane);
    SignQuad<traits, 2>(group, plane);
    SignQuad<traits, 3>(group, plane);
    SignQuad<traits, 4>(group, plane);
    SignQuad<traits, 5>(group, plane);
    SignQuad<traits, 6>(group, plane);
    SignQuad<traits, 7>(group, plane);
    group += GroupBytes(traits.payload);
    plane += avx512::kUnpackedGroup;
  }
}

/// sums[j] = a tile of rows times group first_group + j of a panel.
template <int j>
QUORUM_INLINE void MultiplyGroup(const int8_t* q, const uint8_t* plane, int64_t first_group, int64_t groups,
                                 Sums* sums) {
  if (first_group + j >= groups) return;
  Tiles::Zero<j>();
  Tiles::Load<4 + j % 2>(q + (first_group + j) * kGroup, kBlock);
  Tiles::Load<6 + j % 2>(plane + (first_group + j) * avx512::kUnpackedGroup, kLineBytes);
  Tiles::Dot<j, 4 + j % 2, 6 + j % 2, false>();
  Tiles::Store<j>(&sums[j], kSumStride);
}

/// Joins the sums of `count` groups from `group` on, in ascending order.
template <PackTraits traits>
QUORUM_INLINE void JoinOneLevel(const avx512::OneLevelSide* side, int64_t rows, int64_t group, int64_t count,
                                const Sums* sums, const uint8_t* scales, float* dst, int64_t ld, bool start) {
  __m512 d[kRun];
  __m512 m[kRun];
  for (int64_t j = 0; j < count; ++j) {
    const uint8_t* at = scales + (group + j) * ScaleBytes(traits, 1);
    d[j] = traits.scales == Scales::kE8m0 ? avx512::LoadE8m0(at) : avx512::LoadHalves(at);
    m[j] = HasMin(traits.scales) ? avx512::LoadHalves(at + 2 * kLanes) : d[j];
  }
  for (int64_t i = 0; i < rows; ++i) {
    __m512 acc = start ? _mm512_setzero_ps() : _mm512_loadu_ps(dst + i * ld);
    for (int64_t j = 0; j < count; ++j) {
      const __m512 product = _mm512_mul_ps(d[j], _mm512_set1_ps(side[i].scale[group + j]));
      acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums[j].at[i])), product, acc);
      if constexpr (HasMin(traits.scales)) {
        acc = _mm512_fmadd_ps(m[j], _mm512_set1_ps(side[i].scaled_sum[group + j]), acc);
      }
    }
    _mm512_storeu_ps(dst + i * ld, acc);
  }
}

/// At most kChunkRows rows.
template <PackFormat format>
void MultiplyOneLevel(const GemmTask& t) {
  constexpr PackTraits kTraits = TraitsOf(format);
  Activations<avx512::OneLevelSide> act;
  alignas(kLineBytes) uint8_t plane[kPlaneBytes];
  Sums sums[kRun];
  for (int64_t column = 0; column < t.w.k; column += kBlock) {
    const int64_t groups = GroupsAt(column, t.w.k);
    PackActivations<kTraits>(t, column, groups, &act);
    for (int64_t panel = t.panel_begin; panel < t.panel_end; ++panel) {
      const uint8_t* block = t.w.panels + panel * t.w.panel_bytes + column / kBlock * BlockBytes(kTraits, kBlockGroups);
      const uint8_t* scales = block + groups * GroupBytes(kTraits.payload);
      Sign<kTraits>(block, groups, plane);
      if (panel + 1 < t.panel_end) Prefetch(block + t.w.panel_bytes, BlockBytes(kTraits, groups));
      for (int64_t first = 0; first < t.m; first += kTileRows) {
        const int64_t rows = t.m - first < kTileRows ? t.m - first : kTileRows;
        const int8_t* q = act.q + first * kBlock;
        float* dst = t.dst + first * t.ld + (panel - t.panel_begin) * kLanes;
        for (int64_t g = 0; g < groups; g += kRun) {
          MultiplyGroup<0>(q, plane, g, groups, sums);
          MultiplyGroup<1>(q, plane, g, groups, sums);
          MultiplyGroup<2>(q, plane, g, groups, sums);
          MultiplyGroup<3>(q, plane, g, groups, sums);
          const int64_t count = groups - g < kRun ? groups - g : kRun;
          JoinOneLevel<kTraits>(act.side + first, rows, g, count, sums, scales, dst, t.ld, column == 0 && g == 0);
        }
      }
    }
  }
}

void MultiplyChunk(const GemmTask& t) {
  switch (t.w.format) {
    case PackFormat::kG32U4: return MultiplyOneLevel<PackFormat::kG32U4>(t);
    case PackFormat::kG32S4: return MultiplyOneLevel<PackFormat::kG32S4>(t);
    case PackFormat::kG32U5: return MultiplyOneLevel<PackFormat::kG32U5>(t);
    case PackFormat::kG32S5: return MultiplyOneLevel<PackFormat::kG32S5>(t);
    case PackFormat::kG32S8: return MultiplyOneLevel<PackFormat::kG32S8>(t);
    case PackFormat::kG32Iq4: return MultiplyOneLevel<PackFormat::kG32Iq4>(t);
    case PackFormat::kG32Mxfp4: return MultiplyOneLevel<PackFormat::kG32Mxfp4>(t);
    case PackFormat::kK256U2: return MultiplyTwoLevels<PackFormat::kK256U2>(t);
    case PackFormat::kK256S3: return MultiplyTwoLevels<PackFormat::kK256S3>(t);
    case PackFormat::kK256U4: return MultiplyTwoLevels<PackFormat::kK256U4>(t);
    case PackFormat::kK256X4: return MultiplyTwoLevels<PackFormat::kK256X4>(t);
    case PackFormat::kK256Iq4: return MultiplyTwoLevels<PackFormat::kK256Iq4>(t);
    case PackFormat::kK256U5: return MultiplyTwoLevels<PackFormat::kK256U5>(t);
    case PackFormat::kK256S6: return MultiplyTwoLevels<PackFormat::kK256S6>(t);
    default: return;
  }
}

}  // namespace

void MatMul(const PackedView& w, const ActView& act, const int32_t* rows, int64_t m, int64_t panel_begin,
            int64_t panel_end, float* dst, int64_t ld, const uint8_t* next) {
  const PackTraits traits = TraitsOf(w.format);
  if (traits.payload == Payload::kNone || m < kMinRows) {
    return avx512::MatMul(w, act, rows, m, panel_begin, panel_end, dst, ld, next);
  }
  Tiles::Configure(IsTwoLevel(traits.scales) ? kLineBytes : kGroup);
  for (int64_t first = 0; first < m; first += kChunkRows) {
    ActView part = act;
    if (rows == nullptr) {
      part.q += first * act.ld_q;
      part.scale += first * act.ld_b;
      part.sum += first * act.ld_s;
    }
    const int64_t count = m - first < kChunkRows ? m - first : kChunkRows;
    MultiplyChunk({w, part, rows == nullptr ? nullptr : rows + first, count, panel_begin, panel_end, dst + first * ld,
                   ld, nullptr});
  }
  Tiles::Release();
}

int64_t PeakLoop(int64_t iterations) {
  Tiles::Configure(kLineBytes);
  Tiles::Zero<4>();
  Tiles::Zero<5>();
  Tiles::Zero<6>();
  Tiles::Zero<7>();
  Tiles::Zero<0>();
  Tiles::Zero<1>();
  Tiles::Zero<2>();
  Tiles::Zero<3>();
  for (int64_t i = 0; i < iterations; ++i) {
    Tiles::Dot<0, 4, 6, true>();
    Tiles::Dot<1, 4, 7, true>();
    Tiles::Dot<2, 5, 6, true>();
    Tiles::Dot<3, 5, 7, true>();
  }
  Tiles::Release();
  return iterations * 4 * kTileRows * kLanes * kLineBytes * 2;
}

}  // namespace quorum::engine::amx
