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

/// Bytes from what few rows use to what is prefetched meanwhile from memory into the second level: nearer, the memory's
/// latency shows; farther, cores that share one path to memory lose.
constexpr int64_t kAhead = 8192;
/// and from there into the first: what is asked for from memory holds up the loads behind it, so these come early, too.
constexpr int64_t kNear = 2048;

/// The same of one block, whose bytes are asked for that far from its own.
struct Distances {
  int64_t memory;
  int64_t near;
};

/// What is to come from memory while some panels are unpacked or a tile is computed: `lines` lines of each, which are
/// panel_bytes apart. All at once they would take every buffer that the tile's own activations need on their way from
/// the second level: a kernel asks for them bit by bit, while unpacking too, for memory has nothing to do otherwise.
struct Upcoming {
  const uint8_t* at;
  int64_t panel_bytes;
  int64_t lines;

  /// The first `count` lines of each, and those behind them.
  Upcoming First(int64_t count) const { return {at, panel_bytes, count < lines ? count : lines}; }
  Upcoming Behind(const Upcoming& first) const {
    return {at + first.lines * kLineBytes, panel_bytes, lines - first.lines};
  }

  /// Asks for the share of group `g` of a block, of `panels` panels.
  inline __attribute__((always_inline)) void Ask(int64_t g, int64_t panels) const {
    for (int64_t line = g; line < lines; line += kBlockGroups) {
      for (int64_t p = 0; p < panels; ++p) __builtin_prefetch(at + p * panel_bytes + line * kLineBytes, 0, 2);
    }
  }
};

/// Where a block's partial sums are kept between blocks: row i's 16 lanes at dst + i * ld. They start at zero. Few
/// rows: `ahead` is how far from a panel's bytes those lie that are to be prefetched meanwhile.
struct Partial {
  float* dst;
  int64_t ld;
  bool start;
  Distances ahead;
  Upcoming upcoming;
};

/// How far ahead of a block at `at`: `distance`, but from the task's end on into what is multiplied next.
static inline int64_t AheadOf(const GemmTask& t, const uint8_t* at, int64_t distance) {
  const uint8_t* end = t.w.panels + t.panel_end * t.w.panel_bytes;
  if (end - at > distance) return distance;
  return t.next == nullptr ? 0 : reinterpret_cast<intptr_t>(t.next) - reinterpret_cast<intptr_t>(end) + distance;
}

/// Asks for what lies `ahead` behind these bytes of a panel. Into the second level: the first has too few lines in
/// flight for the memory's latency. Every line has to be asked for, scales too: the processor's own prefetcher does not
/// fill the gaps between such requests, and a third of the bandwidth is what is left then.
static inline void PrefetchAhead(const uint8_t* at, int64_t bytes, const Distances& ahead) {
  for (int64_t line = 0; line < bytes; line += kLineBytes) {
    __builtin_prefetch(at + ahead.memory + line, 0, 2);
    __builtin_prefetch(at + ahead.near + line, 0, 3);
  }
}

// A Kernel has
//   kDirectRows   up to so many rows, codes are read from the panel as they are used,
//   kPassRows     so many rows at a time, and the rest in passes of 1 to
//   kFewRows      rows (there is no function for the counts between: each costs seconds of compilation);
//   RowSide, PrepareFewRow<format>(act, groups, row)          what they need of a row's block
//   Few<format, R>(block, groups, rows, partial)              one panel's block times R rows
// and for more rows, whose blocks are unpacked first,
//   Unpack<format>(block, groups, next, scratch)              a panel's block as bytes: the byte plane's layout
//   PrepareRow<format>(act, groups, row)                      what tiles need of a row's block
//   PanelSide<format>, PreparePanel<format, folded>(scales, groups, panel)   and of a panel's
//   Tile<format, shape, R>(scratch, panels, count, groups, rows, partial)
//                                                             R rows times `count` unpacked panels, of
//   kTile         shape;
//   kFolding<format>                                          where not kNever, there are also
//   UnpackFolded(block, next, scratch)                        gives s * q in place of q, and for these bytes
//   kFoldedTile, kWideTile                                    shapes, the latter for kUnpackedPanels panels;
//   Fits(scales)                                              whether a block's s * q are bytes, if not kAlways

