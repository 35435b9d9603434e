#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "engine/gguf_keys.h"
#include "engine/gguf_latent.h"
#include "engine/model_config.h"
#include "engine/rope.h"
#include "engine/t5_gguf.h"

namespace quorum::engine {
namespace {

enum class Presence : std::uint8_t { kNever, kIfPresent, kAlways };

/// Which way `<architecture>.logit_scale` works.
enum class LogitScale : std::uint8_t { kNone, kMultiplies, kDivides };

/// What the name of an architecture says without a key for it. Defaults: a Llama with Hugging Face's order of heads.
struct Architecture {
  std::string_view name;
  RopePairs pairs = RopePairs::kNeox;
  NormKind norm = NormKind::kRms;
  bool post_norms = false;
  bool latent = false;  // multi-head latent attention
  Presence qkv_bias = Presence::kNever;
  Presence output_bias = Presence::kNever;
  QkNorm qk_norm = QkNorm::kNone;
  bool sinks = false;
  float attention_softcap = 0;   // unless the file says otherwise, as all numbers below
  std::int32_t full_period = 0;  // every n-th layer has no window; 0: all have the file's
  std::int32_t nope_period = 0;  // every n-th layer is not rotated; 0: all are
  bool yarn_whole_pairs = true;
  bool rope_switch = false;  // `rope.scaling.finetuned` false means that nothing is rotated
  Presence experts = Presence::kNever;
  RouterScore score = RouterScore::kSoftmax;
  bool renormalize = false;
  bool router_bias = false;
  float router_jitter = 0;
  Presence shared_expert = Presence::kNever;
  bool shared_gate = false;
  Activation activation = Activation::kSilu;
  Presence ffn_bias = Presence::kNever;
  bool multipliers = false;  // of embeddings and what blocks add
  double embedding_scale = 1.0;
  LogitScale logit_scale_is = LogitScale::kNone;
  double logit_scale = 1.0;
};

// llama: also Mistral, SmolLM 1 and 2, IQuest-Coder and, with experts, Mixtral. Its converters, and those of granite
// and smollm3, permute the rows of Q and K so that pairs of dimensions lie side by side.
constexpr Architecture kArchitectures[] = {
    {.name = "llama",
     .pairs = RopePairs::kInterleaved,
     .qkv_bias = Presence::kIfPresent,
     .output_bias = Presence::kIfPresent,
     .experts = Presence::kIfPresent,
     .renormalize = true,
     .ffn_bias = Presence::kIfPresent},
    {.name = "qwen2", .qkv_bias = Presence::kAlways},
    {.name = "qwen2moe",
     .qkv_bias = Presence::kAlways,
     .experts = Presence::kAlways,
     .shared_expert = Presence::kAlways,
     .shared_gate = true},
    {.name = "qwen3", .qkv_bias = Presence::kIfPresent, .qk_norm = QkNorm::kPerHead},
    {.name = "qwen3moe",
     .qkv_bias = Presence::kIfPresent,
     .qk_norm = QkNorm::kPerHead,
     .experts = Presence::kAlways,
     .renormalize = true},
    {.name = "olmoe", .qk_norm = QkNorm::kPerRow, .experts = Presence::kAlways},
    {.name = "smollm3",
     .pairs = RopePairs::kInterleaved,
     .qkv_bias = Presence::kIfPresent,
     .output_bias = Presence::kIfPresent,
     .nope_period = 4,
     .ffn_bias = Presence::kIfPresent},
    {.name = "phi3"},
    // GRIN-MoE's router_jitter_noise has no key; the published models have this value.
    {.name = "phimoe",
     .norm = NormKind::kLayer,
     .qkv_bias = Presence::kIfPresent,
     .output_bias = Presence::kIfPresent,
     .experts = Presence::kAlways,
     .score = RouterScore::kSparseMixer,
     .router_jitter = 0.01F},
    {.name = "gpt-oss",
     .qkv_bias = Presence::kIfPresent,
     .output_bias = Presence::kIfPresent,
     .sinks = true,
     .full_period = 2,
     .yarn_whole_pairs = false,
     .experts = Presence::kAlways,
     .score = RouterScore::kTopKSoftmax,
     .router_bias = true,
     .activation = Activation::kClampedSwiGlu,
     .ffn_bias = Presence::kAlways},
    {.name = "granite",
     .pairs = RopePairs::kInterleaved,
     .qkv_bias = Presence::kIfPresent,
     .output_bias = Presence::kIfPresent,
     .rope_switch = true,
     .ffn_bias = Presence::kIfPresent,
     .multipliers = true,
     .logit_scale_is = LogitScale::kDivides},
    {.name = "granitemoe",
     .pairs = RopePairs::kInterleaved,
     .qkv_bias = Presence::kIfPresent,
     .output_bias = Presence::kIfPresent,
     .rope_switch = true,
     .experts = Presence::kAlways,
     .score = RouterScore::kTopKSoftmax,
     .shared_expert = Presence::kIfPresent,
     .multipliers = true,
     .logit_scale_is = LogitScale::kDivides},
    // Weights of the chosen experts are not renormalised and router logits not capped in the published code
    // (xai-org/grok-1, model.py); files may say otherwise. Numbers: its run.py, for files from before there were keys.
    {.name = "grok",
     .post_norms = true,
     .attention_softcap = 30.0F,
     .experts = Presence::kAlways,
     .activation = Activation::kGelu,
     .multipliers = true,
     .embedding_scale = 78.38367176906169,
     .logit_scale_is = LogitScale::kMultiplies,
     .logit_scale = 0.5773502691896257},
    // DeepSeek-V2 and V3 and what has their shape (Kimi-K2, Moonlight, GLM-4.7-Flash).
    {.name = "deepseek2",
     .pairs = RopePairs::kInterleaved,
     .latent = true,
     .experts = Presence::kIfPresent,
     .shared_expert = Presence::kIfPresent},
};

Result<const Architecture*> FindArchitecture(const quant::GgufFile& file) {
  QUORUM_ASSIGN(const std::optional<std::string> type, file.GetString("general.type"));
  if (type && *type != "model") {
    return Unsupported(fmt::format("{}: key 'general.type' is '{}', expected 'model'", file.path(), *type));
  }
  QUORUM_ASSIGN(const std::optional<std::string> name, file.GetString("general.architecture"));
  if (!name) return InvalidArgument(file.path() + ": key 'general.architecture' is missing");
  std::string list;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == *name) return &architecture;
    list += std::string(architecture.name) + ", ";
  }
  list += kT5Architecture;
  return Unsupported(fmt::format("{}: architecture '{}' is not supported; supported are {}", file.path(), *name, list));
}

