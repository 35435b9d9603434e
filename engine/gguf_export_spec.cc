// The metadata side of gguf_export.h.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "engine/gguf_export.h"
#include "engine/gguf_family.h"
#include "engine/model_config.h"
#include "engine/rope.h"

namespace quorum::engine {
namespace {

constexpr GgufFamily kFamilies[] = {
    {"llama", "llama", true},
    {"mistral", "llama", true},
    {"mixtral", "llama", true},
    {"iquestcoder", "llama", true},
    {"qwen2", "qwen2"},
    {"qwen2_moe", "qwen2moe"},
    {"qwen3", "qwen3"},
    {"qwen3_moe", "qwen3moe"},
    {"olmoe", "olmoe"},
    {"smollm3", "smollm3", true},
    {"granite", "granite", true},
    {"granitemoe", "granitemoe", true},
    {"granitemoeshared", "granitemoe", true},
    {"gpt_oss", "gpt-oss"},
    {"phi3", "phi3"},
    {"phimoe", "phimoe"},
    {"deepseek_v2", "deepseek2", true},
    {"deepseek_v3", "deepseek2", true},
    {"kimi_k2", "deepseek2", true},
    {"grok-1", "grok"},
};

/// Null where there is none.
const GgufFamily* Find(std::string_view model_type) {
  const auto* found = std::ranges::find(kFamilies, model_type, &GgufFamily::model_type);
  return found == std::end(kFamilies) ? nullptr : found;
}

/// `<architecture>.*` keys.
class Keys {
 public:
  Keys(quant::GgufWriter& writer, std::string_view architecture)
      : writer_(writer), prefix_(std::string(architecture) + ".") {}
  void Int(std::string_view key, std::int64_t value) {
    writer_.SetUint32(prefix_ + std::string(key), static_cast<std::uint32_t>(value));
  }
  void Float(std::string_view key, double value) {
    writer_.SetFloat32(prefix_ + std::string(key), static_cast<float>(value));
  }
  void Bool(std::string_view key, bool value) { writer_.SetBool(prefix_ + std::string(key), value); }
  void String(std::string_view key, std::string_view value) { writer_.SetString(prefix_ + std::string(key), value); }