constexpr int64_t kUnpackedBytes = kBlock * kLanes;  // scratch of one panel
constexpr int64_t kUnpackedPanels = 4;               // unpacked at a time: they fit the nearest cache
constexpr int64_t kChunkRows = 128;                  // rows that are prepared at a time
constexpr int64_t kNarrowRows = 6;                   // up to here wide tiles are too low, or too high by one
constexpr int64_t kShortRows = 16;                   // up to here unpacking has a large part of the time

/// How a kernel cuts m rows into tiles.
struct TileShape {
  bool folded;
  int64_t panels;  // that a tile takes at once
  int64_t most;    // rows of a tile
  int64_t best;    // rows of a tile where m allows
  int64_t least;

  constexpr int64_t Tiles(int64_t m) const {
    const int64_t needed = (m + most - 1) / most;
    return m / best > needed ? m / best : needed;
  }
  /// Whether tiles of `fewest` rows and more, up to kChunkRows, have at least `least` and at most `most`.
  constexpr bool Covers(int64_t fewest) const {
    for (int64_t m = fewest; m <= kChunkRows; ++m) {
      if (m / Tiles(m) < least || (m + Tiles(m) - 1) / Tiles(m) > most) return false;
    }
    return true;
  }
};

/// Whether the codes of a block can be multiplied with their scales when they are unpacked.
enum class Folding : uint8_t { kNever, kSometimes, kAlways };

static inline int64_t GroupsAt(int64_t column, int64_t k) {
  const int64_t rest = (k - column) / kGroup;
  return rest < kBlockGroups ? rest : kBlockGroups;
}

/// Formats without a bias whose integer scales s are at least 0: s times a code q can be multiplied out in bytes, where
/// it is not too large or for some bits of s.
static constexpr bool Folds(const PackTraits& traits) {
  return HasOffsetBytes(traits.scales) || traits.scales == Scales::kNibbles;
}
static constexpr int32_t LargestCode(const PackTraits& traits) {
  switch (traits.payload) {
    case Payload::kBits2: return 3;
    case Payload::kBits3: return 7;
    case Payload::kBits4: return 15;
    case Payload::kBits5: return 31;
    case Payload::kBits6: return 63;
    default: return 255;
  }
}

/// Int8-exact s * q is at most 127 + z, Q2_K's 15 * 3.
static constexpr Folding FoldingOf(const PackTraits& traits) {
  if (!Folds(traits)) return Folding::kNever;
  return traits.scales == Scales::kBytes ? Folding::kSometimes : Folding::kAlways;
}

/// What is added to int8-exact s * q - z where unsigned bytes are wanted.
constexpr int32_t kExactBias = 128;

static constexpr int64_t ActBlockOf(const PackTraits& traits) { return IsTwoLevel(traits.scales) ? kBlock : kGroup; }

/// Rows [first, first + count) of the task's block at `column`.
template <typename Kernel, PackFormat format>
static void PrepareFewRows(const GemmTask& t, int64_t column, int64_t first, int64_t count,
                           typename Kernel::RowSide* rows) {
  const int64_t groups = GroupsAt(column, t.w.k);
  for (int64_t i = 0; i < count; ++i) {
    const ActRows<1> act = RowsAt<1>(t, first + i, column, ActBlockOf(TraitsOf(format)));
    Kernel::template PrepareFewRow<format>(act, groups, &rows[i]);
  }
}