/// Whether the file has one of `tensors`, where the architecture leaves it open.
bool Has(const quant::GgufFile& file, Presence presence, std::initializer_list<std::string_view> tensors) {
  if (presence != Presence::kIfPresent) return presence == Presence::kAlways;
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](std::string_view tensor) { return file.FindTensor(tensor) != nullptr; });
}

Status ReadAttention(KeyReader& keys, const quant::GgufFile& file, const Architecture& architecture, ModelSpec& spec) {
  if (architecture.latent) return ReadLatentAttention(keys, file, spec);
  AttentionSpec& attention = spec.attention;
  QUORUM_ASSIGN(const std::optional<std::int32_t> heads, keys.SameInAllLayers("attention.head_count"));
  if (!heads) return keys.Fault("attention.head_count", "is missing");
  attention.heads = *heads;
  QUORUM_ASSIGN(const std::optional<std::int32_t> kv_heads, keys.SameInAllLayers("attention.head_count_kv"));
  attention.kv_heads = kv_heads.value_or(*heads);
  QUORUM_ASSIGN(attention.head_dim, keys.IntOr("attention.key_length", 0, 1));
  if (attention.head_dim == 0) {
    if (spec.d_model % attention.heads != 0) {
      return keys.Fault("attention.head_count", fmt::format("is {}, which does not divide the embedding length {}",
                                                            attention.heads, spec.d_model));
    }
    attention.head_dim = spec.d_model / attention.heads;
  }
  QUORUM_ASSIGN(const std::int32_t value_length, keys.IntOr("attention.value_length", attention.head_dim, 1));
  if (value_length != attention.head_dim) {
    return Unsupported(fmt::format("{}: values of {} dimensions beside keys of {} are not supported", file.path(),
                                   value_length, attention.head_dim));
  }
  // Grok's key means the same, whatever its name.
  QUORUM_ASSIGN(const double scale,
                keys.FloatOr(keys.Has("attention.output_scale") ? "attention.output_scale" : "attention.scale", 0.0));
  attention.scale = scale != 0.0 ? static_cast<float>(scale) : 1.0F / std::sqrt(static_cast<float>(attention.head_dim));
  attention.qkv_bias = Has(file, architecture.qkv_bias, {"blk.0.attn_q.bias", "blk.0.attn_qkv.bias"});
  attention.output_bias = Has(file, architecture.output_bias, {"blk.0.attn_output.bias"});
  attention.qk_norm = architecture.qk_norm;
  attention.sinks = architecture.sinks;
  attention.softcap = architecture.attention_softcap;
  if (attention.softcap != 0.0F) {
    QUORUM_ASSIGN(const double softcap, keys.FloatOr("attn_logit_softcapping", static_cast<double>(attention.softcap)));
    attention.softcap = static_cast<float>(softcap);
  }
  QUORUM_ASSIGN(const double clamp, keys.FloatOr("attention.clamp_kqv", 0.0));
  attention.qkv_clamp = static_cast<float>(clamp);
  return keys.OnlyBool("attention.causal", true);
}

