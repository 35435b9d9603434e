// Qwen2, Qwen3 and their mixtures of experts; and OLMoE, whose keys are theirs.
#include <algorithm>

#include "engine/hf_family.h"

namespace quorum::engine {
namespace {

/// Without `layer_types`: Qwen2 and Qwen3 have windows from layer `max_window_layers` on, Qwen2-MoE in every other
/// layer before it, Qwen3-MoE everywhere.
Status QwenWindows(const HfConfig& config, ModelSpec& spec) {
  QUORUM_ASSIGN(const bool windows, config.BoolOr("use_sliding_window", false));
  QUORUM_ASSIGN(const std::int32_t layers, config.IntOr("max_window_layers", 28));
  if (!windows) {
    config.Ignore({"sliding_window", "layer_types"});
    return {};
  }
  const bool from_there = spec.architecture == "qwen2" || spec.architecture == "qwen3";
  QUORUM_TRY(HfWindows(config, from_there ? layers : 0, 4096, spec));
  if (spec.architecture != "qwen2_moe" || config.Has("layer_types")) return {};
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    if (i % 2 != 0 || static_cast<std::int32_t>(i) >= layers) spec.layers[i].window = 0;
  }
  return {};
}

/// Experts in every `decoder_sparse_step`th layer that `mlp_only_layers` does not list.
Status QwenExperts(const HfConfig& config, ModelSpec& spec) {
  const std::vector<LayerSpec> dense = spec.layers;
  QUORUM_ASSIGN(const std::int32_t ff, config.RequiredInt("moe_intermediate_size", 1, 1 << 20));
  QUORUM_TRY(HfExperts(config, config.Has("num_experts") ? "num_experts" : "num_local_experts", ff, spec));
  QUORUM_ASSIGN(spec.router.renormalize, config.BoolOr("norm_topk_prob", false));
  QUORUM_ASSIGN(const std::int32_t step, config.IntOr("decoder_sparse_step", 1, 1));
  QUORUM_ASSIGN(const std::vector<std::int64_t> only, config.Ints("mlp_only_layers"));
  for (std::size_t i = 0; i < dense.size(); ++i) {
    const bool listed = std::find(only.begin(), only.end(), static_cast<std::int64_t>(i)) != only.end();
    if (listed || (i + 1) % static_cast<std::size_t>(step) != 0) spec.layers[i] = dense[i];
  }
  return {};
}

}  // namespace

Status HfQwen2Spec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfDecoderSpec(folder, spec));
  QUORUM_ASSIGN(spec.attention.qkv_bias, folder.config.BoolOr("qkv_bias", true));
  return QwenWindows(folder.config, spec);
}

Status HfQwen3Spec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfDecoderSpec(folder, spec));
  QUORUM_ASSIGN(spec.attention.qkv_bias, folder.config.BoolOr("attention_bias", false));
  spec.attention.output_bias = spec.attention.qkv_bias;
  spec.attention.qk_norm = QkNorm::kPerHead;
  return QwenWindows(folder.config, spec);
}

Status HfQwen2MoeSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfQwen2Spec(folder, spec));
  QUORUM_TRY(QwenExperts(folder.config, spec));
  QUORUM_ASSIGN(const std::int32_t shared, folder.config.RequiredInt("shared_expert_intermediate_size", 1, 1 << 20));
  for (LayerSpec& layer : spec.layers) layer.shared_ff = layer.experts > 0 ? shared : 0;
  spec.shared_gate = true;
  return {};
}

Status HfQwen3MoeSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfQwen3Spec(folder, spec));
  return QwenExperts(folder.config, spec);
}

Status HfOlmoeSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfDecoderSpec(folder, spec));
  const HfConfig& config = folder.config;
  QUORUM_ASSIGN(spec.attention.qkv_bias, config.BoolOr("attention_bias", false));
  spec.attention.output_bias = spec.attention.qkv_bias;
  spec.attention.qk_norm = QkNorm::kPerRow;
  QUORUM_TRY(HfClipQkv(config, spec));
  QUORUM_ASSIGN(spec.router.renormalize, config.BoolOr("norm_topk_prob", false));
  return HfExperts(config, config.Has("num_experts") ? "num_experts" : "num_local_experts", spec.layers.front().ff,
                   spec);
}

}  // namespace quorum::engine