/// Prepared rows of a few-row product: row i of block b at at[b * stride + i]. `fresh`: they are to be prepared, block
/// by block as the first panel's are read, so that the memory is not kept waiting.
template <typename Kernel>
struct FewRows {
  typename Kernel::RowSide* at;
  int64_t stride;
  bool fresh;
};

/// Panel `panel` times rows [first, first + R).
template <typename Kernel, PackFormat format, size_t R>
static void MultiplyFew(const GemmTask& t, const FewRows<Kernel>& prepared, int64_t panel, int64_t first) {
  constexpr PackTraits kTraits = TraitsOf(format);
  const uint8_t* block = t.w.panels + panel * t.w.panel_bytes;
  Partial partial = {t.dst + first * t.ld + (panel - t.panel_begin) * kLanes, t.ld, true, {}, {}};
  typename Kernel::RowSide* rows = prepared.at + (prepared.stride == 0 ? 0 : first);
  for (int64_t column = 0; column < t.w.k; column += kBlock) {
    if (prepared.fresh) PrepareFewRows<Kernel, format>(t, column, first, R, rows);
    const int64_t groups = GroupsAt(column, t.w.k);
    partial.ahead = {AheadOf(t, block, kAhead), AheadOf(t, block, kNear)};
    Kernel::template Few<format, R>(block, groups, rows, partial);
    rows += prepared.stride;
    block += BlockBytes(kTraits, groups);
    partial.start = false;
  }
}

/// The same for `count` <= R rows.
template <typename Kernel, PackFormat format, size_t R>
static void MultiplyUpTo(const GemmTask& t, const FewRows<Kernel>& prepared, int64_t panel, int64_t first,
                         int64_t count) {
  if (count == static_cast<int64_t>(R)) {
    MultiplyFew<Kernel, format, R>(t, prepared, panel, first);
  } else if constexpr (R > 1) {
    MultiplyUpTo<Kernel, format, R - 1>(t, prepared, panel, first, count);
  }
}

/// Panels [panel, panel_end) of the task times all its rows, a few at a time. Rows are prepared once for all panels,
/// where there is room.
template <typename Kernel, PackFormat format>
static void MultiplyDirect(const GemmTask& t, int64_t panel) {
  typename Kernel::RowSide rows[kChunkRows];
  const bool fit = (t.w.k + kBlock - 1) / kBlock * t.m <= kChunkRows;
  FewRows<Kernel> prepared = {rows, fit ? t.m : 0, true};
  for (; panel < t.panel_end; ++panel) {
    int64_t first = 0;
    for (; first + Kernel::kPassRows <= t.m; first += Kernel::kPassRows) {
      MultiplyFew<Kernel, format, Kernel::kPassRows>(t, prepared, panel, first);
    }
    for (; first < t.m; first += Kernel::kFewRows) {
      const int64_t rest = t.m - first;
      const int64_t count = rest < Kernel::kFewRows ? rest : Kernel::kFewRows;
      MultiplyUpTo<Kernel, format, Kernel::kFewRows>(t, prepared, panel, first, count);
    }
    prepared.fresh = !fit;
  }
}

/// What MultiplyUnpacked keeps on its stack.
template <typename Kernel, PackFormat format>
struct Unpacked {
  alignas(kLineBytes) uint8_t codes[kUnpackedPanels * kUnpackedBytes];
  typename Kernel::template PanelSide<format> panels[kUnpackedPanels];
  typename Kernel::RowSide rows[kChunkRows];
};

template <typename Kernel, PackFormat format, TileShape shape, size_t R>
static void TileUpTo(const Unpacked<Kernel, format>& from, int64_t panels, int64_t groups, int64_t first, int64_t count,
                     const Partial& partial) {
  if (count == static_cast<int64_t>(R)) {
    Kernel::template Tile<format, shape, R>(from.codes, from.panels, panels, groups, from.rows + first, partial);
  } else if constexpr (static_cast<int64_t>(R) > shape.least) {
    TileUpTo<Kernel, format, shape, R - 1>(from, panels, groups, first, count, partial);
  }
}

