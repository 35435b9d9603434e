// The parts of a ModelSpec that families share.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "engine/base/log.h"
#include "engine/hf_family.h"

namespace quorum::engine {
namespace {

/// What transformers takes for keys that a config leaves out, where it is not what it takes for Llama.
struct Defaults {
  std::string_view model_type;
  double norm_eps = 1e-6;
  double rope_theta = 10000.0;
  std::int32_t kv_heads = 0;  // 0: as many as heads
  std::int32_t head_dim = 0;  // 0: hidden_size / heads
  std::int32_t top_k = 0;     // experts of a token; 0: the key is required
};

constexpr Defaults kDefaults[] = {
    {.model_type = "mistral", .kv_heads = 8},
    {.model_type = "mixtral", .norm_eps = 1e-5, .rope_theta = 1e6, .kv_heads = 8, .top_k = 2},
    {.model_type = "qwen2", .kv_heads = 32},
    {.model_type = "qwen2_moe", .kv_heads = 16, .top_k = 4},
    {.model_type = "qwen3", .kv_heads = 32, .head_dim = 128},
    {.model_type = "qwen3_moe", .kv_heads = 4, .top_k = 8},
    {.model_type = "olmoe", .norm_eps = 1e-5, .top_k = 8},
    {.model_type = "smollm3", .rope_theta = 2e6, .kv_heads = 4},
    {.model_type = "gpt_oss", .norm_eps = 1e-5, .rope_theta = 150000.0, .kv_heads = 8, .head_dim = 64, .top_k = 4},
    {.model_type = "phi3", .norm_eps = 1e-5},
    {.model_type = "phimoe", .norm_eps = 1e-5, .rope_theta = 1e6, .kv_heads = 8, .top_k = 2},
    {.model_type = "granitemoe", .top_k = 2},
    {.model_type = "granitemoeshared", .top_k = 2},
    {.model_type = "deepseek_v3", .top_k = 8},
};

Defaults DefaultsOf(std::string_view model_type) {
  for (const Defaults& defaults : kDefaults) {
    if (defaults.model_type == model_type) return defaults;
  }
  return {};
}

Status HeadSizes(const HfConfig& config, const Defaults& defaults, ModelSpec& spec) {
  AttentionSpec& attention = spec.attention;
  QUORUM_ASSIGN(attention.heads, config.RequiredInt("num_attention_heads", 1, 4096));
  const bool kv_default = defaults.kv_heads > 0 && !config.IsNull("num_key_value_heads");
  QUORUM_ASSIGN(attention.kv_heads, config.IntOr("num_key_value_heads",
                                                 kv_default ? defaults.kv_heads : attention.heads, 1, attention.heads));
  QUORUM_ASSIGN(attention.head_dim,
                config.IntOr("head_dim", config.IsNull("head_dim") ? 0 : defaults.head_dim, 1, 1024));
  if (attention.head_dim == 0) {
    if (spec.d_model % attention.heads != 0) {
      return config.Fault("num_attention_heads",
                          fmt::format("is {}, which does not divide 'hidden_size' {}, and there is "
                                      "no 'head_dim'",
                                      attention.heads, spec.d_model));
    }
    attention.head_dim = spec.d_model / attention.heads;
  }
  attention.scale = 1.0F / std::sqrt(static_cast<float>(attention.head_dim));
  return {};
}

/// transformers ties where the config says so; older ones left the key out. A file with an output matrix that differs
/// from the embedding is not tied whatever its config says: merged adapters leave such.
Status Tying(const HfFolder& folder, ModelSpec& spec) {
  const quant::SafeTensor* output = folder.weights.Find("lm_head.weight");
  const bool quantized = folder.weights.Find("lm_head.qweight") != nullptr;
  QUORUM_ASSIGN(spec.tied_embeddings, folder.config.BoolOr("tie_word_embeddings", output == nullptr && !quantized));
  const quant::SafeTensor* embedding = folder.weights.Find("model.embed_tokens.weight");
  if (spec.tied_embeddings && output != nullptr && embedding != nullptr &&
      (output->type != embedding->type || !std::ranges::equal(output->data, embedding->data))) {
    Log(LogLevel::kWarn,
        "{}: key 'tie_word_embeddings' is true, but 'lm_head.weight' differs from the embedding; it is used",
        folder.config.path());
    spec.tied_embeddings = false;
  }
  return {};
}

Status HiddenActivation(const HfConfig& config, ModelSpec& spec) {
  QUORUM_TRY(config.OnlyString("hidden_act", {"silu", "swish", "gelu_pytorch_tanh", "gelu_new", "relu"}));
  const Result<std::string> name = config.StringOr("hidden_act", "silu");
  if (!name.ok()) return name.error();
  if (*name == "gelu_pytorch_tanh" || *name == "gelu_new") spec.activation = Activation::kGelu;
  if (*name == "relu") spec.activation = Activation::kRelu;
  return {};
}

}  // namespace

Status HfDecoderSpec(const HfFolder& folder, ModelSpec& spec) {
  const HfConfig& config = folder.config;
  const Defaults defaults = DefaultsOf(spec.architecture);
  QUORUM_TRY(config.OnlyBool("is_encoder_decoder", false));
  QUORUM_ASSIGN(spec.vocab_size, config.RequiredInt("vocab_size", 1, 1 << 24));
  QUORUM_ASSIGN(spec.d_model, config.RequiredInt("hidden_size", 1, 1 << 17));
  QUORUM_ASSIGN(const std::int32_t layers, config.RequiredInt("num_hidden_layers", 1, 1024));
  QUORUM_ASSIGN(spec.context_length, config.RequiredInt("max_position_embeddings", 1, 1 << 20));
  QUORUM_ASSIGN(const std::int32_t ff, config.RequiredInt("intermediate_size", 1, 1 << 20));
  QUORUM_ASSIGN(const double eps, config.FloatOr("rms_norm_eps", defaults.norm_eps));
  if (!(eps > 0.0 && eps < 1.0)) {
    return config.Fault("rms_norm_eps", fmt::format("is {}, expected a number between 0 and 1", eps));
  }
  spec.norm_eps = static_cast<float>(eps);
  QUORUM_TRY(HiddenActivation(config, spec));
  QUORUM_TRY(HeadSizes(config, defaults, spec));
  QUORUM_TRY(HfRope(config, defaults.rope_theta, spec));
  QUORUM_TRY(Tying(folder, spec));
  LayerSpec layer;
  layer.ff = ff;
  spec.layers.assign(static_cast<std::size_t>(layers), layer);
  return {};
}

Status HfWindows(const HfConfig& config, std::int32_t first, std::int32_t absent, ModelSpec& spec) {
  QUORUM_ASSIGN(const std::int32_t window,
                config.IntOr("sliding_window", config.IsNull("sliding_window") ? 0 : absent));
  QUORUM_ASSIGN(const std::vector<std::string> types, config.Strings("layer_types"));
  if (!types.empty() && types.size() != spec.layers.size()) {
    return config.Fault("layer_types", fmt::format("has {} entries, expected one for each of the {} layers",
                                                   types.size(), spec.layers.size()));
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    bool sliding = static_cast<std::int32_t>(i) >= first;
    if (!types.empty()) {
      sliding = types[i] == "sliding_attention";
      if (!sliding && types[i] != "full_attention") {
        return Unsupported(
            fmt::format("{}: key 'layer_types' has '{}'; Quorum has full_attention and sliding_attention",
                        config.path(), types[i]));
      }
      if (sliding && window == 0)
        return config.Fault("sliding_window", "is missing, expected the window of 'layer_types'");
    }
    if (sliding) spec.layers[i].window = window;
  }
  return {};
}

Status HfClipQkv(const HfConfig& config, ModelSpec& spec) {
  QUORUM_ASSIGN(const double limit, config.FloatOr("clip_qkv", 0.0));
  spec.attention.qkv_clamp = static_cast<float>(limit);
  return {};
}

Status HfExperts(const HfConfig& config, std::string_view experts_key, std::int32_t ff, ModelSpec& spec) {
  QUORUM_ASSIGN(const std::int32_t experts, config.RequiredInt(experts_key, 1, 4096));
  const std::int32_t usual = DefaultsOf(spec.architecture).top_k;
  if (usual > 0 && !config.Has("num_experts_per_tok")) {
    spec.router.top_k = usual;  // CheckSpec looks whether there are as many
  } else {
    QUORUM_ASSIGN(spec.router.top_k, config.RequiredInt("num_experts_per_tok", 1, experts));
  }
  for (LayerSpec& layer : spec.layers) {
    layer.experts = experts;
    layer.ff = ff;
  }
  return {};
}

}  // namespace quorum::engine
