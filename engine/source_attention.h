// Attention to an encoder's source, where every row sees all positions: within the encoder, and across from the decoder
// (Vaswani et al. 2017). Keys and values go to pages of the KV cache, so that storing and attending are two phases.
#pragma once

#include <cstdint>
#include <span>

#include "engine/attention_block.h"
#include "engine/forward_buffers.h"
#include "engine/kv_cache.h"
#include "engine/model_spec.h"
#include "engine/weights.h"

namespace quorum::engine {

/// Working memory for up to limits.rows rows at once.
class SourceAttention {
 public:
  SourceAttention(Bump& memory, const ModelSpec& spec, const WeightForms& forms, const StepOptions& limits);

  /// Writes keys k(in) and values v(in) of the rows to layer `layer` of the cache. `in`: normed rows.
  void Store(const Team& team, KvCache& cache, const PackedView& k, const PackedView& v, std::int32_t layer,
             std::span<const StepRow> rows, const ActBuffer& in);

  /// out = output(attention of q(in) over layer `layer` of the slices' pages), (rows, d_model). `bias` may be null.
  void Attend(const Team& team, const KvCache& cache, const PackedView& q, const PackedView& output,
              const PositionBias* bias, std::int32_t layer, std::span<const AttendSlice> slices, std::int64_t rows,
              const ActBuffer& in, float* out);

 private:
  const AttentionSpec& spec_;
  std::int64_t q_width_;  // heads * head_dim
  std::int64_t k_width_;  // kv_heads * head_dim
  std::int64_t d_model_;
  float* q_;  // (rows, q_width)
  float* k_;  // (rows, k_width)
  float* v_;
  ActBuffer attended_;  // (rows, q_width)
};

}  // namespace quorum::engine