/// Fills `to` with a block of `count` panels.
template <typename Kernel, PackFormat format, bool folded>
static void UnpackPanels(const uint8_t* block, int64_t panel_bytes, int64_t count, int64_t groups, Upcoming next,
                         Unpacked<Kernel, format>* to) {
  const int64_t codes = groups * GroupBytes(TraitsOf(format).payload);
  for (int64_t p = 0; p < count; ++p, next.at += next.panel_bytes) {
    const uint8_t* panel = block + p * panel_bytes;
    uint8_t* bytes = to->codes + p * kUnpackedBytes;
    Kernel::template PreparePanel<format, folded>(panel + codes, groups, &to->panels[p]);
    if constexpr (folded) {
      Kernel::template UnpackFolded<format>(panel, next, bytes);
    } else {
      Kernel::template Unpack<format>(panel, groups, next, bytes);
    }
  }
}

/// Whether the blocks of `count` panels can be folded.
template <typename Kernel, PackFormat format>
static bool CanFold(const uint8_t* block, int64_t panel_bytes, int64_t count) {
  bool fits = Kernel::template kFolding<format> != Folding::kNever;
  if constexpr (Kernel::template kFolding<format> == Folding::kSometimes) {
    const uint8_t* scales = block + kBlockGroups * GroupBytes(TraitsOf(format).payload);
    for (int64_t p = 0; p < count; ++p) fits = fits && Kernel::template Fits<format>(scales + p * panel_bytes);
  }
  return fits;
}

/// Lines [begin, end) of each row's codes in the next block of columns: they come from another core's cache or farther.
struct NextCodes {
  int64_t begin, end;
};

/// The tiles of rows [0, m) of `from` and `panels` panels; each asks for its share of `next`.
template <typename Kernel, PackFormat format, TileShape shape>
static void MultiplyTiles(const Unpacked<Kernel, format>& from, int64_t panels, int64_t groups, int64_t m,
                          Partial partial, const Upcoming& next, const NextCodes& codes) {
  const int64_t tiles = shape.Tiles(m);
  const int64_t least = m / tiles;
  const int64_t more = m % tiles;
  const int64_t lines_of_row = ((next.lines << 16) + m - 1) / m;  // times 2^16
  int64_t first = 0;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t count = least + (tile < more ? 1 : 0);
    const int64_t asked = lines_of_row * first >> 16;
    partial.upcoming = {next.at + asked * kLineBytes, next.panel_bytes,
                        (lines_of_row * (first + count) >> 16) - asked};
    for (int64_t i = first; i < first + count; ++i) {
      for (int64_t line = codes.begin; line < codes.end; ++line) {
        __builtin_prefetch(from.rows[i].q + kBlock + line * kLineBytes, 0, 2);
      }
    }
    TileUpTo<Kernel, format, shape, static_cast<size_t>(shape.most)>(from, panels, groups, first, count, partial);
    first += count;
    partial.dst += count * partial.ld;
  }
}

