// Attention over KV pages, written once over a 16-lane vector and an instruction set's integer tiles, so that every
// instruction set runs the same operations in the same order (contract: kv_layout.h). Included by the kernel files
// only; everything has internal linkage. Rows are taken in blocks of up to Isa::kRows that share every load of K and V;
// how they are blocked does not show in a row's bits, for each row's sums run in its own lanes.
//
// `Isa` has
//   V                        the 16 lanes
//   kRows, kCols             accumulators of a float tile: rows x vectors
//   Query                    the integer type in which ScoreTile takes queries -127..127
//   Weight                   the integer type in which MixTile takes weights 0..255
//   ScoreTile<R>(q, ld_q, start, k, dim, ahead, s)      s[r][t] = start[r] + sum over d of q[r][d] * k[d][t], K biased
//                                                       by 128
//   MixTile<R>(w, v, dv, alpha, scale, ahead, o)        o[r][d] = fma(float(sum over t of w[r][t] * v[t][d]), scale[r],
//                                                       o[r][d] * alpha[r])
// Both call ahead.Ask as they go along.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/kernels/attention_float.h"
#include "engine/kernels/attention_int.h"

namespace quorum::engine {
namespace {

/// V of a page: its own memory, or made of its keys in scratch memory, whose padding is zero already.
QUORUM_KERNEL_INLINE const int8_t* ValuesOfPage(const AttendPageArgs& a, const int8_t* block) {
  if (!a.values_in_keys) return block + KvValueOffset(a.type, a.head_dim_k);
  const int64_t dv = KvPaddedDim(a.head_dim_v);
  switch (a.type) {
    case KvType::kF32: FloatValuesOfKeys<float>(block, a.head_dim_v, dv, a.scratch); break;
    case KvType::kBf16: FloatValuesOfKeys<uint16_t>(block, a.head_dim_v, dv, a.scratch); break;
    case KvType::kInt8: IntValuesOfKeys(block, a.head_dim_v, dv, a.scratch); break;
  }
  return a.scratch;
}

template <class Isa, int R>
void RowBlock(const AttendPageArgs& a, const IntQueries<Isa>& queries, int64_t page, const int8_t* values, int64_t row,
              Ahead& ahead) {
  BlockState<R> b;
  b.seen = 0;
  b.whole = true;
  const int64_t page_pos = a.pos + page * kTokens;
  for (int r = 0; r < R; ++r) {
    b.visible[r] = VisibleBits(a.first[row + r], a.last[row + r], page_pos);
    b.bias[r] = BiasOfPage(a, row + r, page_pos);
    if (b.visible[r] != 0) b.seen |= 1U << r;
    b.whole = b.whole && b.visible[r] == ~uint64_t{0};
  }
  if (b.seen == 0) return;
  const auto* block = static_cast<const int8_t*>(a.blocks[page]);
  switch (a.type) {
    case KvType::kF32: FloatBlock<Isa, F32Element, R>(a, block, values, row, ahead, b); break;
    case KvType::kBf16: FloatBlock<Isa, Bf16Element, R>(a, block, values, row, ahead, b); break;
    case KvType::kInt8: IntBlock<Isa, R>(a, queries, block, values, row, ahead, b); break;
  }
}

/// The last `rest` rows, fewer than a whole block.
template <class Isa, int R>
QUORUM_KERNEL_INLINE void TailBlock(const AttendPageArgs& a, const IntQueries<Isa>& queries, int64_t page,
                                    const int8_t* values, int64_t row, int64_t rest, Ahead& ahead) {
  if constexpr (R > 0) {
    if (rest == R) {
      RowBlock<Isa, R>(a, queries, page, values, row, ahead);
    } else {
      TailBlock<Isa, R - 1>(a, queries, page, values, row, rest, ahead);
    }
  }
}

/// Joins the rows' states (m, l, o) to (into_m, into_l, into_o).
template <class V>
void JoinStates(const AttendPageArgs& a) {
  const int64_t dv = KvPaddedDim(a.head_dim_v);
  for (int64_t row = 0; row < a.rows; row += 16) {
    const int64_t count = a.rows - row < 16 ? a.rows - row : 16;
    const V m = V::Load(a.m + row, count, 0.0F);
    const V into_m = V::Load(a.into_m + row, count, 0.0F);
    const V top = V::Max(into_m, m);
    alignas(64) float top_of[16];
    alignas(64) float keep[16];  // what the earlier sums are worth
    alignas(64) float add[16];   // and the new ones
    top.Store(top_of);
    Exp(into_m - top).Store(keep);
    Exp(m - top).Store(add);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t r = row + i;
      if (a.m[r] == -kInfinity && a.l[r] == 0) continue;
      const float* o = a.o + r * dv;
      float* into_o = a.into_o + r * dv;
      if (a.into_m[r] == -kInfinity && a.into_l[r] == 0) {
        a.into_m[r] = a.m[r];
        a.into_l[r] = a.l[r];
        for (int64_t d = 0; d < dv; d += 16) V::Load(o + d).Store(into_o + d);
        continue;
      }
      a.into_m[r] = top_of[i];
      a.into_l[r] = __builtin_fmaf(a.into_l[r], keep[i], a.l[r] * add[i]);
      for (int64_t d = 0; d < dv; d += 16) {
        V::Fma(V::Load(into_o + d), V::Set(keep[i]), V::Load(o + d) * V::Set(add[i])).Store(into_o + d);
      }
    }
  }
}

/// Attends the pages, of which there is at least one.
template <class Isa>
QUORUM_KERNEL_INLINE void WalkPages(const AttendPageArgs& a) {
  const IntQueries<Isa> queries(a);
  if (a.type == KvType::kInt8 && !a.queries_ready) queries.Quantize(a);
  const int64_t value_bytes = AttendValueBytes(a.type, a.head_dim_v, a.values_in_keys);
  if (a.head_dim_v % 16 != 0) memset(a.scratch, 0, static_cast<size_t>(value_bytes));

  const int64_t block_bytes = KvBlockBytes(a.type, a.head_dim_k, a.values_in_keys ? 0 : a.head_dim_v);
  const int64_t row_blocks = (a.rows + Isa::kRows - 1) / Isa::kRows;
  const int64_t vectors = row_blocks * (kTokenVectors + KvPaddedDim(a.head_dim_v) / 16);
  const int64_t share = (block_bytes / 64 + vectors - 1) / vectors * 64;
  const auto* first = static_cast<const int8_t*>(a.blocks[0]);
  Ahead{first, first + block_bytes, share}.AskRest();
  for (int64_t page = 0; page < a.pages; ++page) {
    const auto* next = static_cast<const int8_t*>(page + 1 < a.pages ? a.blocks[page + 1] : a.next);
    Ahead ahead = {next, next == nullptr ? next : next + block_bytes, share};
    const int8_t* values = ValuesOfPage(a, static_cast<const int8_t*>(a.blocks[page]));
    int64_t row = 0;
    for (; row + Isa::kRows <= a.rows; row += Isa::kRows) {
      RowBlock<Isa, Isa::kRows>(a, queries, page, values, row, ahead);
    }
    TailBlock<Isa, Isa::kRows - 1>(a, queries, page, values, row, a.rows - row, ahead);
    ahead.AskRest();  // what rows that see nothing of the page left out
  }
}

template <class Isa>
QUORUM_KERNEL_INLINE void AttendPages(const AttendPageArgs& a) {
  if (a.rows > 0 && a.pages > 0) WalkPages<Isa>(a);
  if (a.into_m != nullptr) JoinStates<typename Isa::V>(a);
}

}  // namespace
}  // namespace quorum::engine