/// The (dims / 2) values of a tensor that divide frequencies; empty when the file has none.
Result<std::vector<float>> RopeFactors(const quant::GgufFile& file, std::string_view name, std::int32_t dims) {
  const quant::GgufTensor* tensor = file.FindTensor(name);
  if (tensor == nullptr) return std::vector<float>();
  if (tensor->type != quant::DType::kF32 || tensor->elements() != dims / 2) {
    return InvalidArgument(fmt::format("{}: tensor '{}' has {} values of type {}, expected {} of F32", file.path(),
                                       name, tensor->elements(), quant::Info(tensor->type).name, dims / 2));
  }
  std::vector<float> factors(static_cast<std::size_t>(dims / 2));
  quant::Dequantize(tensor->type, tensor->data.data(), factors.data(), dims / 2);
  return factors;
}

Status ReadRope(KeyReader& keys, const quant::GgufFile& file, const Architecture& architecture, ModelSpec& spec) {
  RopeSpec& rope = spec.rope;
  rope.pairs = architecture.pairs;
  QUORUM_ASSIGN(rope.dims, keys.IntOr("rope.dimension_count", spec.attention.head_dim, 0));
  QUORUM_ASSIGN(rope.base, keys.FloatOr("rope.freq_base", 10000.0));
  QUORUM_ASSIGN(const bool finetuned, keys.BoolOr("rope.scaling.finetuned", true));
  if (architecture.rope_switch && !finetuned) rope.dims = 0;
  QUORUM_ASSIGN(const double old_factor, keys.FloatOr("rope.scale_linear", 0.0));
  QUORUM_ASSIGN(const double factor, keys.FloatOr("rope.scaling.factor", old_factor));
  if (factor != 0.0) rope.factor = factor;  // 0: not set, as in llama.cpp
  QUORUM_ASSIGN(const std::string scaling, keys.StringOr("rope.scaling.type", rope.factor != 1.0 ? "linear" : "none"));
  if (scaling == "linear") {
    rope.scaling = RopeScaling::kLinear;
  } else if (scaling == "yarn") {
    rope.scaling = RopeScaling::kYarn;
  } else if (scaling == "longrope") {
    rope.scaling = RopeScaling::kLongRope;
  } else if (scaling != "none") {
    return Unsupported(fmt::format("{}: key '{}.rope.scaling.type' is '{}'; supported are none, linear, yarn, longrope",
                                   file.path(), spec.architecture, scaling));
  }
  QUORUM_ASSIGN(rope.original_context, keys.IntOr("rope.scaling.original_context_length", spec.context_length));
  QUORUM_ASSIGN(const std::vector<float> short_factors, RopeFactors(file, "rope_factors_short.weight", rope.dims));
  QUORUM_ASSIGN(rope.long_factors, RopeFactors(file, "rope_factors_long.weight", rope.dims));
  if (!rope.long_factors.empty() || !short_factors.empty())
    rope.scaling = RopeScaling::kLongRope;  // Phi's converter does not name it
  rope.whole_pairs = architecture.yarn_whole_pairs;
  if (rope.scaling == RopeScaling::kYarn) {
    QUORUM_ASSIGN(const double attention_factor, keys.FloatOr("rope.scaling.attn_factor", 1.0));
    QUORUM_ASSIGN(rope.attention_factor, keys.FloatOr("rope.scaling.yarn_attn_factor", 1.0));
    rope.attention_factor *= attention_factor;
    QUORUM_ASSIGN(rope.beta_fast, keys.FloatOr("rope.scaling.yarn_beta_fast", 32.0));
    QUORUM_ASSIGN(rope.beta_slow, keys.FloatOr("rope.scaling.yarn_beta_slow", 1.0));
    QUORUM_TRY(keys.OnlyFloat("rope.scaling.yarn_ext_factor", 1.0));
    QUORUM_ASSIGN(const double multiplier, keys.FloatOr("rope.scaling.yarn_log_multiplier", 0.0));
    if (architecture.latent && multiplier != 0.0) {
      // A tenth of DeepSeek's mscale_all_dim. Its mscale, which is for cosines and sines, has no key; every published
      // model has it equal, so that these are not scaled.
      const double temperature = YarnTemperature(rope.factor, multiplier * 10.0);
      spec.attention.scale *= static_cast<float>(temperature * temperature);
      rope.attention_factor /= YarnTemperature(rope.factor);
    } else if (multiplier != 0.0) {
      QUORUM_TRY(keys.OnlyFloat("rope.scaling.yarn_log_multiplier", 0.0));
    }
  } else if (rope.scaling == RopeScaling::kLongRope) {
    rope.factors = short_factors;
    QUORUM_ASSIGN(rope.magnitude, keys.FloatOr("rope.scaling.attn_factor", 1.0));
    rope.long_magnitude = rope.magnitude;
    rope.long_context = spec.context_length > rope.original_context;
    return {};
  } else {
    QUORUM_TRY(keys.OnlyFloat("rope.scaling.attn_factor", 1.0));
  }
  QUORUM_ASSIGN(rope.factors, RopeFactors(file, "rope_freqs.weight", rope.dims));
  return {};
}

