// Dense decoders: Llama (also SmolLM and IQuest-Coder) and Mistral; and Mixtral, which is Mistral with experts.
#include "engine/hf_family.h"

namespace quorum::engine {

Status HfLlamaSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfDecoderSpec(folder, spec));
  QUORUM_ASSIGN(spec.attention.qkv_bias, folder.config.BoolOr("attention_bias", false));
  spec.attention.output_bias = spec.attention.qkv_bias;
  return folder.config.OnlyBool("mlp_bias", false);
}

Status HfMistralSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfDecoderSpec(folder, spec));
  return HfWindows(folder.config, 0, spec);
}

Status HfMixtralSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfMistralSpec(folder, spec));
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
