// Attention over a page of float or bf16 keys and values. Included by attention_ops.h, which describes `Isa`.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/kernels/attention_state.h"

namespace quorum::engine {
namespace {

struct F32Element {
  using Type = float;
  template <class V>
  static QUORUM_KERNEL_INLINE V Load(const float* p) {
    return V::Load(p);
  }
};

struct Bf16Element {
  using Type = uint16_t;
  template <class V>
  static QUORUM_KERNEL_INLINE V Load(const uint16_t* p) {
    return V::LoadBf16(p);
  }
};

/// s[r][t] = sum over d, ascending, of q[r][d] * k[d][t], for W vectors of tokens from `token` on.
template <class V, class Element, int R, int W>
QUORUM_KERNEL_INLINE void FloatScores(const float* q, int64_t dim, const typename Element::Type* k, int64_t token,
                                      BlockState<R>& b) {
  Array<Array<V, W>, R> acc;
  for (int r = 0; r < R; ++r) {
    for (int w = 0; w < W; ++w) acc[r][w] = V::Set(0.0F);
  }
  for (int64_t d = 0; d < dim; ++d) {
    Array<V, W> key;
    for (int w = 0; w < W; ++w) key[w] = Element::template Load<V>(k + d * kTokens + token + 16 * w);
    for (int r = 0; r < R; ++r) {
      const V x = V::Set(q[r * dim + d]);
      for (int w = 0; w < W; ++w) acc[r][w] = V::Fma(x, key[w], acc[r][w]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int w = 0; w < W; ++w) acc[r][w].Store(b.s[r] + token + 16 * w);
  }
}

/// The page's positions that some row of a block sees, [begin, end), and those that all rows see which see any,
/// [inner_begin, inner_end), empty as [end, end).
struct Walk {
  int64_t begin, inner_begin, inner_end, end;

  template <int R>
  static QUORUM_KERNEL_INLINE Walk Of(const BlockState<R>& b) {
    uint64_t any = 0;
    uint64_t all = ~uint64_t{0};
    for (int r = 0; r < R; ++r) {
      any |= b.visible[r];
      if (b.visible[r] != 0) all &= b.visible[r];
    }
    const int64_t begin = __builtin_ctzll(any);
    const int64_t end = kTokens - __builtin_clzll(any);
    if (all == 0) return {begin, end, end, end};
    return {begin, __builtin_ctzll(all), kTokens - __builtin_clzll(all), end};
  }
};

/// acc[r] += weight[r][t] * v[t], t ascending in [begin, end), for W vectors of v from `v` on. `kAll`: all rows take
/// all of them; else each takes those that it sees. Weight 0 is not enough: what a row does not see may be NaN.
template <class V, class Element, int R, int W, bool kAll>
QUORUM_KERNEL_INLINE void FloatMixRange(const BlockState<R>& b, const typename Element::Type* v, int64_t dv,
                                        int64_t begin, int64_t end, Array<Array<V, W>, R>& acc) {
  for (int64_t t = begin; t < end; ++t) {
    Array<V, W> value;
    for (int w = 0; w < W; ++w) value[w] = Element::template Load<V>(v + t * dv + 16 * w);
    for (int r = 0; r < R; ++r) {
      const V p = V::Set(b.s[r][t]);
      const uint32_t sees = kAll ? 0xffffU : 0U - static_cast<uint32_t>((b.visible[r] >> t) & 1U);
      for (int w = 0; w < W; ++w) {
        const V sum = V::Fma(p, value[w], acc[r][w]);
        acc[r][w] = kAll ? sum : V::IfBit(sees & 0xffffU, sum, acc[r][w]);
      }
    }
  }
}

/// o[r][d] = o[r][d] * alpha[r] + sum over the t that row r sees of weight[r][t] * v[t][d], t ascending, for W vectors
/// of d from `d` on.
template <class V, class Element, int R, int W>
QUORUM_KERNEL_INLINE void FloatMix(const BlockState<R>& b, const typename Element::Type* v, int64_t dv, int64_t d,
                                   const Walk& walk, float* o) {
  Array<Array<V, W>, R> acc;
  for (int r = 0; r < R; ++r) {
    for (int w = 0; w < W; ++w) acc[r][w] = V::Load(o + r * dv + d + 16 * w) * V::Set(b.alpha[r]);
  }
  FloatMixRange<V, Element, R, W, false>(b, v + d, dv, walk.begin, walk.inner_begin, acc);
  FloatMixRange<V, Element, R, W, true>(b, v + d, dv, walk.inner_begin, walk.inner_end, acc);
  FloatMixRange<V, Element, R, W, false>(b, v + d, dv, walk.inner_end, walk.end, acc);
  for (int r = 0; r < R; ++r) {
    if (b.visible[r] == 0) continue;
    for (int w = 0; w < W; ++w) acc[r][w].Store(o + r * dv + d + 16 * w);
  }
}

/// One page of floats for R rows from `row` on.
template <class Isa, class Element, int R>
void FloatBlock(const AttendPageArgs& a, const int8_t* block, const int8_t* values, int64_t row, Ahead& ahead,
                BlockState<R>& b) {
  using V = typename Isa::V;
  const auto* k = reinterpret_cast<const typename Element::Type*>(block);
  const auto* v = reinterpret_cast<const typename Element::Type*>(values);
  const int64_t dv = KvPaddedDim(a.head_dim_v);
  const float* q = a.q + row * a.head_dim_k;
  for (int64_t token = 0; token < kTokens; token += 16 * Isa::kCols) {
    FloatScores<V, Element, R, Isa::kCols>(q, a.head_dim_k, k, token, b);
    ahead.Ask(Isa::kCols);
  }
  AdjustScores<V>(a, b);
  SoftmaxStep<V, R>(b, a.m + row, a.l + row, [](V x) __attribute__((always_inline)) { return Exp(x); });

  const Walk walk = Walk::Of(b);
  float* o = a.o + row * dv;
  int64_t d = 0;
  for (; d + 16 * Isa::kCols <= dv; d += 16 * Isa::kCols) {
    FloatMix<V, Element, R, Isa::kCols>(b, v, dv, d, walk, o);
    ahead.Ask(Isa::kCols);
  }
  for (; d < dv; d += 16) FloatMix<V, Element, R, 1>(b, v, dv, d, walk, o);
}
/// Four vectors of four, each element of which moves to where rows and columns are exchanged. GNU vectors: the compiler
/// has the shuffles of every instruction set.
template <class T>
QUORUM_KERNEL_INLINE void Transpose4x4(const T* src, int64_t ld_src, T* dst, int64_t ld_dst) {
  typedef T Four __attribute__((vector_size(4 * sizeof(T))));
  Four in[4];
  for (int i = 0; i < 4; ++i) memcpy(&in[i], src + i * ld_src, sizeof(Four));
  const Four a = __builtin_shufflevector(in[0], in[1], 0, 4, 1, 5);
  const Four b = __builtin_shufflevector(in[2], in[3], 0, 4, 1, 5);
  const Four c = __builtin_shufflevector(in[0], in[1], 2, 6, 3, 7);
  const Four d = __builtin_shufflevector(in[2], in[3], 2, 6, 3, 7);
  const Four out[4] = {__builtin_shufflevector(a, b, 0, 1, 4, 5), __builtin_shufflevector(a, b, 2, 3, 6, 7),
                       __builtin_shufflevector(c, d, 0, 1, 4, 5), __builtin_shufflevector(c, d, 2, 3, 6, 7)};
  for (int i = 0; i < 4; ++i) memcpy(dst + i * ld_dst, &out[i], sizeof(Four));
}

/// v[t][d] = k[d][t] for `dim` dimensions, a multiple of 4; v's rows are `dv` long.
template <class T>
QUORUM_KERNEL_INLINE void FloatValuesOfKeys(const int8_t* keys, int64_t dim, int64_t dv, int8_t* values) {
  const auto* k = reinterpret_cast<const T*>(keys);
  auto* v = reinterpret_cast<T*>(values);
  for (int64_t d = 0; d < dim; d += 4) {
    for (int64_t t = 0; t < kTokens; t += 4) Transpose4x4(k + d * kTokens + t, kTokens, v + t * dv + d, dv);
  }
}

}  // namespace
}  // namespace quorum::engine
