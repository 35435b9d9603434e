// Grouped-query attention (Ainslie et al. 2023): each key/value head serves a group of query heads.
#pragma once

#include <cstdint>

#include "engine/attention_block.h"

namespace quorum::engine {

class GqaAttention final : public AttentionBlock {
 public:
  GqaAttention(Bump& memory, const ModelSpec& spec, const WeightForms& forms, const StepOptions& limits);

  void Run(const Team& team, KvCache& cache, const AttentionStep& step, const LayerWeights& layer, std::int32_t index,
           const ActBuffer& in, float* out) override;

 private:
  void RotateAndStore(const KernelTable& kernels, KvCache& cache, const AttentionStep& step, const LayerWeights& layer,
                      std::int32_t index, std::int64_t row);
  void NormHeads(const KernelTable& kernels, const float* weight, std::int64_t heads, float* row) const;

  const ModelSpec& spec_;
  std::int64_t q_width_;  // heads * head_dim
  std::int64_t k_width_;  // kv_heads * head_dim
  float* q_;              // (rows, q_width)
  float* k_;              // (rows, k_width)
  float* v_;              // (rows, k_width)
  ActBuffer attended_;    // (rows, q_width)
};

}  // namespace quorum::engine
