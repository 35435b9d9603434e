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
//   MixTile<R>(w, v, dv, alpha, scale, seen, ahead, o)  o[r][d] = fma(float(sum over t of w[r][t] * v[t][d]), scale[r],
//                                                       o[r][d] * alpha[r]) for the rows in the bit set `seen`
// Both call ahead.Ask as they go along.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/kernels/kv_layout.h"
#include "engine/kernels/vmath_ops.h"

namespace quorum::engine {
namespace {

constexpr int64_t kTokens = kKvPageTokens;
constexpr int kTokenVectors = kTokens / 16;

template <class T, int N>
using Array = T[static_cast<size_t>(N)];

/// Asks for the block that comes next while one is in work. Blocks lie anywhere, so the hardware cannot know it. A share
/// at a time, for a whole block at once would hold up the loads of the one in work.
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

/// One row's int8 form: q = round(x * 127 / max|x|), scale = max|x| / 127, NaN if anything is not finite.
/// Returns the sum of q.
template <class V, class Query>
QUORUM_KERNEL_INLINE int32_t QuantizeQuery(const float* x, int64_t dim, Query* q, float* scale) {
  V max = V::Set(0.0F);
  for (int64_t i = 0; i < dim; i += 16) max = V::MaxOrNan(max, V::Abs(Part<V>(x, i, dim - i < 16 ? dim - i : 16)));
  const float top = V::ReduceMaxOrNan(max);
  const V factor = V::Set(top < kKvTinyMax ? 0.0F : 127.0F / top);
  *scale = top < kKvTinyMax ? 0.0F : top < kInfinity ? top / 127.0F : __builtin_nanf("");
  int32_t sum = 0;
  for (int64_t i = 0; i < dim; i += 16) {
    const int64_t count = dim - i < 16 ? dim - i : 16;
    alignas(16) uint8_t bytes[16];
    V::Fma(Part<V>(x, i, count), factor, V::Set(kRoundMagic)).StoreLowBytes(bytes);
    for (int64_t j = 0; j < count; ++j) {
      q[i + j] = static_cast<int8_t>(bytes[j]);
      sum += q[i + j];
    }
  }
  return sum;
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
  uint32_t seen;  // bit r: row r sees something of this page
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

/// o[r][d] = o[r][d] * alpha[r] + sum over t of weight[r][t] * v[t][d], t ascending, for W vectors of d from `d` on.
template <class V, class Element, int R, int W>
QUORUM_KERNEL_INLINE void FloatMix(const BlockState<R>& b, const typename Element::Type* v, int64_t dv, int64_t d,
                                   int64_t begin, int64_t end, float* o) {
  Array<Array<V, W>, R> acc;
  for (int r = 0; r < R; ++r) {
    for (int w = 0; w < W; ++w) acc[r][w] = V::Load(o + r * dv + d + 16 * w) * V::Set(b.alpha[r]);
  }
  for (int64_t t = begin; t < end; ++t) {
    Array<V, W> value;
    for (int w = 0; w < W; ++w) value[w] = Element::template Load<V>(v + t * dv + d + 16 * w);
    for (int r = 0; r < R; ++r) {
      const V p = V::Set(b.s[r][t]);
      for (int w = 0; w < W; ++w) acc[r][w] = V::Fma(p, value[w], acc[r][w]);
    }
  }
  for (int r = 0; r < R; ++r) {
    if (b.visible[r] == 0) continue;
    // + 0 makes a -0 a +0: adding a hidden token's weight 0 leaves every bit but that sign, and which hidden tokens
    // are walked depends on the other rows of the block.
    for (int w = 0; w < W; ++w) (acc[r][w] + V::Set(0.0F)).Store(o + r * dv + d + 16 * w);
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
  SoftmaxStep<V, R>(b, a.softcap, a.m + row, a.l + row);

  uint64_t any = 0;
  for (int r = 0; r < R; ++r) any |= b.visible[r];
  const int64_t begin = __builtin_ctzll(any);
  const int64_t end = kTokens - __builtin_clzll(any);
  float* o = a.o + row * dv;
  int64_t d = 0;
  for (; d + 16 * Isa::kCols <= dv; d += 16 * Isa::kCols) {
    FloatMix<V, Element, R, Isa::kCols>(b, v, dv, d, begin, end, o);
    ahead.Ask(Isa::kCols);
  }
  for (; d < dv; d += 16) FloatMix<V, Element, R, 1>(b, v, dv, d, begin, end, o);
}

/// The int8 queries of a call, in its scratch memory. Where values lie in the keys, the dimensions beyond them have a
/// scale and a start of their own.
template <class Isa>
struct IntQueries {
  using Query = typename Isa::Query;
  using V = typename Isa::V;

  Query* q;             // (rows, head_dim_k)
  float* scale;         // (rows)
  float* rest_scale;    // (rows)
  int32_t* start;       // (rows) -128 * sum of q: takes back the 128 that is added to every key
  int32_t* rest_start;  // (rows)

  explicit QUORUM_KERNEL_INLINE IntQueries(const AttendPageArgs& a)
      : q(reinterpret_cast<Query*>(a.scratch + AttendValueBytes(a.type, a.head_dim_v, a.values_in_keys))),
        scale(reinterpret_cast<float*>(q + (a.rows * a.head_dim_k + 63) / 64 * 64)),
        rest_scale(scale + a.rows),
        start(reinterpret_cast<int32_t*>(rest_scale + a.rows)),
        rest_start(start + a.rows) {}

  /// Dimensions that share the first scale.
  static QUORUM_KERNEL_INLINE int64_t FirstDims(const AttendPageArgs& a) {
    return a.values_in_keys ? a.head_dim_v : a.head_dim_k;
  }

  QUORUM_KERNEL_INLINE void Quantize(const AttendPageArgs& a) const {
    const int64_t first = FirstDims(a);
    for (int64_t r = 0; r < a.rows; ++r) {
      const float* x = a.q + r * a.head_dim_k;
      Query* to = q + r * a.head_dim_k;
      start[r] = -128 * QuantizeQuery<V>(x, first, to, scale + r);
      if (first < a.head_dim_k) {
        rest_start[r] = -128 * QuantizeQuery<V>(x + first, a.head_dim_k - first, to + first, rest_scale + r);
      }
    }
  }
};

/// One page of int8 for R rows from `row` on.
template <class Isa, int R>
void IntBlock(const AttendPageArgs& a, const IntQueries<Isa>& queries, const int8_t* block, const int8_t* v, int64_t row,
              Ahead& ahead, BlockState<R>& b) {
  using V = typename Isa::V;
  const int64_t dv = KvPaddedDim(a.head_dim_v);
  const auto* k = reinterpret_cast<const uint8_t*>(block);
  const int64_t stored_v = a.values_in_keys ? 0 : a.head_dim_v;
  const auto* k_scale = reinterpret_cast<const float*>(block + KvScaleOffset(a.type, a.head_dim_k, stored_v));
  const float* v_scale = a.values_in_keys ? k_scale : k_scale + kTokens;

  const typename Isa::Query* q = queries.q + row * a.head_dim_k;
  const int64_t first = IntQueries<Isa>::FirstDims(a);
  alignas(64) Array<int32_t[kTokens], R> products;
  Isa::template ScoreTile<R>(q, a.head_dim_k, queries.start + row, k, first, ahead, &products[0][0]);
  for (int r = 0; r < R; ++r) {
    const V q_scale = V::Set(queries.scale[row + r]);
    for (int c = 0; c < kTokens; c += 16) {
      (V::LoadInt32(products[r] + c) * (q_scale * V::Load(k_scale + c))).Store(b.s[r] + c);
    }
  }
  if (first < a.head_dim_k) {
    const float* rest_scale = k_scale + kTokens;
    Isa::template ScoreTile<R>(q + first, a.head_dim_k, queries.rest_start + row, k + first * kTokens,
                               a.head_dim_k - first, ahead, &products[0][0]);
    for (int r = 0; r < R; ++r) {
      const V q_scale = V::Set(queries.rest_scale[row + r]);
      for (int c = 0; c < kTokens; c += 16) {
        const V scale = q_scale * V::Load(rest_scale + c);
        V::Fma(V::LoadInt32(products[r] + c), scale, V::Load(b.s[r] + c)).Store(b.s[r] + c);
      }
    }
  }
  SoftmaxStep<V, R>(b, a.softcap, a.m + row, a.l + row);

  alignas(64) Array<typename Isa::Weight[kTokens], R> weight;
  Array<float, R> scale;
  for (int r = 0; r < R; ++r) {
    V mixed[kTokenVectors];
    V max = V::Set(0.0F);
    for (int c = 0; c < kTokenVectors; ++c) {
      const V w = V::Load(b.s[r] + 16 * c) * V::Load(v_scale + 16 * c);
      mixed[c] = V::IfBit(static_cast<uint32_t>(b.visible[r] >> (16 * c)) & 0xffffU, w, V::Set(0.0F));
      max = V::MaxOrNan(max, mixed[c]);
    }
    const float top = V::ReduceMaxOrNan(max);
    scale[r] = top < kKvTinyMax ? 0.0F : top / 255.0F;
    const V factor = V::Set(top < kKvTinyMax ? 0.0F : 255.0F / top);
    for (int c = 0; c < kTokenVectors; ++c) {
      Isa::StoreWeights(V::Fma(mixed[c], factor, V::Set(kRoundMagic)), weight[r] + 16 * c);
    }
  }
  Isa::template MixTile<R>(&weight[0][0], v, dv, b.alpha, scale, b.seen, ahead, a.o + row * dv);
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

/// From [d / 4][t][4 dims] + 128 to [t / 4][d][4 tokens].
QUORUM_KERNEL_INLINE void IntValuesOfKeys(const int8_t* keys, int64_t dim, int64_t dv, int8_t* values) {
  typedef uint8_t Bytes __attribute__((vector_size(16)));
  for (int64_t d = 0; d < dim; d += 4) {
    for (int64_t t = 0; t < kTokens; t += 4) {
      Bytes in;
      memcpy(&in, keys + d * kTokens + 4 * t, sizeof in);
      const Bytes out = __builtin_shufflevector(in, in, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15) ^ 0x80;
      memcpy(values + t * dv + 4 * d, &out, sizeof out);
    }
  }
}

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
  const int64_t page_pos = a.pos + page * kTokens;
  for (int r = 0; r < R; ++r) {
    b.visible[r] = VisibleBits(a.first[row + r], a.last[row + r], page_pos);
    b.bias[r] = BiasOfPage(a, row + r, page_pos);
    if (b.visible[r] != 0) b.seen |= 1U << r;
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

template <class Isa>
QUORUM_KERNEL_INLINE void AttendPages(const AttendPageArgs& a) {
  const IntQueries<Isa> queries(a);
  if (a.pages > 0) {
    if (a.type == KvType::kInt8) queries.Quantize(a);
    const int64_t value_bytes = AttendValueBytes(a.type, a.head_dim_v, a.values_in_keys);
    if (a.head_dim_v % 16 != 0) memset(a.scratch, 0, static_cast<size_t>(value_bytes));
  }
  const int64_t block_bytes = KvBlockBytes(a.type, a.head_dim_k, a.values_in_keys ? 0 : a.head_dim_v);
  const int64_t row_blocks = (a.rows + Isa::kRows - 1) / Isa::kRows;
  const int64_t vectors = row_blocks * (kTokenVectors + KvPaddedDim(a.head_dim_v) / 16);
  const int64_t share = (block_bytes / 64 + vectors - 1) / vectors * 64;
  if (a.pages > 0) {
    const auto* first = static_cast<const int8_t*>(a.blocks[0]);
    Ahead{first, first + block_bytes, share}.AskRest();
  }
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
  if (a.into_m != nullptr) JoinStates<typename Isa::V>(a);
}

}  // namespace
}  // namespace quorum::engine
