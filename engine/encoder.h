// The encoder of an encoder-decoder model (Vaswani et al. 2017; T5: Raffel et al. 2020). Every position of a source
// depends on all of it, so a source is computed as one piece, layer by layer; within a layer rows go in blocks, so that
// only the residual stream has to have room for all of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/forward_buffers.h"
#include "engine/kv_cache.h"
#include "engine/model_spec.h"
#include "engine/moe.h"
#include "engine/residual.h"
#include "engine/source_attention.h"
#include "engine/step_model.h"
#include "engine/weights.h"

namespace quorum::engine {

/// Memory of a step that the encoder uses before the decoder does; the arrays have room for `rows` rows.
struct EncoderBuffers {
  float* x;          // (all rows of the sources of a step, d_model)
  float* block;      // (rows, d_model)
  ActBuffer* model;  // (rows, d_model)
  SourceAttention* attention;
  FeedForward* ffn;
  std::int64_t rows;
};

class Encoder {
 public:
  /// All references must outlive the object. REQUIRES: the spec has an encoder.
  Encoder(const ModelSpec& spec, const Weights& weights, KvCache& cache, const Team& team,
          const EncoderBuffers& buffers);

  /// Encodes whole sources: fills their pages, in every layer of the cache, with the keys and values that the decoder's
  /// cross attention reads. Experts are counted behind the decoder's layers.
  void Run(std::span<const StepSlice> sources, ExpertCounters* counters);

 private:
  /// Rows [begin, begin + rows.size()) of all sources.
  struct Block {
    std::int64_t begin;
    std::span<const StepRow> rows;
    std::span<const RowExperts> requests;  // of each row, or empty
    std::vector<AttendSlice> slices;
  };

  void Gather(std::span<const StepSlice> sources);
  ResidualRows Residual(const Block& block) const;
  void Layer(std::size_t index, ExpertCounters* counters);
  void StoreForDecoder();

  const ModelSpec& spec_;
  const Weights& weights_;
  KvCache& cache_;
  const Team& team_;
  EncoderBuffers buffers_;
  std::vector<StepRow> rows_;
  std::vector<RowExperts> row_experts_;  // of each row; empty where no source asks for anything
  std::vector<Block> blocks_;
};

}  // namespace quorum::engine
