// Multi-head latent attention (DeepSeek-AI 2024, arXiv:2405.04434, section 2.1), always in the absorbed form, so that a
// token's bits do not depend on whether it came in a prompt or one by one: W_UK, which makes a head's keys of the
// latent, is applied to the query instead, attention runs over the latents themselves, and W_UV is applied to what
// comes out. The cache holds one "head": the normed latent, which is also the value, then the rotated key of all heads.
#pragma once

#include <cstdint>

#include "engine/attention_block.h"

namespace quorum::engine {

class MlaAttention final : public AttentionBlock {
 public:
  MlaAttention(Bump& memory, const ModelSpec& spec, const WeightForms& forms, const StepOptions& limits);

  void Run(const Team& team, KvCache& cache, const AttentionStep& step, const LayerWeights& layer, std::int32_t index,
           const ActBuffer& in, float* out) override;

 private:
  void Project(const Team& team, const LayerWeights& layer, const ActBuffer& in, std::int64_t rows);
  void RotateAndStore(const KernelTable& kernels, KvCache& cache, const AttentionStep& step, const LayerWeights& layer,
                      std::int32_t index, std::int64_t row);
  void ShowInputs(ActivationTap& tap, const LayerWeights& layer, std::int32_t index, const ActBuffer& in,
                  std::int64_t rows) const;
  void RunHeads(const Team& team, const std::vector<PackedView>& heads, const ActBuffer& in, std::int64_t rows,
                float* out, std::int64_t stride) const;

  const ModelSpec& spec_;
  const LatentSpec& latent_;
  std::int64_t heads_;
  std::int64_t key_dim_;  // kv_rank + rope_dim
  float* q_;              // (rows, heads, nope_dim + rope_dim)
  float* kv_;             // (rows, kv_rank + rope_dim): the latent and the shared key
  float* absorbed_;       // (rows, heads, kv_rank + rope_dim): queries of the latent
  ActForms nope_forms_, mixed_forms_;
  ActBuffer query_latent_;  // (rows, q_rank)
  ActBuffer nope_;          // (rows * heads, nope_dim)
  ActBuffer mixed_;         // (rows * heads, kv_rank): what attention gives
  ActBuffer attended_;      // (rows, heads * value_dim)
};

}  // namespace quorum::engine
