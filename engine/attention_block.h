// What a layer's attention is to the forward pass: normed rows in, rows for the residual stream out. Grouped-query
// attention (gqa.h) and multi-head latent attention (mla.h) are two of these; the spec says which.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "engine/forward_buffers.h"
#include "engine/kv_cache.h"
#include "engine/model_spec.h"
#include "engine/step_model.h"
#include "engine/weights.h"

namespace quorum::engine {

/// Where a row's token stands, and where its keys and values go.
struct StepRow {
  std::int32_t token, position, page, slot;
};

/// A step as attention sees it.
struct AttentionStep {
  std::span<const StepSlice> slices;
  std::span<const StepRow> rows;  // of all slices, in order
  const float* cos;               // (rows, rope.dims / 2) of the rows' positions
  const float* sin;
};

/// Working memory and phases of a model's attention layers; one step at a time.
class AttentionBlock {
 public:
  AttentionBlock() = default;
  AttentionBlock(const AttentionBlock&) = delete;
  AttentionBlock& operator=(const AttentionBlock&) = delete;
  virtual ~AttentionBlock() = default;

  /// Writes the rows' keys and values to layer `index` of the cache, attends, and puts the output matrix's product,
  /// without its bias, into `out` (rows, d_model). `in` holds the normed rows in the forms that the layer asks for.
  virtual void Run(const Team& team, KvCache& cache, const AttentionStep& step, const LayerWeights& layer,
                   std::int32_t index, const ActBuffer& in, float* out) = 0;
};

/// The attention that `spec` asks for, with its memory from `memory`. `spec` must outlive it.
std::unique_ptr<AttentionBlock> MakeAttention(Bump& memory, const ModelSpec& spec, const WeightForms& forms,
                                              const StepOptions& limits);

}  // namespace quorum::engine
