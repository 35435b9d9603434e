// What attention's kernels over floats and over int8 share: the online softmax of a block of rows, who sees which
// position, and asking for the next page. Included by attention_ops.h, which describes `Isa`.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/kv_layout.h"
#include "engine/kernels/vmath_ops.h"

namespace quorum::engine {
namespace {

constexpr int64_t kTokens = kKvPageTokens;
constexpr int kTokenVectors = kTokens / 16;

template <class T, int N>
using Array = T[static_cast<size_t>(N)];

/// Asks for the block that comes next while one is in work. Blocks lie anywhere, so the hardware cannot know it. A
/// share at a time, for a whole block at once would hold up the loads of the one in work.
struct Ahead {
  const int8_t* at;
  const int8_t* end;
  int64_t share;  // bytes for each 16 tokens or dimensions that a block of rows goes through

  /// To be called where `vectors` vectors of tokens or dimensions are gone through.
  QUORUM_KERNEL_INLINE void Ask(int64_t vectors) {
    const int8_t* stop = end - at < vectors * share ? end : at + vectors * share;
    for (; at < stop; at += 64) __builtin_prefetch(at, 0, 2);
  }
  QUORUM_KERNEL_INLINE void AskRest() {
    for (; at < end; at += 64) __builtin_prefetch(at, 0, 2);
  }
};

/// Bits of the page's positions that a row sees.
QUORUM_KERNEL_INLINE uint64_t VisibleBits(int64_t first, int64_t last, int64_t page_pos) {
  const int64_t begin = first > page_pos ? first - page_pos : 0;
  const int64_t end = last - page_pos < kTokens ? last - page_pos : kTokens;
  if (begin >= end) return 0;
  return (~uint64_t{0} >> (kTokens - (end - begin))) << begin;
}

/// Where row `row` finds the bias of a page's positions; null: there is none.
QUORUM_KERNEL_INLINE const float* BiasOfPage(const AttendPageArgs& a, int64_t row, int64_t page_pos) {
  if (a.bias == nullptr) return nullptr;
  const int64_t distance = page_pos - a.bias_pos[row];
  const int64_t lowest = -(a.bias_reach + kTokens);
  return a.bias[row] + (distance < lowest ? lowest : distance > a.bias_reach ? a.bias_reach : distance);
}

/// What a block of R rows keeps between the parts of one page. Lanes r of the arrays of 16 belong to row r.
template <int R>
struct BlockState {
  static_assert(R <= 8);                   // V::ReduceMaxEach
  alignas(64) Array<float[kTokens], R> s;  // scores, then weights exp(s - m)
  alignas(64) float alpha[16];             // exp(m before - m now): what the old sums are worth now
  Array<uint64_t, R> visible;
  Array<const float*, R> bias;  // of the page's positions, or null
  uint32_t seen;                // bit r: row r sees something of this page
  bool whole;                   // all rows see all of it
};

/// Vector c of a row's tokens, and `other` where the row does not see them.
template <class V, int R>
QUORUM_KERNEL_INLINE V IfVisible(const BlockState<R>& b, int r, int c, V v, V other) {
  return V::IfBit(static_cast<uint32_t>(b.visible[r] >> (16 * c)) & 0xffffU, v, other);
}

/// What some models make of a score: a bias by position, then a soft-cap.
template <class V, int R>
QUORUM_KERNEL_INLINE void AdjustScores(const AttendPageArgs& a, BlockState<R>& b) {
  if (a.softcap == 0 && a.bias == nullptr) return;
  for (int r = 0; r < R; ++r) {
    if (b.visible[r] == 0) continue;
    for (int c = 0; c < kTokenVectors; ++c) {
      V s = V::Load(b.s[r] + 16 * c);
      if (b.bias[r] != nullptr) s = s + V::Load(b.bias[r] + 16 * c);
      if (a.softcap != 0) s = V::Set(a.softcap) * Tanh(s / V::Set(a.softcap));
      s.Store(b.s[r] + 16 * c);
    }
  }
}

/// The greatest score that each row sees, in lane r; -inf for a row that sees none.
template <class V, int R, bool kWhole>
QUORUM_KERNEL_INLINE V TopScores(const BlockState<R>& b) {
  Array<V, R> top;
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < kTokenVectors; ++c) {
      V s = V::Load(b.s[r] + 16 * c);
      if constexpr (!kWhole) s = IfVisible(b, r, c, s, V::Set(-kInfinity));
      top[r] = c == 0 ? s : V::Max(top[r], s);
    }
  }
  return V::ReduceMaxEach(top);
}

/// Scores become weights, 0 where a row sees nothing; their sums in lane r.
template <class V, int R, bool kWhole, class Exponential>
QUORUM_KERNEL_INLINE V WeightsOfScores(BlockState<R>& b, const float* m, Exponential exponential) {
  Array<V, R> sum;
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < kTokenVectors; ++c) {
      V p = exponential(V::Load(b.s[r] + 16 * c) - V::Set(m[r]));
      if constexpr (!kWhole) p = IfVisible(b, r, c, p, V::Set(0.0F));
      p.Store(b.s[r] + 16 * c);
      sum[r] = c == 0 ? p : sum[r] + p;
    }
  }
  return V::ReduceAddEach(sum);
}

template <class V, int R, bool kWhole, class Exponential>
QUORUM_KERNEL_INLINE void SoftmaxOfPage(BlockState<R>& b, float* m, float* l, Exponential exponential) {
  const V top = TopScores<V, R, kWhole>(b);
  const V m_old = V::Load(m, R, 0.0F);
  const V m_new = V::Max(V::IfBit(b.seen, top, V::Set(-kInfinity)), m_old);
  m_new.Store(m, R);
  const V alpha = Exp(V::IfBit(b.seen, m_old - m_new, V::Set(0.0F)));
  alpha.Store(b.alpha);
  const V sum = WeightsOfScores<V, R, kWhole>(b, m, exponential);
  V::Fma(V::Load(l, R, 0.0F), alpha, sum).Store(l, R);
}

/// From scores to weights: the online softmax's step for the rows that see something; the others get weights 0 and
/// alpha 1. m and l are updated.
template <class V, int R, class Exponential>
QUORUM_KERNEL_INLINE void SoftmaxStep(BlockState<R>& b, float* m, float* l, Exponential exponential) {
  if (b.whole) {
    SoftmaxOfPage<V, R, true>(b, m, l, exponential);
  } else {
    SoftmaxOfPage<V, R, false>(b, m, l, exponential);
  }
}

}  // namespace
}  // namespace quorum::engine
