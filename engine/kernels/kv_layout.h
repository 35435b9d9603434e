// How keys and values lie in a KV page, and attention over some pages. No STL: kernel files include this.
//
// A block holds kKvPageTokens positions of one sequence for one layer and one KV head: K, then V, then (int8) one
// scale per token, in one piece of memory. K is stored by dimension so that 16 tokens' scores are 16 lanes and each
// lane adds its products in ascending d; V is stored by token so that 16 output dimensions are 16 lanes and each adds
// in ascending t. No reduction across lanes is needed, so every instruction set gives the same bits.
//
//     kF32, kBf16   K[dk][64 tokens]                  V[64 tokens][dv]
//     kInt8         K[dk/4][64 tokens][4 dims] + 128  V[64/4 tokens][dv][4 tokens]   float k_scale[64], v_scale[64]
//
// where dv is head_dim_v rounded up to 16 (the padding is zero). The int8 order is the operand order of VPDPBUSD and
// of AMX tiles; keys are stored with 128 added because one operand of these must be unsigned.
//
// With multi-head latent attention the values are the keys' first head_dim_v dimensions. Such a block holds K alone
// (head_dim_v counts as 0 in the offsets below), and the int8 scales are two of K's: k_scale is of the first head_dim_v
// dimensions and so of the values, v_scale is of the rest, which are rotated and of another size. V's order is made of
// K's once for all the rows that read a page.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace quorum::engine {

constexpr int64_t kKvPageTokens = 64;

/// Positions that a query row's online softmax runs over before it starts afresh; the parts are joined in ascending
/// order. Fixed, so that bits do not depend on how the work is shared out (DESIGN 4.5).
constexpr int64_t kKvSplitTokens = 512;

/// Below this, max|x| counts as 0 when x is quantized: 127 / max|x| and 255 / max|x| stay finite above it.
constexpr float kKvTinyMax = 0x1p-118F;

enum class KvType : uint8_t { kF32, kBf16, kInt8 };

/// head_dim_v rounded up to whole vectors: the row length of V in a block and of AttendPageArgs::o.
static constexpr int64_t KvPaddedDim(int64_t head_dim_v) { return (head_dim_v + 15) / 16 * 16; }

static constexpr int64_t KvElementBytes(KvType type) {
  return type == KvType::kF32 ? 4 : type == KvType::kBf16 ? 2 : 1;
}

/// Offsets inside a block, in bytes; all multiples of 64 for head_dim_k % 4 == 0.
static constexpr int64_t KvValueOffset(KvType type, int64_t head_dim_k) {
  return head_dim_k * kKvPageTokens * KvElementBytes(type);
}
static constexpr int64_t KvScaleOffset(KvType type, int64_t head_dim_k, int64_t head_dim_v) {
  return KvValueOffset(type, head_dim_k) + KvPaddedDim(head_dim_v) * kKvPageTokens * KvElementBytes(type);
}
static constexpr int64_t KvBlockBytes(KvType type, int64_t head_dim_k, int64_t head_dim_v) {
  const int64_t scales = type == KvType::kInt8 ? 2 * kKvPageTokens * int64_t{sizeof(float)} : 0;
  return KvScaleOffset(type, head_dim_k, head_dim_v) + scales;
}

/// Attention of some query rows that share a KV head (the query heads of its group, for one or more tokens) over
/// consecutive pages of their sequence. Online softmax (Milakov & Gimelshein 2018) over pages in ascending position:
/// running max m, sum l, and unnormalised output o. A row sees positions first[r] <= p < last[r]; a page of which it
/// sees nothing leaves its state untouched. What memory holds for positions that no row sees does not matter.
/// int8: q is quantized per row, q.k is an exact integer; weights are exp to 2^-17; each row's weights of a page times
/// V's token scales are rounded to 0..255 by their own maximum, and their sum with V is an exact integer; l adds the
/// weights unrounded.
/// Keys and values must be finite.
struct AttendPageArgs {
  KvType type;
  int64_t head_dim_k;  // multiple of 4
  int64_t head_dim_v;
  bool values_in_keys;  // V is K's first head_dim_v dimensions; then both head sizes are multiples of 4
  int64_t pages;
  const void* const* blocks;  // (pages) 64-byte aligned blocks
  const void* next;           // the block that this thread will probably attend after these, or null; a hint
  int64_t pos;                // position of the first page's first token
  int64_t rows;               // query rows
  const float* q;             // (rows, head_dim_k) row-major, already scaled by 1/sqrt(d)
  bool queries_ready;         // scratch still holds what an earlier call made of the same queries
  const int32_t* first;       // (rows) first visible position
  const int32_t* last;        // (rows) one past the last visible position
  float softcap;              // 0: none; else s = softcap * tanh(s / softcap)
  // Relative position bias, or null: row r's score of position p gets bias[r][d] before the soft-cap, where
  // d = p - bias_pos[r]. bias[r] points into the middle of a table of d in [-(reach + 64), reach + 64) which is
  // constant from reach on and up to -reach; positions further away get these values.
  const float* const* bias;  // (rows)
  const int32_t* bias_pos;   // (rows) the rows' own positions
  int64_t bias_reach;
  float* m;         // (rows) running maximum, -inf at the start
  float* l;         // (rows) running sum
  float* o;         // (rows, KvPaddedDim(head_dim_v)), 64-byte aligned
  int8_t* scratch;  // AttendScratchBytes, 64-byte aligned; used if pages > 0
  // Where not null: the state of earlier positions, same shapes, to which (m, l, o) is joined after the pages. An
  // empty state (m = -inf, l = 0) leaves the other as it is.
  float* into_m;
  float* into_l;
  float* into_o;
};

/// V of one page in its own order, where values lie in the keys.
static constexpr int64_t AttendValueBytes(KvType type, int64_t head_dim_v, bool values_in_keys) {
  return values_in_keys ? KvPaddedDim(head_dim_v) * kKvPageTokens * KvElementBytes(type) : 0;
}

/// V as above, then the integer queries in at most two bytes each, then their scales and sums, two of each for a row.
static constexpr int64_t AttendScratchBytes(KvType type, int64_t rows, int64_t head_dim_k, int64_t head_dim_v,
                                            bool values_in_keys) {
  return AttendValueBytes(type, head_dim_v, values_in_keys) + 2 * ((rows * head_dim_k + 63) / 64 * 64) +
         2 * rows * int64_t{sizeof(float) + sizeof(int32_t)};
}

}  // namespace quorum::engine
