// The loops of the integer matrix products that every instruction set shares: over panels, blocks of columns, and tiles
// of rows. What happens to one block is the instruction set's `Kernel`. No STL; all static, so no weak symbols.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/kernel_table.h"
#include "engine/kernels/pack_layout.h"

namespace quorum::engine {

/// A product's arguments, as in KernelTable::matmul.
struct GemmTask {
  const PackedView& w;
  const ActView& act;
  const int32_t* rows;
  int64_t m;
  int64_t panel_begin;
  int64_t panel_end;
  float* dst;
  int64_t ld;
  const uint8_t* next;
};

// The three parts of an instruction set's MatMul, one file each.
namespace avx2 {
void MatMulFloat(const GemmTask& task);
void MatMulOneLevel(const GemmTask& task);
void MatMulTwoLevels(const GemmTask& task);
}  // namespace avx2
namespace avxvnni {  // floats: AVX2's
void MatMulOneLevel(const GemmTask& task);
void MatMulTwoLevels(const GemmTask& task);
}  // namespace avxvnni
namespace avx512 {
void MatMulFloat(const GemmTask& task);
void MatMulOneLevel(const GemmTask& task);
void MatMulTwoLevels(const GemmTask& task);
}  // namespace avx512

/// R rows of activations from one column on.
template <size_t R>
struct ActRows {
  const int8_t* q[R];
  const float* scale[R];
  const int32_t* sum[R];
};

/// Rows [first, first + R) of the task from `column` (a multiple of 256) on.
template <size_t R>
static inline ActRows<R> RowsAt(const GemmTask& t, int64_t first, int64_t column, int64_t act_block) {
  ActRows<R> act;
  for (size_t i = 0; i < R; ++i) {
    const int64_t at = first + static_cast<int64_t>(i);
    const int64_t row = t.rows == nullptr ? at : t.rows[at];
    act.q[i] = t.act.q + row * t.act.ld_q + column;
    act.scale[i] = t.act.scale + row * t.act.ld_b + column / act_block;
    act.sum[i] = t.act.sum + row * t.act.ld_s + column / 16;
  }
  return act;
}

/// Bytes from what few rows use to what is prefetched meanwhile: nearer, the memory's latency shows; farther, cores
/// that share one path to memory lose.
constexpr int64_t kAhead = 8192;

/// Where a block's partial sums are kept between blocks: row i's 16 lanes at dst + i * ld. They start at zero. `ahead`
/// is how far from a panel's bytes those lie that are to be prefetched meanwhile.
struct Partial {
  float* dst;
  int64_t ld;
  bool start;
  int64_t ahead;
};

/// Partial::ahead of a block at `at`: `distance`, but from the task's end on into what is multiplied next.
static inline int64_t AheadOf(const GemmTask& t, const uint8_t* at, int64_t distance) {
  const uint8_t* end = t.w.panels + t.panel_end * t.w.panel_bytes;
  if (end - at > distance) return distance;
  return t.next == nullptr ? 0 : reinterpret_cast<intptr_t>(t.next) - reinterpret_cast<intptr_t>(end) + distance;
}

/// Asks for what lies `ahead` behind these bytes of a panel. Into the second level: the first has too few lines in
/// flight for the memory's latency. Every line has to be asked for, scales too: the processor's own prefetcher does not
/// fill the gaps between such requests, and a third of the bandwidth is what is left then.
static inline void PrefetchAhead(const uint8_t* at, int64_t bytes, int64_t ahead) {
  for (int64_t line = 0; line < bytes; line += kLineBytes) __builtin_prefetch(at + ahead + line, 0, 2);
}

// A Kernel has
//   kDirectRows<format>  up to so many rows, codes are read from the panel as they are used,
//   kPassRows     so many rows at a time, and the rest in passes of 1 to
//   kFewRows      rows (there is no function for the counts between: each costs seconds of compilation);
//   kTileRows     for more rows, blocks are unpacked first; the rows of a tile at most and,
//   kTileMinRows  as tiles are of nearly equal height, at least: floor(m / ceil(m / kTileRows)) for m > kDirectRows;
//   Few<format, R>(block, groups, act, partial)               one panel's block times R rows
//   Unpack<format>(block, groups, scratch)                    a panel's block as bytes: the byte plane's layout
//   Tile<format, R>(scratch, scales, pairs, groups, act, partial)
//                                                             2 * pairs unpacked panels times R <= kTileRows rows
//   kFolds<format>                                            where true, there are also
//   Fits(scales)                                              whether s * q of a whole block fits unsigned bytes,
//   UnpackFolded(block, scratch)                              which Unpack then gives instead of q,
//   TileFolded                                                and Tile for these
constexpr int64_t kUnpackedBytes = kBlock * kLanes;  // scratch of one panel
constexpr int64_t kUnpackedPanels = 4;               // unpacked at a time: two pairs share a tile's preparation

static inline int64_t GroupsAt(int64_t column, int64_t k) {
  const int64_t rest = (k - column) / kGroup;
  return rest < kBlockGroups ? rest : kBlockGroups;
}

/// Formats without a bias whose integer scales s are at least 0: s times a code q can be multiplied out in bytes, where
/// it is not too large or for some bits of s.
static constexpr bool Folds(const PackTraits& traits) {
  return traits.scales == Scales::kBytes || traits.scales == Scales::kNibbles;
}
static constexpr int32_t LargestCode(const PackTraits& traits) {
  return traits.payload == Payload::kBits2 ? 3 : traits.payload == Payload::kBits4 ? 15 : 31;
}

static constexpr int64_t ActBlockOf(const PackTraits& traits) { return IsTwoLevel(traits.scales) ? kBlock : kGroup; }

/// Panel `panel` times rows [first, first + R).
template <typename Kernel, PackFormat format, size_t R>
static void MultiplyFew(const GemmTask& t, int64_t panel, int64_t first) {
  constexpr PackTraits kTraits = TraitsOf(format);
  const uint8_t* block = t.w.panels + panel * t.w.panel_bytes;
  Partial partial = {t.dst + first * t.ld + (panel - t.panel_begin) * kLanes, t.ld, true, 0};
  ActRows<R> act = RowsAt<R>(t, first, 0, ActBlockOf(kTraits));
  for (int64_t column = 0; column < t.w.k; column += kBlock) {
    const int64_t groups = GroupsAt(column, t.w.k);
    partial.ahead = AheadOf(t, block, kAhead);
    Kernel::template Few<format, R>(block, groups, act, partial);
    for (size_t i = 0; i < R; ++i) {
      act.q[i] += kBlock;
      act.scale[i] += kBlock / ActBlockOf(kTraits);
      act.sum[i] += kBlock / 16;
    }
    block += BlockBytes(kTraits, groups);
    partial.start = false;
  }
}

/// The same for `count` <= R rows.
template <typename Kernel, PackFormat format, size_t R>
static void MultiplyUpTo(const GemmTask& t, int64_t panel, int64_t first, int64_t count) {
  if (count == static_cast<int64_t>(R)) {
    MultiplyFew<Kernel, format, R>(t, panel, first);
  } else if constexpr (R > 1) {
    MultiplyUpTo<Kernel, format, R - 1>(t, panel, first, count);
  }
}

template <typename Kernel, PackFormat format, size_t R, bool folded>
static void TileUpTo(const GemmTask& t, const uint8_t* scratch, const uint8_t* const* scales, int64_t pairs,
                     int64_t panel, int64_t column, int64_t first, int64_t count) {
  if (count == static_cast<int64_t>(R)) {
    const ActRows<R> act = RowsAt<R>(t, first, column, ActBlockOf(TraitsOf(format)));
    const Partial partial = {t.dst + first * t.ld + (panel - t.panel_begin) * kLanes, t.ld, column == 0, 0};
    if constexpr (folded) {
      Kernel::template TileFolded<format, R>(scratch, scales, pairs, act, partial);
    } else {
      Kernel::template Tile<format, R>(scratch, scales, pairs, GroupsAt(column, t.w.k), act, partial);
    }
  } else if constexpr (R > Kernel::kTileMinRows) {
    TileUpTo<Kernel, format, R - 1, folded>(t, scratch, scales, pairs, panel, column, first, count);
  }
}

/// Fills `scratch` and `scales` for a block of 2 * pairs panels; true: folded.
template <typename Kernel, PackFormat format>
static bool UnpackPanels(const uint8_t* block, int64_t panel_bytes, int64_t pairs, int64_t groups, uint8_t* scratch,
                         const uint8_t** scales) {
  constexpr PackTraits kTraits = TraitsOf(format);
  bool folded = Kernel::template kFolds<format>;
  for (int64_t p = 0; p < 2 * pairs; ++p) {
    scales[p] = block + p * panel_bytes + groups * GroupBytes(kTraits.payload);
    if constexpr (Kernel::template kFolds<format>) folded = folded && Kernel::template Fits<format>(scales[p]);
  }
  for (int64_t p = 0; p < 2 * pairs; ++p) {
    if constexpr (Kernel::template kFolds<format>) {
      if (folded) {
        Kernel::template UnpackFolded<format>(block + p * panel_bytes, scratch + p * kUnpackedBytes);
        continue;
      }
    }
    Kernel::template Unpack<format>(block + p * panel_bytes, groups, scratch + p * kUnpackedBytes);
  }
  return folded;
}

/// All rows times panels [panel, panel + 2 * pairs): each block is unpacked once, and while its tiles are computed the
/// next block comes from memory.
template <typename Kernel, PackFormat format>
static void MultiplyUnpacked(const GemmTask& t, int64_t panel, int64_t pairs) {
  constexpr PackTraits kTraits = TraitsOf(format);
  alignas(kLineBytes) uint8_t scratch[kUnpackedPanels * kUnpackedBytes];
  const uint8_t* scales[kUnpackedPanels];
  const int64_t tiles = (t.m + Kernel::kTileRows - 1) / Kernel::kTileRows;
  const uint8_t* block = t.w.panels + panel * t.w.panel_bytes;
  for (int64_t column = 0; column < t.w.k; column += kBlock) {
    const int64_t groups = GroupsAt(column, t.w.k);
    const bool folded = UnpackPanels<Kernel, format>(block, t.w.panel_bytes, pairs, groups, scratch, scales);
    block += BlockBytes(kTraits, groups);
    const bool last = column + kBlock >= t.w.k;
    const uint8_t* behind =
        panel + 2 * pairs < t.panel_end ? t.w.panels + (panel + 2 * pairs) * t.w.panel_bytes : t.next;
    const uint8_t* next = last ? behind : block;
    const int64_t next_bytes = BlockBytes(kTraits, GroupsAt(last ? 0 : column + kBlock, t.w.k));
    const int64_t share = (next_bytes / kLineBytes + tiles - 1) / tiles * kLineBytes;
    int64_t first = 0;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      for (int64_t p = 0; p < 2 * pairs && next != nullptr; ++p) {
        for (int64_t at = tile * share; at < (tile + 1) * share && at < next_bytes; at += kLineBytes) {
          __builtin_prefetch(next + p * t.w.panel_bytes + at, 0, 2);
        }
      }
      const int64_t count = t.m / tiles + (tile < t.m % tiles ? 1 : 0);
      if constexpr (Kernel::template kFolds<format>) {
        if (folded) {
          TileUpTo<Kernel, format, Kernel::kTileRows, true>(t, scratch, scales, pairs, panel, column, first, count);
          first += count;
          continue;
        }
      }
      TileUpTo<Kernel, format, Kernel::kTileRows, false>(t, scratch, scales, pairs, panel, column, first, count);
      first += count;
    }
  }
}

template <typename Kernel, PackFormat format>
static void Multiply(const GemmTask& t) {
  int64_t panel = t.panel_begin;
  if (t.m > Kernel::template kDirectRows<format>) {
    while (panel + 2 <= t.panel_end) {
      const int64_t pairs = panel + kUnpackedPanels <= t.panel_end ? kUnpackedPanels / 2 : 1;
      MultiplyUnpacked<Kernel, format>(t, panel, pairs);
      panel += 2 * pairs;
    }
  }
  for (; panel < t.panel_end; ++panel) {
    int64_t first = 0;
    for (; first + Kernel::kPassRows <= t.m; first += Kernel::kPassRows) {
      MultiplyFew<Kernel, format, Kernel::kPassRows>(t, panel, first);
    }
    for (; first < t.m; first += Kernel::kFewRows) {
      const int64_t rest = t.m - first;
      const int64_t count = rest < Kernel::kFewRows ? rest : Kernel::kFewRows;
      MultiplyUpTo<Kernel, format, Kernel::kFewRows>(t, panel, first, count);
    }
  }
}

}  // namespace quorum::engine