Status ReadRouter(KeyReader& keys, const Architecture& architecture, std::int32_t experts, ModelSpec& spec) {
  QUORUM_ASSIGN(spec.router.top_k, keys.RequiredInt("expert_used_count", 1, experts));
  QUORUM_ASSIGN(spec.router.renormalize, keys.BoolOr("expert_weights_norm", architecture.renormalize));
  QUORUM_ASSIGN(const double scale, keys.FloatOr("expert_weights_scale", 1.0));
  if (scale != 0.0) spec.router.scale = static_cast<float>(scale);  // 0: not set, as in llama.cpp
  QUORUM_ASSIGN(const std::int32_t gating, keys.IntOr("expert_gating_func", 0, 0, 3));
  spec.router.score = gating == 1   ? RouterScore::kSoftmax
                      : gating == 2 ? RouterScore::kSigmoid
                      : gating == 3 ? RouterScore::kTopKSoftmax
                                    : architecture.score;
  spec.router.bias = architecture.router_bias;
  spec.router.jitter = architecture.router_jitter;
  QUORUM_ASSIGN(const double softcap, keys.FloatOr("router_logit_softcapping", 0.0));
  spec.router.softcap = static_cast<float>(softcap);
  QUORUM_ASSIGN(const std::int32_t groups, keys.IntOr("expert_group_count", 0, 0, experts));
  QUORUM_ASSIGN(const std::int32_t top_groups, keys.IntOr("expert_group_used_count", groups, 0, experts));
  if (groups > 1) {
    spec.router.groups = groups;
    spec.router.top_groups = top_groups;
  }
  return {};
}

/// Which layers have full attention and which are not rotated.
Status ReadLayerPatterns(KeyReader& keys, const Architecture& architecture, ModelSpec& spec) {
  std::vector<std::int64_t> pattern = {
      architecture.full_period};  // a period, or for each layer whether it has a window
  if (architecture.full_period > 0 && keys.Has("attention.sliding_window_pattern")) {
    QUORUM_ASSIGN(pattern, keys.Ints("attention.sliding_window_pattern"));
  }
  if (pattern.size() != 1 && pattern.size() != spec.layers.size()) {
    return keys.Fault("attention.sliding_window_pattern",
                      fmt::format("has {} entries, expected 1 or {}", pattern.size(), spec.layers.size()));
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const auto nth = static_cast<std::int64_t>(i + 1);
    const bool full = pattern.size() == 1 ? pattern[0] > 0 && nth % pattern[0] == 0 : pattern[i] == 0;
    if (full) spec.layers[i].window = 0;
    spec.layers[i].rope = architecture.nope_period == 0 || nth % architecture.nope_period != 0;
  }
  return {};
}

