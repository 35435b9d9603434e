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

/// What a block of R rows keeps between the parts of one page.
template <int R>
struct BlockState {
  alignas(64) Array<float[kTokens], R> s;  // scores, then weights exp(s - m)
  alignas(64) float m_old[16];
  alignas(64) float m_new[16];
  alignas(64) float alpha[16];  // exp(m_old - m_new): what the old sums are worth now
  Array<uint64_t, R> visible;
  Array<const float*, R> bias;  // of the page's positions, or null
  uint32_t seen;                // bit r: row r sees something of this page
};

/// From scores to weights: the online softmax's step for the rows that see something; the others get weights 0 and
/// alpha 1. m and l are updated.
template <class V, int R>
QUORUM_KERNEL_INLINE void SoftmaxStep(BlockState<R>& b, float softcap, float* m, float* l) {
  V::Set(0.0F).Store(b.m_old);
  V::Set(0.0F).Store(b.m_new);
  for (int r = 0; r < R; ++r) {
    if (b.visible[r] == 0) continue;
    V max = V::Set(-kInfinity);
    for (int c = 0; c < kTokenVectors; ++c) {
      V s = V::Load(b.s[r] + 16 * c);
      if (b.bias[r] != nullptr) s = s + V::Load(b.bias[r] + 16 * c);
      if (softcap != 0) s = V::Set(softcap) * Tanh(s / V::Set(softcap));
      s = V::IfBit(static_cast<uint32_t>(b.visible[r] >> (16 * c)) & 0xffffU, s, V::Set(-kInfinity));
      s.Store(b.s[r] + 16 * c);
      max = V::Max(max, s);
    }
    const float top = V::ReduceMax(max);
    b.m_old[r] = m[r];
    b.m_new[r] = top > m[r] ? top : m[r];
    m[r] = b.m_new[r];
  }
  Exp(V::Load(b.m_old) - V::Load(b.m_new)).Store(b.alpha);
  for (int r = 0; r < R; ++r) {
    if (b.visible[r] == 0) {
      for (int c = 0; c < kTokenVectors; ++c) V::Set(0.0F).Store(b.s[r] + 16 * c);
      continue;
    }
    const V shift = V::Set(b.m_new[r]);
    V sum = V::Set(0.0F);
    for (int c = 0; c < kTokenVectors; ++c) {
      const V p = Exp(V::Load(b.s[r] + 16 * c) - shift);
      p.Store(b.s[r] + 16 * c);
      sum = sum + p;
    }
    l[r] = __builtin_fmaf(l[r], b.alpha[r], V::ReduceAdd(sum));
  }
}

}  // namespace
}  // namespace quorum::engine
