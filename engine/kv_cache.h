// The memory of keys and values, in pages (Kwon et al. 2023), and attention over it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/aligned_buffer.h"
#include "engine/base/result.h"
#include "engine/kernels/kernel_table.h"
#include "engine/kernels/kv_layout.h"
#include "engine/position_bias.h"
#include "engine/step_model.h"
#include "engine/thread_pool.h"

namespace quorum::engine {

/// Shape of the cache. Head sizes are the same in all layers.
struct KvShape {
  std::int32_t layers = 0;
  std::int32_t kv_heads = 0;
  std::int32_t head_dim_k = 0;
  std::int32_t head_dim_v = 0;
  KvType type = KvType::kBf16;
  bool values_in_keys = false;      // values are the keys' first head_dim_v dimensions (multi-head latent attention)
  std::vector<bool> windowed = {};  // layers that see only a window; empty: none

  // In memory each part of a key (the values in it and the rest, or all of it) is filled up with zeros to a multiple of 4.
  std::int32_t first_k() const { return values_in_keys ? head_dim_v : head_dim_k; }
  std::int32_t padded_first_k() const { return (first_k() + 3) / 4 * 4; }
  std::int32_t padded_k() const { return padded_first_k() + (head_dim_k - first_k() + 3) / 4 * 4; }
  std::int32_t padded_v() const { return values_in_keys ? padded_first_k() : head_dim_v; }

  bool is_windowed(std::int32_t layer) const { return !windowed.empty() && windowed[static_cast<std::size_t>(layer)]; }
  std::int32_t stored_v() const { return values_in_keys ? 0 : head_dim_v; }  // dimensions with memory of their own
};

/// Owns the pages of all layers. A page id covers kPageTokens positions of one sequence in every layer. Windowed layers
/// may have less memory: then a page has some of it only while it is mapped to a place there.
class KvCache {
 public:
  /// Reserves zeroed memory; the kernel gives it page by page as it is written. Errors: kInvalidArgument for an empty
  /// shape, kInternal when the memory is refused.
  /// `window_places`: pages of the windowed layers' memory; 0: each page id has its own.
  static Result<KvCache> Create(const KvShape& shape, std::int32_t num_pages, std::int32_t window_places = 0);

  /// Bytes of one page id over all layers and heads, and what the windowed layers have of it.
  static std::int64_t BytesPerPage(const KvShape& shape);
  static std::int64_t WindowBytesPerPage(const KvShape& shape);
  const KvShape& shape() const { return shape_; }
  std::int32_t num_pages() const { return num_pages_; }
  std::int32_t window_places() const { return window_places_; }

  /// As StepModel's. REQUIRES: window_places() > 0.
  void MapWindow(std::int32_t page, std::int32_t place);
  bool IsMapped(std::int32_t page) const { return window_places_ == 0 || places_[static_cast<std::size_t>(page)] >= 0; }

  /// Stores one position's keys (kv_heads, head_dim_k) and values (kv_heads, head_dim_v) of a layer, rounded to the
  /// cache's type (half to even; int8 with one scale per head). Different positions may be written by several threads.
  /// Where values lie in the keys, `v` is not read, and int8 has one scale for these dimensions and one for the rest.
  void Write(std::int32_t layer, std::int32_t page, std::int32_t slot, const float* k, const float* v);

  /// Makes page `to` equal to page `from` in every layer.
  void CopyPage(std::int32_t from, std::int32_t to);

  /// A page's blocks, layer after layer. REQUIRES: BytesPerPage(shape()) bytes.
  void ReadPage(std::int32_t page, std::span<std::byte> out) const;
  void WritePage(std::int32_t page, std::span<const std::byte> in);

  /// The block of a (layer, page, head): keys, then values, then int8's scales (kv_layout.h). 64-byte aligned.
  const void* KPage(std::int32_t layer, std::int32_t page, std::int32_t head) const;
  /// REQUIRES: the values are not part of the keys.
  const void* VPage(std::int32_t layer, std::int32_t page, std::int32_t head) const;

 private:
  std::int64_t BlockOffset(std::int32_t layer, std::int32_t page, std::int32_t head) const;
  bool Holds(std::int32_t layer, std::int32_t page) const { return !shape_.is_windowed(layer) || IsMapped(page); }

  KvShape shape_;
  std::int32_t num_pages_ = 0;
  std::int32_t window_places_ = 0;
  std::int64_t block_bytes_ = 0;
  std::vector<std::int64_t> layer_begin_;  // pages of the layers before it
  std::vector<std::int32_t> places_;       // of the windowed layers, per page; negative: none
  AlignedBuffer memory_;
};

/// How a layer attends.
struct AttentionParams {
  std::int32_t heads = 0;        // query heads; a multiple of kv_heads (grouped-query attention, Ainslie et al. 2023)
  float scale = 0;               // usually 1/sqrt(head_dim)
  std::int32_t window = 0;       // 0: full; else a token sees itself and the window - 1 positions before it
  float softcap = 0;             // 0: none
  const float* sinks = nullptr;  // (heads) extra logit in each head's softmax sum, or null
  const PositionBias* bias = nullptr;  // added to the scores, or null
};

/// Some query rows of one sequence, at positions pos, pos + 1, ..., and the keys that they see.
struct AttendSlice {
  std::int32_t tokens = 0;
  std::int32_t pos = 0;
  std::span<const std::int32_t> pages = {};
  std::int32_t whole = 0;  // 0: a row sees its own position and the ones before; else positions [0, whole), all of them
};

/// Attention of a whole step. `q` is (rows, heads * head_dim_k) and `out` (rows, heads * head_dim_v) with rows in slice
/// order; the K/V of the step's own tokens are written already. Walks pages in ascending position; contexts longer than
/// kKvSplitTokens are split at fixed places, each part computed alone and joined in order, so that a row's bits depend
/// only on its position and its sequence's keys and values, never on threads or batch.
/// Within a window of w, a token's pages that lie wholly before its last w positions are not read.
void Attend(const KernelTable& kernels, ThreadPool& pool, const KvCache& cache, std::int32_t layer,
            const AttentionParams& params, std::span<const AttendSlice> slices, const float* q, float* out);

/// The same for a step's own tokens, each of which sees itself and the ones before.
void Attend(const KernelTable& kernels, ThreadPool& pool, const KvCache& cache, std::int32_t layer,
            const AttentionParams& params, std::span<const StepSlice> slices, const float* q, float* out);

}  // namespace quorum::engine