/// The bias that only choices see, and what follows from it: files of before `expert_gating_func` with one have
/// sigmoids, and groups are scored by two experts where scores are sigmoids, as in DeepSeek-V3, else by one, as in V2.
void ReadChoiceBias(const quant::GgufFile& file, const Architecture& architecture, std::int32_t dense_layers,
                    RouterSpec& router, bool gating_known) {
  router.choice_bias =
      architecture.latent && file.FindTensor(fmt::format("blk.{}.exp_probs_b.bias", dense_layers)) != nullptr;
  if (router.choice_bias && !gating_known) router.score = RouterScore::kSigmoid;
  router.group_score = router.score == RouterScore::kSigmoid ? GroupScore::kTopTwo : GroupScore::kMax;
}

/// The experts' width in files from before it had a key (Qwen1.5-MoE's of 2024); `fallback` where they are not stacked.
std::int32_t ExpertWidth(const quant::GgufFile& file, std::int32_t layer, std::int32_t fallback) {
  const quant::GgufTensor* experts = file.FindTensor(fmt::format("blk.{}.ffn_down_exps.weight", layer));
  return experts == nullptr || experts->dim(0) > 1 << 20 ? fallback : static_cast<std::int32_t>(experts->dim(0));
}

Status ReadFfn(KeyReader& keys, const quant::GgufFile& file, const Architecture& architecture, std::int32_t layers,
               ModelSpec& spec) {
  QUORUM_ASSIGN(const std::int32_t experts, keys.IntOr("expert_count", 0));
  if (experts > 0 && architecture.experts == Presence::kNever) {
    return keys.Fault("expert_count", fmt::format("is {}, expected 0 for this architecture", experts));
  }
  if (experts == 0 && architecture.experts == Presence::kAlways) {
    return keys.Fault("expert_count", "is missing or 0, expected 1 or more for this architecture");
  }
  QUORUM_ASSIGN(const std::optional<std::int32_t> dense_ff, keys.SameInAllLayers("feed_forward_length"));
  LayerSpec layer;
  layer.ff = dense_ff.value_or(0);
  std::int32_t dense_layers = 0;
  if (experts > 0) {
    QUORUM_TRY(ReadRouter(keys, architecture, experts, spec));
    layer.experts = experts;
    QUORUM_ASSIGN(dense_layers, keys.IntOr("leading_dense_block_count", 0, 0, layers));
    QUORUM_ASSIGN(layer.ff,
                  keys.IntOr("expert_feed_forward_length", ExpertWidth(file, dense_layers, dense_ff.value_or(0)), 1));
    ReadChoiceBias(file, architecture, dense_layers, spec.router, keys.Has("expert_gating_func"));
    if (architecture.shared_expert != Presence::kNever) {
      const bool always = architecture.shared_expert == Presence::kAlways;
      QUORUM_ASSIGN(layer.shared_ff,
                    keys.IntOr("expert_shared_feed_forward_length", always ? dense_ff.value_or(0) : 0, always ? 1 : 0));
      if (architecture.latent) {
        QUORUM_ASSIGN(const std::int32_t count, keys.IntOr("expert_shared_count", 0, 0, 1024));
        if (layer.shared_ff == 0) layer.shared_ff = count * std::min(layer.ff, 1 << 20);
      }
      spec.shared_gate = architecture.shared_gate;
    }
  } else {
    QUORUM_TRY(keys.OnlyInt("expert_used_count", 0));
  }
  if (layer.ff == 0 || (dense_layers > 0 && !dense_ff)) return keys.Fault("feed_forward_length", "is missing");
  QUORUM_ASSIGN(layer.window, keys.IntOr("attention.sliding_window", 0));
  spec.layers.assign(static_cast<std::size_t>(layers), layer);
  for (std::int32_t i = 0; i < dense_layers; ++i) {
    spec.layers[static_cast<std::size_t>(i)] = {.window = layer.window, .ff = dense_ff.value_or(0)};
  }
  return ReadLayerPatterns(keys, architecture, spec);
}

Status ReadMultipliers(KeyReader& keys, const Architecture& architecture, ModelSpec& spec) {
  if (architecture.multipliers) {
    QUORUM_ASSIGN(const double embedding, keys.FloatOr("embedding_scale", architecture.embedding_scale));
    QUORUM_ASSIGN(const double residual, keys.FloatOr("residual_scale", 1.0));
    if (embedding != 0.0) spec.embedding_scale = static_cast<float>(embedding);  // 0: not set, as in llama.cpp
    if (residual != 0.0) spec.residual_scale = static_cast<float>(residual);
  }
  if (architecture.logit_scale_is != LogitScale::kNone) {
    QUORUM_ASSIGN(const double scale, keys.FloatOr("logit_scale", architecture.logit_scale));
    if (scale <= 0.0) return keys.Fault("logit_scale", fmt::format("is {}, expected a positive number", scale));
    spec.logit_scale = static_cast<float>(architecture.logit_scale_is == LogitScale::kDivides ? 1.0 / scale : scale);
  }
  if (architecture.attention_softcap != 0.0F) {
    QUORUM_ASSIGN(const double softcap, keys.FloatOr("final_logit_softcapping", 0.0));
    spec.logit_softcap = static_cast<float>(softcap);
  }
  return {};
}

}  // namespace