/// Rows [first, first + m) of the task, at most kChunkRows, times panels [panel_begin, panel_end), an even number of
/// them. Columns are the outermost loop: what is prepared of the rows, and their codes in the nearest cache, serve all
/// panels. `last`: no further rows follow.
template <typename Kernel, PackFormat format>
static void MultiplyUnpacked(const GemmTask& t, int64_t first, int64_t m, int64_t panel_end, bool last) {
  constexpr int64_t kDirect = Kernel::kDirectRows;
  static_assert(Kernel::kTile.Covers(kDirect + 1) && Kernel::kFoldedTile.Covers(kDirect + 1));
  static_assert(Kernel::kWideTile.Covers((kNarrowRows < kDirect ? kDirect : kNarrowRows) + 1));
  constexpr PackTraits kTraits = TraitsOf(format);
  Unpacked<Kernel, format> unpacked;
  const uint8_t* column_blocks = t.w.panels + t.panel_begin * t.w.panel_bytes;
  for (int64_t column = 0; column < t.w.k; column += kBlock) {
    const int64_t groups = GroupsAt(column, t.w.k);
    for (int64_t i = 0; i < m; ++i) {
      const ActRows<1> row = RowsAt<1>(t, first + i, column, ActBlockOf(kTraits));
      __builtin_prefetch(row.sum[0] + kBlock / 16, 0, 2);
      Kernel::template PrepareRow<format>(row, groups, &unpacked.rows[i]);
    }
    const int64_t next_lines = GroupsAt(column + kBlock, t.w.k) * kGroup / kLineBytes;
    const int64_t panels = panel_end - t.panel_begin;
    const uint8_t* block = column_blocks;
    column_blocks += BlockBytes(kTraits, groups);
    for (int64_t panel = t.panel_begin; panel < panel_end;) {
      const int64_t count = panel + kUnpackedPanels <= panel_end ? kUnpackedPanels : 2;
      const Partial partial = {t.dst + first * t.ld + (panel - t.panel_begin) * kLanes, t.ld, column == 0, {}, {}};
      const uint8_t* const now = block;
      const int64_t done = panel - t.panel_begin;
      const NextCodes codes = {next_lines * done / panels, next_lines * (done + count) / panels};
      panel += count;
      block += count * t.w.panel_bytes;
      Upcoming next = {block, t.w.panel_bytes, BlockBytes(kTraits, groups) / kLineBytes};
      if (panel >= panel_end) {
        const bool end = column + kBlock >= t.w.k;
        next.at = !end ? column_blocks : last ? t.next : t.w.panels + t.panel_begin * t.w.panel_bytes;
        next.lines = BlockBytes(kTraits, GroupsAt(end ? 0 : column + kBlock, t.w.k)) / kLineBytes;
        if (next.at == nullptr) next = {nullptr, 0, 0};
      }
      const Upcoming sooner = next.First(m < kShortRows ? 2 * kBlockGroups : kBlockGroups);
      const Upcoming later = next.Behind(sooner);
      constexpr Folding kFolding = Kernel::template kFolding<format>;
      if (CanFold<Kernel, format>(now, t.w.panel_bytes, count)) {
        if constexpr (kFolding != Folding::kNever) {
          UnpackPanels<Kernel, format, true>(now, t.w.panel_bytes, count, groups, sooner, &unpacked);
          if (count == kUnpackedPanels && m > kNarrowRows) {
            MultiplyTiles<Kernel, format, Kernel::kWideTile>(unpacked, count, groups, m, partial, later, codes);
          } else {
            MultiplyTiles<Kernel, format, Kernel::kFoldedTile>(unpacked, count, groups, m, partial, later, codes);
          }
        }
      } else if constexpr (kFolding != Folding::kAlways) {
        UnpackPanels<Kernel, format, false>(now, t.w.panel_bytes, count, groups, sooner, &unpacked);
        MultiplyTiles<Kernel, format, Kernel::kTile>(unpacked, count, groups, m, partial, later, codes);
      }
    }
  }
}

template <typename Kernel, PackFormat format>
static void Multiply(const GemmTask& t) {
  int64_t panel = t.panel_begin;
  if (t.m > Kernel::kDirectRows) {
    panel += (t.panel_end - t.panel_begin) / 2 * 2;
    const int64_t chunks = (t.m + kChunkRows - 1) / kChunkRows;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const int64_t first = t.m * chunk / chunks;
      const int64_t count = t.m * (chunk + 1) / chunks - first;
      MultiplyUnpacked<Kernel, format>(t, first, count, panel, chunk + 1 == chunks && panel == t.panel_end);
    }
  }
  if (panel < t.panel_end) MultiplyDirect<Kernel, format>(t, panel);
}

}  // namespace quorum::engine
