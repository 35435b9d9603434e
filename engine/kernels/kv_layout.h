// How keys and values lie in a KV page, and one page's worth of attention. No STL: kernel files include this.
//
// A page holds kKvPageTokens positions of one sequence for one layer and one KV head. K is stored by dimension,
// K[d][t], so that 16 tokens' scores are 16 lanes and each lane adds its products in ascending d; V is stored by
// token, V[t][d], so that 16 output dimensions are 16 lanes and each adds in ascending t. No reduction across lanes is
// needed, so every instruction set gives the same bits.
#pragma once

#include <stdint.h>

namespace quorum::engine {

constexpr int64_t kKvPageTokens = 64;

enum class KvType : uint8_t { kF32, kBf16, kInt8 };

/// One page for some query rows that share a KV head (the query heads of its group, for one or more tokens).
/// Online softmax (Milakov & Gimelshein 2018) over pages in ascending position: running max m, sum l, and
/// unnormalised output o. A row sees positions first[r] <= p < last[r] of the page's kKvPageTokens; an empty range
/// leaves the row's state untouched.
struct AttendPageArgs {
  KvType type;
  int64_t head_dim_k;    // multiple of 8
  int64_t head_dim_v;    // multiple of 8
  const void* k_page;    // layout by `type`
  const void* v_page;
  int64_t rows;          // query rows
  const float* q;        // (rows, head_dim_k) row-major, already scaled by 1/sqrt(d)
  const int32_t* first;  // (rows) first visible position inside the page
  const int32_t* last;   // (rows) one past the last visible position inside the page
  float softcap;         // 0: none; else s = softcap * tanh(s / softcap)
  float* m;              // (rows) running maximum, -inf at the start
  float* l;              // (rows) running sum
  float* o;              // (rows, head_dim_v)
};

}  // namespace quorum::engine