std::vector<std::string> SupportedGgufArchitectures() {
  std::vector<std::string> names;
  for (const Architecture& architecture : kArchitectures) names.emplace_back(architecture.name);
  names.emplace_back(kT5Architecture);
  return names;
}

Result<ModelSpec> SpecFromGguf(const quant::GgufFile& file) {
  QUORUM_ASSIGN(const std::optional<std::string> given, file.GetString("general.architecture"));
  if (given == kT5Architecture) return T5SpecFromGguf(file);
  QUORUM_ASSIGN(const Architecture* architecture, FindArchitecture(file));
  KeyReader keys(file, architecture->name);
  ModelSpec spec;
  spec.architecture = architecture->name;
  QUORUM_ASSIGN(const std::optional<std::string> name, file.GetString("general.name"));
  spec.name = name.value_or("");
  QUORUM_ASSIGN(spec.context_length, keys.RequiredInt("context_length"));
  QUORUM_ASSIGN(spec.d_model, keys.RequiredInt("embedding_length", 1, 1 << 17));
  QUORUM_ASSIGN(std::int32_t layers, keys.RequiredInt("block_count", 1, 1024));
  // The last blocks may be for multi-token prediction; a plain pass ends before them.
  while (layers > 1 && file.FindTensor(fmt::format("blk.{}.nextn.eh_proj.weight", layers - 1)) != nullptr) --layers;
  keys.Ignore("nextn_predict_layers");
  const quant::GgufTensor* embedding = file.FindTensor("token_embd.weight");
  if (embedding == nullptr) return InvalidArgument(file.path() + ": tensor 'token_embd.weight' is missing");
  if (embedding->dim(1) > KeyReader::kMax)
    return InvalidArgument(file.path() + ": tensor 'token_embd.weight' is too large");
  spec.vocab_size = static_cast<std::int32_t>(embedding->dim(1));
  QUORUM_ASSIGN(const std::int32_t vocab_key, keys.IntOr("vocab_size", spec.vocab_size));
  if (vocab_key != spec.vocab_size) {
    return keys.Fault("vocab_size",
                      fmt::format("is {}, but 'token_embd.weight' has {} rows", vocab_key, spec.vocab_size));
  }
  spec.norm = architecture->norm;
  spec.post_norms = architecture->post_norms;
  // Phi's converter writes the epsilon of its layer norms under the other name.
  const bool layer_eps = spec.norm == NormKind::kLayer && keys.Has("attention.layer_norm_epsilon");
  QUORUM_ASSIGN(const double eps,
                keys.FloatOr(layer_eps ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 0.0));
  if (!(eps > 0.0 && eps < 1.0)) {
    return keys.Fault("attention.layer_norm_rms_epsilon", fmt::format("is {}, expected between 0 and 1", eps));
  }
  spec.norm_eps = static_cast<float>(eps);
  spec.tied_embeddings = file.FindTensor("output.weight") == nullptr;
  spec.logit_bias = file.FindTensor("output.bias") != nullptr;
  spec.activation = architecture->activation;
  spec.ffn_bias = Has(file, architecture->ffn_bias, {"blk.0.ffn_down.bias", "blk.0.ffn_down_exps.bias"});
  QUORUM_TRY(ReadAttention(keys, file, *architecture, spec));
  QUORUM_TRY(ReadRope(keys, file, *architecture, spec));
  QUORUM_TRY(ReadFfn(keys, file, *architecture, layers, spec));
  QUORUM_TRY(ReadMultipliers(keys, *architecture, spec));
  keys.Ignore("tensor_data_layout");
  keys.Ignore("pooling_type");  // of embeddings
  QUORUM_TRY(keys.OnlyBool("use_parallel_residual", false));
  QUORUM_TRY(keys.AllRead());
  if (const Status status = CheckSpec(spec); !status.ok()) {
    return Error{status.error().code, file.path() + ": " + status.error().message, {}, {}};
  }
  return spec;
}

}  // namespace quorum::engine
