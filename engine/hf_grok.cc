// Grok-1, in the form of its PyTorch conversions (hpcai-tech/grok-1): transformers itself has no such family. What it
// computes: xai-org/grok-1, model.py.
#include <fmt/format.h>

#include "engine/hf_family.h"

namespace quorum::engine {
namespace {

/// Norms are called "scale" by most conversions.
Result<TensorRef> Norm(HfTensors& from, const std::string& prefix) {
  return from.Required(prefix + (from.Has(prefix + ".scale") ? ".scale" : ".weight"));
}

}  // namespace

Status HfGrokSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfDecoderSpec(folder, spec));
  const HfConfig& config = folder.config;
  QUORUM_ASSIGN(const double attention,
                config.FloatOr("attn_output_multiplier", static_cast<double>(spec.attention.scale)));
  QUORUM_ASSIGN(const double attention_cap, config.FloatOr("max_attn_value", 30.0));
  QUORUM_ASSIGN(const double router_cap, config.FloatOr("router_logit_softcapping", 0.0));
  QUORUM_ASSIGN(const double logit_cap, config.FloatOr("final_logit_softcapping", 0.0));
  QUORUM_ASSIGN(const double embedding, config.FloatOr("embedding_multiplier_scale", 1.0));
  QUORUM_ASSIGN(const double output, config.FloatOr("output_multiplier_scale", 1.0));
  spec.attention.scale = static_cast<float>(attention);
  spec.attention.softcap = static_cast<float>(attention_cap);
  spec.router.softcap = static_cast<float>(router_cap);
  spec.logit_softcap = static_cast<float>(logit_cap);
  spec.embedding_scale = static_cast<float>(embedding);
  spec.logit_scale = static_cast<float>(output);
  spec.post_norms = true;
  spec.activation = Activation::kGelu;
  return HfExperts(config, config.Has("num_experts") ? "num_experts" : "num_local_experts", spec.layers.front().ff,
                   spec);
}

Status HfGrokTensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors) {
  constexpr HfFfnNames kNames = {.gate = "linear", .up = "linear_v", .down = "linear_1"};
  QUORUM_ASSIGN(tensors.embedding, from.Required("model.embed_tokens.weight"));
  QUORUM_ASSIGN(tensors.final_norm, Norm(from, "model.norm"));
  if (spec.tied_embeddings) {
    from.Ignore("lm_head.weight");
  } else {
    QUORUM_ASSIGN(tensors.output, from.Linear("lm_head"));
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    LayerTensors layer;
    QUORUM_ASSIGN(layer.attention_norm, Norm(from, prefix + "pre_attn_norm"));
    QUORUM_ASSIGN(layer.attention_post_norm, Norm(from, prefix + "post_attn_norm"));
    QUORUM_ASSIGN(layer.ffn_norm, Norm(from, prefix + "pre_moe_norm"));
    QUORUM_ASSIGN(layer.ffn_post_norm, Norm(from, prefix + "post_moe_norm"));
    QUORUM_ASSIGN(layer.q, from.Linear(prefix + "attn.q_proj"));
    QUORUM_ASSIGN(layer.k, from.Linear(prefix + "attn.k_proj"));
    QUORUM_ASSIGN(layer.v, from.Linear(prefix + "attn.v_proj"));
    QUORUM_ASSIGN(layer.output, from.Linear(prefix + "attn.o_proj"));
    QUORUM_ASSIGN(layer.router, from.Linear(prefix + "moe_block.gate"));
    for (std::int64_t e = 0; e < spec.layers[i].experts; ++e) {
      QUORUM_ASSIGN(NetworkTensors network, HfNetwork(from, fmt::format("{}moe_block.experts.{}.", prefix, e), kNames));
      layer.networks.push_back(std::move(network));
    }
    tensors.layers.push_back(std::move(layer));
  }
  return {};
}

}  // namespace quorum::engine
