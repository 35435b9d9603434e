// Dense decoders: Llama (also SmolLM), SmolLM3, IQuest-Coder and Mistral; and Mixtral, which is Mistral with experts.
#include <fmt/format.h>

#include "engine/hf_family.h"

namespace quorum::engine {

Status HfLlamaSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfDecoderSpec(folder, spec));
  QUORUM_ASSIGN(spec.attention.qkv_bias, folder.config.BoolOr("attention_bias", false));
  spec.attention.output_bias = spec.attention.qkv_bias;
  QUORUM_ASSIGN(spec.ffn_bias, folder.config.BoolOr("mlp_bias", false));
  return {};
}

/// Layers without rotation: `no_rope_layers` has 0 for them, else each `no_rope_layer_interval`th is one.
Status HfSmolLm3Spec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfLlamaSpec(folder, spec));
  const HfConfig& config = folder.config;
  QUORUM_ASSIGN(const std::int32_t interval, config.IntOr("no_rope_layer_interval", 4, 1));
  QUORUM_ASSIGN(const std::vector<std::int64_t> rotated, config.Ints("no_rope_layers"));
  if (!rotated.empty() && rotated.size() < spec.layers.size()) {
    return config.Fault("no_rope_layers", fmt::format("has {} entries, expected one for each of the {} layers",
                                                      rotated.size(), spec.layers.size()));
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    spec.layers[i].rope = rotated.empty() ? (i + 1) % static_cast<std::size_t>(interval) != 0 : rotated[i] != 0;
  }
  QUORUM_ASSIGN(const bool windows, config.BoolOr("use_sliding_window", false));
  if (!windows) {
    config.Ignore({"sliding_window", "layer_types"});
    return {};
  }
  QUORUM_TRY(HfWindows(config, 0, 0, spec));
  if (config.Has("layer_types")) return {};
  for (LayerSpec& layer : spec.layers) layer.window = layer.rope ? 0 : layer.window;
  return {};
}

/// Llama with keys of its own. The looped variant has another model_type.
Status HfIquestSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfLlamaSpec(folder, spec));
  const HfConfig& config = folder.config;
  QUORUM_TRY(HfClipQkv(config, spec));
  QUORUM_ASSIGN(const bool windows, config.BoolOr("use_sliding_window", false));
  QUORUM_ASSIGN(const std::int32_t first, config.IntOr("max_window_layers", 0));
  if (windows) return HfWindows(config, first, 0, spec);
  config.Ignore({"sliding_window", "layer_types"});
  return {};
}

Status HfMistralSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfDecoderSpec(folder, spec));
  return HfWindows(folder.config, 0, 4096, spec);
}

Status HfMixtralSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfDecoderSpec(folder, spec));
  QUORUM_TRY(HfWindows(folder.config, 0, 0, spec));
  spec.router.renormalize = true;
  return HfExperts(folder.config, "num_local_experts", spec.layers.front().ff, spec);
}

Status HfMixtralTensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors) {
  if (from.Has("model.layers.0.mlp.gate.weight"))
    return HfLlamaTensors(from, spec, tensors);  // transformers 5's own names
  constexpr HfFfnNames kNames = {.router = "block_sparse_moe.gate",
                                 .experts = "block_sparse_moe.experts.",
                                 .gate = "w1",
                                 .up = "w3",
                                 .down = "w2"};
  return HfDecoderTensors(from, spec, kNames, tensors);
}

}  // namespace quorum::engine
