// Attention over a page of int8 keys and values: exact integer products. Included by attention_ops.h, which describes
// `Isa`.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/kernels/attention_state.h"

namespace quorum::engine {
namespace {

/// One row's int8 form: q = round(x * 127 / max|x|), scale = max|x| / 127, NaN if anything is not finite.
/// Returns the sum of q; 0 where the scale is NaN.
template <class V, class Query>
QUORUM_KERNEL_INLINE int32_t QuantizeQuery(const float* x, int64_t dim, Query* q, float* scale) {
  V max = V::Set(0.0F);
  for (int64_t i = 0; i < dim; i += 16) max = V::MaxOrNan(max, V::Abs(Part<V>(x, i, dim - i < 16 ? dim - i : 16)));
  const float top = V::ReduceMaxOrNan(max);
  const V factor = V::Set(top < kKvTinyMax ? 0.0F : 127.0F / top);
  *scale = top < kKvTinyMax ? 0.0F : top < kInfinity ? top / 127.0F : __builtin_nanf("");
  const V magic = V::Set(kRoundMagic);
  V sum = V::Set(0.0F);  // of whole numbers, so exact
  for (int64_t i = 0; i < dim; i += 16) {
    const int64_t count = dim - i < 16 ? dim - i : 16;
    const V rounded = V::Fma(Part<V>(x, i, count), factor, magic);
    alignas(16) uint8_t bytes[16];
    rounded.StoreLowBytes(bytes);
    if (count == 16) {  // of known length, or g++ 12 goes byte by byte
      for (int64_t j = 0; j < 16; ++j) q[i + j] = static_cast<int8_t>(bytes[j]);
    } else {
      for (int64_t j = 0; j < count; ++j) q[i + j] = static_cast<int8_t>(bytes[j]);
    }
    sum = sum + (rounded - magic);
  }
  return top < kInfinity ? static_cast<int32_t>(V::ReduceAdd(sum)) : 0;
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

/// Scores of int8 keys into b.s.
template <class Isa, int R>
QUORUM_KERNEL_INLINE void IntScores(const AttendPageArgs& a, const IntQueries<Isa>& queries, const uint8_t* k,
                                    const float* k_scale, int64_t row, Ahead& ahead, BlockState<R>& b) {
  using V = typename Isa::V;
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
  AdjustScores<V>(a, b);
}

/// The weights of b.s times V's token scales, each row rounded to 0..255 by its own maximum: weight * scale.
/// Where a row has no weight its scale is -0, so that adding its sum, 0, changes not even the sign of a zero.
template <class Isa, int R, bool kWhole>
QUORUM_KERNEL_INLINE void IntWeights(BlockState<R>& b, const float* v_scale, typename Isa::Weight* weight,
                                     float* scale) {
  using V = typename Isa::V;
  Array<V, R> top_of;
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < kTokenVectors; ++c) {
      V w = V::Load(b.s[r] + 16 * c) * V::Load(v_scale + 16 * c);
      if constexpr (!kWhole) w = IfVisible(b, r, c, w, V::Set(0.0F));  // scales of hidden tokens may be anything
      w.Store(b.s[r] + 16 * c);
      top_of[r] = c == 0 ? w : V::MaxOrNan(top_of[r], w);
    }
  }
  const V top = V::ReduceMaxOrNanEach(top_of);
  const V tiny = V::Set(kKvTinyMax);
  V::IfLess(top, tiny, V::Set(-0.0F), top / V::Set(255.0F)).Store(scale);
  alignas(64) float factor[16];
  V::IfLess(top, tiny, V::Set(0.0F), V::Set(255.0F) / top).Store(factor);
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < kTokenVectors; ++c) {
      const V rounded = V::Fma(V::Load(b.s[r] + 16 * c), V::Set(factor[r]), V::Set(kRoundMagic));
      Isa::StoreWeights(rounded, weight + r * kTokens + 16 * c);
    }
  }
}

/// One page of int8 for R rows from `row` on.
template <class Isa, int R>
void IntBlock(const AttendPageArgs& a, const IntQueries<Isa>& queries, const int8_t* block, const int8_t* v,
              int64_t row, Ahead& ahead, BlockState<R>& b) {
  using V = typename Isa::V;
  const int64_t dv = KvPaddedDim(a.head_dim_v);
  const int64_t stored_v = a.values_in_keys ? 0 : a.head_dim_v;
  const auto* k_scale = reinterpret_cast<const float*>(block + KvScaleOffset(a.type, a.head_dim_k, stored_v));
  const float* v_scale = a.values_in_keys ? k_scale : k_scale + kTokens;
  IntScores<Isa, R>(a, queries, reinterpret_cast<const uint8_t*>(block), k_scale, row, ahead, b);

  alignas(64) Array<typename Isa::Weight[kTokens], R> weight;
  alignas(64) float scale[16];
  SoftmaxStep<V, R>(b, a.m + row, a.l + row, [](V x) __attribute__((always_inline)) { return ExpForBytes(x); });
  if (b.whole) {
    IntWeights<Isa, R, true>(b, v_scale, &weight[0][0], scale);
  } else {
    IntWeights<Isa, R, false>(b, v_scale, &weight[0][0], scale);
  }
  Isa::template MixTile<R>(&weight[0][0], v, dv, b.alpha, scale, ahead, a.o + row * dv);
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

}  // namespace
}  // namespace quorum::engine