 private:
  quant::GgufWriter& writer_;
  std::string prefix_;
};

void WriteAttention(const ModelSpec& spec, std::string_view architecture, Keys& keys) {
  const AttentionSpec& attention = spec.attention;
  keys.Int("attention.head_count", attention.heads);
  keys.Int("attention.head_count_kv", attention.kv_heads);
  if (attention.is_latent()) {
    const LatentSpec& latent = attention.latent;
    if (latent.q_rank > 0) keys.Int("attention.q_lora_rank", latent.q_rank);
    keys.Int("attention.kv_lora_rank", latent.kv_rank);
    keys.Int("attention.key_length", latent.kv_rank + latent.rope_dim);
    keys.Int("attention.value_length", latent.kv_rank);
    keys.Int("attention.key_length_mla", attention.head_dim);
    keys.Int("attention.value_length_mla", latent.value_dim);
  } else {
    keys.Int("attention.key_length", attention.head_dim);
    keys.Int("attention.value_length", attention.head_dim);
  }
  const float usual = 1.0F / std::sqrt(static_cast<float>(attention.head_dim));
  if (!attention.is_latent() && attention.scale != usual) {
    keys.Float(architecture == "grok" ? "attention.output_scale" : "attention.scale",
               static_cast<double>(attention.scale));
  }
  if (attention.qkv_clamp != 0.0F) keys.Float("attention.clamp_kqv", static_cast<double>(attention.qkv_clamp));
  if (attention.softcap != 0.0F) keys.Float("attn_logit_softcapping", static_cast<double>(attention.softcap));
  std::int32_t window = 0;
  for (const LayerSpec& layer : spec.layers) window = std::max(window, layer.window);
  if (window > 0) keys.Int("attention.sliding_window", window);
}

void WriteRope(const ModelSpec& spec, Keys& keys) {
  const RopeSpec& rope = spec.rope;
  if (rope.dims == 0) {  // Granite's switch
    keys.Int("rope.dimension_count", spec.attention.head_dim);
    keys.Bool("rope.scaling.finetuned", false);
    return;
  }
  keys.Int("rope.dimension_count", rope.dims);
  keys.Float("rope.freq_base", rope.base);
  switch (rope.scaling) {
    case RopeScaling::kNone: return;
    case RopeScaling::kLinear:
      keys.String("rope.scaling.type", "linear");
      keys.Float("rope.scaling.factor", rope.factor);
      return;
    case RopeScaling::kLongRope:
      keys.String("rope.scaling.type", "longrope");  // without it llama.cpp refuses the factors of a Llama
      keys.Int("rope.scaling.original_context_length", rope.original_context);
      keys.Float("rope.scaling.attn_factor", rope.magnitude);
      return;
    case RopeScaling::kYarn: break;
  }
  keys.String("rope.scaling.type", "yarn");
  keys.Float("rope.scaling.factor", rope.factor);
  keys.Int("rope.scaling.original_context_length", rope.original_context);
  if (rope.beta_fast != 32.0) keys.Float("rope.scaling.yarn_beta_fast", rope.beta_fast);
  if (rope.beta_slow != 1.0) keys.Float("rope.scaling.yarn_beta_slow", rope.beta_slow);
  double factor = rope.attention_factor;
  const double temperature =
      std::sqrt(static_cast<double>(spec.attention.scale) * std::sqrt(static_cast<double>(spec.attention.head_dim)));
  if (spec.attention.is_latent() && rope.factor > 1.0 && temperature > 1.0 + 1e-5) {
    // A tenth of DeepSeek's mscale_all_dim, which the scores' temperature was made of.
    keys.Float("rope.scaling.yarn_log_multiplier", (temperature - 1.0) / std::log(rope.factor));
    factor *= YarnTemperature(rope.factor);
  }
  if (std::abs(factor - 1.0) > 1e-5) keys.Float("rope.scaling.attn_factor", factor);
}

void WriteFfn(const ModelSpec& spec, Keys& keys) {
  std::int32_t dense_ff = 0;
  std::int64_t leading = 0;
  const LayerSpec* mixture = nullptr;
  for (const LayerSpec& layer : spec.layers) {
    if (layer.experts == 0) {
      dense_ff = layer.ff;
      if (mixture == nullptr) ++leading;
    } else if (mixture == nullptr) {
      mixture = &layer;
    }
  }
  keys.Int("feed_forward_length", dense_ff > 0 ? dense_ff : spec.layers.front().ff);
  if (mixture == nullptr) return;
  keys.Int("expert_count", mixture->experts);
  keys.Int("expert_used_count", spec.router.top_k);
  keys.Int("expert_feed_forward_length", mixture->ff);
  if (leading > 0) keys.Int("leading_dense_block_count", leading);
  if (mixture->shared_ff > 0) {
    keys.Int("expert_shared_feed_forward_length", mixture->shared_ff);
    if (spec.attention.is_latent()) keys.Int("expert_shared_count", mixture->shared_ff / mixture->ff);
  }
  const RouterSpec& router = spec.router;
  keys.Bool("expert_weights_norm", router.renormalize);
  if (router.scale != 1.0F) keys.Float("expert_weights_scale", static_cast<double>(router.scale));
  if (spec.attention.is_latent()) keys.Int("expert_gating_func", router.score == RouterScore::kSigmoid ? 2 : 1);
  if (router.groups > 1) {
    keys.Int("expert_group_count", router.groups);
    keys.Int("expert_group_used_count", router.top_groups);
  }
  if (router.softcap != 0.0F) keys.Float("router_logit_softcapping", static_cast<double>(router.softcap));
}

}  // namespace

Result<const GgufFamily*> GgufFamilyOf(const ModelSpec& spec) {
  if (const GgufFamily* family = Find(spec.architecture)) return family;
  return Unsupported("models of type '" + spec.architecture + "' cannot be written as GGUF");
}

std::string GgufArchitectureOf(const std::string& model_type) {
  const GgufFamily* family = Find(model_type);
  return family == nullptr ? std::string() : std::string(family->architecture);
}

Status WriteGgufSpec(const ModelSpec& spec, quant::GgufWriter& writer) {
  QUORUM_ASSIGN(const GgufFamily* family, GgufFamilyOf(spec));
  const std::string_view architecture = family->architecture;
  writer.SetString("general.architecture", architecture);
  writer.SetString("general.type", "model");
  if (!spec.name.empty()) writer.SetString("general.name", spec.name);
  Keys keys(writer, architecture);
  keys.Int("block_count", std::ssize(spec.layers));
  keys.Int("context_length", spec.context_length);
  keys.Int("embedding_length", spec.d_model);
  keys.Int("vocab_size", spec.vocab_size);
  keys.Float("attention.layer_norm_rms_epsilon", static_cast<double>(spec.norm_eps));
  WriteAttention(spec, architecture, keys);
  WriteRope(spec, keys);
  WriteFfn(spec, keys);
  if (architecture.starts_with("granite") || architecture == "grok") {
    keys.Float("embedding_scale", static_cast<double>(spec.embedding_scale));
    if (architecture != "grok") keys.Float("residual_scale", static_cast<double>(spec.residual_scale));
    const auto scale = static_cast<double>(spec.logit_scale);
    keys.Float("logit_scale", architecture == "grok" ? scale : 1.0 / scale);
    if (spec.logit_softcap != 0.0F) keys.Float("final_logit_softcapping", static_cast<double>(spec.logit_softcap));
  }
  return {};
}

Status CheckGgufSpec(const ModelSpec& spec, const quant::GgufFile& made) {
  QUORUM_ASSIGN(const GgufFamily* family, GgufFamilyOf(spec));
  QUORUM_ASSIGN(const ModelSpec got, SpecFromGguf(made));
  const auto near = [](double a, double b) { return std::abs(a - b) <= 2e-6 * std::max(std::abs(a), std::abs(b)); };
  const auto f = [](float value) { return static_cast<double>(value); };
  const auto same_factors = [](const std::vector<float>& a, const std::vector<float>& b) { return a == b; };
  const RopeSpec& rope = spec.rope;
  const RopeSpec& rope2 = got.rope;
  const AttentionSpec& a = spec.attention;
  const AttentionSpec& b = got.attention;
  const RouterSpec& r = spec.router;
  const RouterSpec& s = got.router;
  std::vector<std::pair<const char*, bool>> checks = {
      {"vocabulary", spec.vocab_size == got.vocab_size},
      {"width", spec.d_model == got.d_model},
      {"kind or epsilon of norms",
       spec.norm == got.norm && near(f(spec.norm_eps), f(got.norm_eps)) && spec.post_norms == got.post_norms},
      {"heads", a.heads == b.heads && a.kv_heads == b.kv_heads && a.head_dim == b.head_dim},
      {"scale of scores",
       near(f(a.scale), f(b.scale)) && near(f(a.softcap), f(b.softcap)) && near(f(a.qkv_clamp), f(b.qkv_clamp))},
      {"biases or norms of attention",
       a.qkv_bias == b.qkv_bias && a.output_bias == b.output_bias && a.qk_norm == b.qk_norm && a.sinks == b.sinks},
      {"rotary positions",
       rope.dims == rope2.dims &&
           (rope.dims == 0 || (near(rope.base, rope2.base) &&
                               (rope.pairs == rope2.pairs || (family->Permutes(spec) && !a.is_latent()))))},
      {"scaling of rotary positions",
       rope.dims == 0 ||
           (rope.scaling == rope2.scaling && near(rope.factor, rope2.factor) &&
            (rope.scaling != RopeScaling::kYarn ||
             (near(rope.attention_factor, rope2.attention_factor) && near(rope.beta_fast, rope2.beta_fast) &&
              near(rope.beta_slow, rope2.beta_slow) && rope.whole_pairs == rope2.whole_pairs &&
              rope.original_context == rope2.original_context)) &&
            (rope.scaling != RopeScaling::kLongRope ||
             (near(rope.magnitude, rope2.magnitude) && near(rope.long_magnitude, rope2.long_magnitude) &&
              rope.original_context == rope2.original_context)) &&
            same_factors(rope.factors, rope2.factors) && same_factors(rope.long_factors, rope2.long_factors))},
      {"activation", spec.activation == got.activation && spec.gated == got.gated && spec.ffn_bias == got.ffn_bias},
      {"limits of the activation",
       spec.activation != Activation::kClampedSwiGlu ||
           (near(f(spec.swiglu_alpha), f(got.swiglu_alpha)) && near(f(spec.swiglu_limit), f(got.swiglu_limit)))},
      {"multipliers",
       near(f(spec.embedding_scale), f(got.embedding_scale)) && near(f(spec.residual_scale), f(got.residual_scale)) &&
           near(f(spec.logit_scale), f(got.logit_scale)) && near(f(spec.logit_softcap), f(got.logit_softcap))},
      {"number of layers", spec.layers.size() == got.layers.size()},
  };
  if (spec.has_experts()) {
    const bool alike_scores =
        r.score == s.score ||  // softmax and renormalising is softmax of the chosen
        (r.score == RouterScore::kTopKSoftmax && s.score == RouterScore::kSoftmax && s.renormalize);
    checks.emplace_back("router", alike_scores && r.top_k == s.top_k && r.bias == s.bias &&
                                      r.choice_bias == s.choice_bias && near(f(r.scale), f(s.scale)) &&
                                      near(f(r.softcap), f(s.softcap)) && near(f(r.jitter), f(s.jitter)));
    checks.emplace_back("weights of chosen experts (renormalised or not)", r.score == RouterScore::kTopKSoftmax ||
                                                                               r.score == RouterScore::kSparseMixer ||
                                                                               r.renormalize == s.renormalize);
    checks.emplace_back(
        "groups of experts",
        r.groups == s.groups && (r.groups == 1 || (r.top_groups == s.top_groups && r.group_score == s.group_score)));
    checks.emplace_back("gate of the shared expert", spec.shared_gate == got.shared_gate);
  }
  for (std::size_t i = 0; i < std::min(spec.layers.size(), got.layers.size()); ++i) {
    const LayerSpec& x = spec.layers[i];
    const LayerSpec& y = got.layers[i];
    checks.emplace_back("networks of some layers",
                        x.ff == y.ff && x.experts == y.experts && x.shared_ff == y.shared_ff);
    checks.emplace_back("windows or rotation of some layers", x.window == y.window && x.rope == y.rope);
  }
  for (const auto& [what, same] : checks) {
    if (!same) {
      return Unsupported(fmt::format("GGUF's '{}' has no way to say this model's {}", family->architecture, what));
    }
  }
  return {};
}

}  // namespace quorum::engine
