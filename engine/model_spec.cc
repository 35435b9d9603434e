#include "engine/model_spec.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include <fmt/format.h>

namespace quorum::engine {
namespace {

Status InRange(std::string_view what, std::int64_t value, std::int64_t lowest, std::int64_t highest) {
  if (value >= lowest && value <= highest) return {};
  return InvalidArgument(fmt::format("{} is {}, expected {} to {}", what, value, lowest, highest));
}

Status Positive(std::string_view what, double value) {
  if (std::isfinite(value) && value > 0) return {};
  return InvalidArgument(fmt::format("{} is {}, expected a positive number", what, value));
}

Status ZeroOrMore(std::string_view what, double value) {
  if (std::isfinite(value) && value >= 0) return {};
  return InvalidArgument(fmt::format("{} is {}, expected 0 or more", what, value));
}

Status CheckRopeFactors(const std::vector<float>& factors, std::int32_t dims) {
  if (std::ssize(factors) != dims / 2) {
    return InvalidArgument(fmt::format("rope has {} frequency factors, expected {}", factors.size(), dims / 2));
  }
  for (const float factor : factors) {
    if (!(factor >= 0.01F && factor <= 1e6F)) {
      return InvalidArgument(fmt::format("a rope frequency factor is {}, expected 0.01 to 1e6", factor));
    }
  }
  return {};
}

Status CheckRope(const RopeSpec& rope, std::int32_t head_dim) {
  QUORUM_TRY(InRange("rotated dimensions", rope.dims, 0, head_dim));
  if (rope.dims % 2 != 0)
    return InvalidArgument(fmt::format("rotated dimensions are {}, expected an even number", rope.dims));
  if (!(rope.base > 1.0 && rope.base <= 1e12)) {
    return InvalidArgument(fmt::format("rope frequency base is {}, expected above 1 and up to 1e12", rope.base));
  }
  // Angles stay below 2^20 * 100, which the range reduction in rope.cc handles exactly enough.
  if (!(rope.factor >= 0.01 && rope.factor <= 1e6)) {
    return InvalidArgument(fmt::format("rope scaling factor is {}, expected 0.01 to 1e6", rope.factor));
  }
  if (rope.scaling == RopeScaling::kYarn) {
    QUORUM_TRY(InRange("original context of YaRN", rope.original_context, 1, 1 << 20));
    QUORUM_TRY(Positive("YaRN's attention factor", rope.attention_factor));
    QUORUM_TRY(Positive("YaRN's beta_fast", rope.beta_fast));
    QUORUM_TRY(Positive("YaRN's beta_slow", rope.beta_slow));
  }
  if (rope.scaling == RopeScaling::kLongRope) {
    QUORUM_TRY(InRange("original context of LongRoPE", rope.original_context, 1, 1 << 20));
    QUORUM_TRY(Positive("LongRoPE's magnitude", rope.magnitude));
    QUORUM_TRY(Positive("LongRoPE's magnitude of long contexts", rope.long_magnitude));
    QUORUM_TRY(CheckRopeFactors(rope.long_factors, rope.dims));
    return CheckRopeFactors(rope.factors, rope.dims);
  }
  return rope.factors.empty() ? Status() : CheckRopeFactors(rope.factors, rope.dims);
}

Status CheckRelativeBias(const RelativeBiasSpec& bias) {
  if (bias.buckets == 0) return {};
  QUORUM_TRY(InRange("relative position buckets", bias.buckets, 4, 4096));
  if (bias.buckets % 4 != 0) {
    return Unsupported(fmt::format("relative position buckets are {}, expected a multiple of 4", bias.buckets));
  }
  return InRange("distance of the last relative position bucket", bias.max_distance, bias.buckets / 2 + 1, 1 << 16);
}

Status CheckLatent(const AttentionSpec& attention, const RopeSpec& rope) {
  const LatentSpec& latent = attention.latent;
  QUORUM_TRY(InRange("rank of the key/value latent", latent.kv_rank, 1, 8192));
  QUORUM_TRY(InRange("rank of the queries", latent.q_rank, 0, 1 << 16));
  QUORUM_TRY(InRange("unrotated dimensions of a head", latent.nope_dim, 1, 1024));
  QUORUM_TRY(InRange("rotated dimensions of a head", latent.rope_dim, 2, 1024));
  QUORUM_TRY(InRange("dimensions of a value head", latent.value_dim, 1, 1024));
  if (attention.kv_heads != 1 || attention.head_dim != latent.nope_dim + latent.rope_dim ||
      rope.dims != latent.rope_dim) {
    return InvalidArgument(fmt::format(
        "latent attention has {} key/value heads, {} dimensions a head and {} rotated ones, expected 1, {} and {}",
        attention.kv_heads, attention.head_dim, rope.dims, latent.nope_dim + latent.rope_dim, latent.rope_dim));
  }
  if (attention.qkv_bias || attention.qk_norm != QkNorm::kNone || attention.qkv_clamp != 0) {
    return Unsupported("latent attention with biases, clamps or norms of query and key heads");
  }
  return {};
}

Status CheckAttention(const AttentionSpec& attention) {
  QUORUM_TRY(InRange("attention heads", attention.heads, 1, 4096));
  QUORUM_TRY(InRange("key/value heads", attention.kv_heads, 1, attention.heads));
  if (attention.heads % attention.kv_heads != 0) {
    return InvalidArgument(fmt::format("attention heads ({}) are not a multiple of the key/value heads ({})",
                                       attention.heads, attention.kv_heads));
  }
  QUORUM_TRY(InRange("head dimension", attention.head_dim, 1, attention.is_latent() ? 2048 : 1024));
  QUORUM_TRY(Positive("attention scale", static_cast<double>(attention.scale)));
  QUORUM_TRY(ZeroOrMore("clamp of queries, keys and values", static_cast<double>(attention.qkv_clamp)));
  return ZeroOrMore("attention soft-cap", static_cast<double>(attention.softcap));
}

Status CheckRouter(const RouterSpec& router, std::int32_t experts) {
  QUORUM_TRY(InRange("experts used for a token", router.top_k, 1, experts));
  QUORUM_TRY(InRange("groups of experts", router.groups, 1, experts));
  QUORUM_TRY(InRange("groups of experts that are used", router.top_groups, 1, router.groups));
  if (experts % router.groups != 0) {
    return InvalidArgument(
        fmt::format("{} experts cannot be cut into {} groups of equal size", experts, router.groups));
  }
  const std::int32_t reachable = experts / router.groups * router.top_groups;
  if (router.top_k > reachable) {
    return InvalidArgument(fmt::format("a token uses {} experts, but its {} of {} groups hold only {}", router.top_k,
                                       router.top_groups, router.groups, reachable));
  }
  if (router.score == RouterScore::kTopKSoftmax && (router.groups > 1 || router.choice_bias)) {
    return Unsupported("groups of experts or a bias on their choice, where the softmax follows the choice");
  }
  return {};
}

Status CheckLayer(const ModelSpec& spec, const LayerSpec& layer) {
  QUORUM_TRY(InRange("attention window", layer.window, 0, 1 << 30));
  QUORUM_TRY(InRange("feed-forward width", layer.ff, 1, 1 << 20));
  QUORUM_TRY(InRange("experts", layer.experts, 0, kMaxExperts));
  QUORUM_TRY(InRange("width of the shared expert", layer.shared_ff, 0, 1 << 20));
  if (layer.experts > 0) QUORUM_TRY(CheckRouter(spec.router, layer.experts));
  if (layer.experts == 0 && layer.shared_ff > 0) return InvalidArgument("a dense layer has a shared expert");
  return {};
}

/// What layers of an encoder-decoder model may be: those of T5.
Status CheckEncoder(const ModelSpec& spec) {
  if (spec.encoder.empty()) return {};
  QUORUM_TRY(InRange("layers of the encoder", std::ssize(spec.encoder), 1, 1024));
  QUORUM_TRY(InRange("token at the decoder's start", spec.decoder_start, 0, spec.vocab_size - 1));
  const AttentionSpec& attention = spec.attention;
  std::string_view lacking;
  if (spec.norm != NormKind::kRms || spec.post_norms) lacking = "layer norms, or norms behind blocks";
  if (spec.rope.dims > 0) lacking = "rotary positions";
  if (attention.qkv_bias || attention.output_bias) lacking = "biases in attention";
  if (attention.qk_norm != QkNorm::kNone || attention.sinks) lacking = "norms of queries and keys, or sinks";
  if (attention.qkv_clamp != 0) lacking = "clamped queries, keys and values";
  for (const std::vector<LayerSpec>* stack : {&spec.encoder, &spec.layers}) {
    for (const LayerSpec& layer : *stack) {
      if (layer.window > 0) lacking = "attention windows";
    }
  }
  if (lacking.empty()) return {};
  return Unsupported(fmt::format("an encoder-decoder model with {} is not supported", lacking));
}

std::int64_t ActiveWeights(const ModelSpec& spec, const std::vector<LayerSpec>& layers, std::int32_t attentions) {
  const std::int64_t d = spec.d_model;
  const std::int64_t heads_width = std::int64_t{spec.attention.heads} * spec.attention.head_dim;
  const std::int64_t kv_width = std::int64_t{spec.attention.kv_heads} * spec.attention.head_dim;
  std::int64_t of_attention = 2 * d * (heads_width + kv_width);
  if (spec.attention.is_latent()) {
    const LatentSpec& latent = spec.attention.latent;
    const std::int64_t of_queries = latent.q_rank > 0 ? latent.q_rank * (d + heads_width) : d * heads_width;
    of_attention = of_queries + d * (latent.kv_rank + latent.rope_dim) +
                   std::int64_t{spec.attention.heads} * latent.kv_rank * (latent.nope_dim + latent.value_dim) +
                   d * spec.attention.output_width();
  }
  std::int64_t sum = 0;
  for (const LayerSpec& layer : layers) {
    const std::int64_t visited = layer.experts > 0 ? spec.router.top_k : 1;
    sum += attentions * of_attention + d * layer.experts;
    sum += (spec.gated ? 3 : 2) * d * (visited * layer.ff + layer.shared_ff);
  }
  return sum;
}

}  // namespace

bool ModelSpec::has_experts() const { return max_experts() > 0; }

std::int32_t ModelSpec::max_experts() const {
  std::int32_t most = 0;
  for (const LayerSpec& layer : layers) most = std::max(most, layer.experts);
  for (const LayerSpec& layer : encoder) most = std::max(most, layer.experts);
  return most;
}

std::int64_t ModelSpec::active_weights() const {
  const std::int64_t decoder = ActiveWeights(*this, layers, encoder.empty() ? 1 : 2);
  return std::int64_t{d_model} * vocab_size + std::max(decoder, ActiveWeights(*this, encoder, 1));
}

std::int32_t ModelSpec::max_ff() const {
  std::int32_t most = 0;
  for (const LayerSpec& layer : layers) most = std::max({most, layer.ff, layer.shared_ff});
  for (const LayerSpec& layer : encoder) most = std::max({most, layer.ff, layer.shared_ff});
  return most;
}

Status CheckSpec(const ModelSpec& spec) {
  QUORUM_TRY(InRange("vocabulary", spec.vocab_size, 1, 1 << 24));
  QUORUM_TRY(InRange("embedding length", spec.d_model, 1, 1 << 17));
  QUORUM_TRY(InRange("context length", spec.context_length, 1, 1 << 20));
  QUORUM_TRY(InRange("layers", std::ssize(spec.layers), 1, 1024));
  QUORUM_TRY(Positive("norm epsilon", static_cast<double>(spec.norm_eps)));
  QUORUM_TRY(Positive("embedding scale", static_cast<double>(spec.embedding_scale)));
  QUORUM_TRY(Positive("residual scale", static_cast<double>(spec.residual_scale)));
  QUORUM_TRY(Positive("logit scale", static_cast<double>(spec.logit_scale)));
  QUORUM_TRY(ZeroOrMore("logit soft-cap", static_cast<double>(spec.logit_softcap)));
  QUORUM_TRY(Positive("router scale", static_cast<double>(spec.router.scale)));
  QUORUM_TRY(ZeroOrMore("router soft-cap", static_cast<double>(spec.router.softcap)));
  QUORUM_TRY(ZeroOrMore("router jitter", static_cast<double>(spec.router.jitter)));
  QUORUM_TRY(Positive("SwiGLU's alpha", static_cast<double>(spec.swiglu_alpha)));
  QUORUM_TRY(Positive("SwiGLU's limit", static_cast<double>(spec.swiglu_limit)));
  QUORUM_TRY(CheckAttention(spec.attention));
  QUORUM_TRY(CheckRope(spec.rope, spec.attention.head_dim));
  QUORUM_TRY(CheckRelativeBias(spec.relative_bias));
  if (spec.attention.is_latent()) {
    QUORUM_TRY(CheckLatent(spec.attention, spec.rope));
    if (!std::all_of(spec.layers.begin(), spec.layers.end(), [](const LayerSpec& layer) { return layer.rope; })) {
      return Unsupported("latent attention with layers that are not rotated");
    }
  }
  for (const LayerSpec& layer : spec.layers) QUORUM_TRY(CheckLayer(spec, layer));
  for (const LayerSpec& layer : spec.encoder) QUORUM_TRY(CheckLayer(spec, layer));
  if (!spec.gated && spec.activation == Activation::kClampedSwiGlu) {
    return Unsupported("clamped SwiGLU without a gate is not supported");
  }
  return CheckEncoder(spec);
}

std::string DescribeSpec(const ModelSpec& spec) {
  const AttentionSpec& attention = spec.attention;
  const std::string stacks = spec.encoder.empty() ? fmt::format("{} layers", spec.layers.size())
                                                  : fmt::format("an encoder of {} and a decoder of {} layers",
                                                                spec.encoder.size(), spec.layers.size());
  const std::string keys = attention.is_latent()
                               ? fmt::format("a latent of {} + {}", attention.latent.kv_rank, attention.latent.rope_dim)
                               : fmt::format("{} key/value heads", attention.kv_heads);
  std::string text =
      fmt::format("{}: {}, width {}, {} heads of {} over {}, vocabulary {}, context {}", spec.architecture, stacks,
                  spec.d_model, attention.heads, attention.head_dim, keys, spec.vocab_size, spec.context_length);
  if (spec.has_experts()) {
    text += fmt::format(", {} experts of width {}, {} for a token", spec.max_experts(), spec.layers.back().ff,
                        spec.router.top_k);
    if (spec.router.groups > 1) {
      text += fmt::format(" from {} of {} groups", spec.router.top_groups, spec.router.groups);
    }
    if (spec.layers.back().shared_ff > 0) text += fmt::format(", a shared expert of {}", spec.layers.back().shared_ff);
  } else {
    text += fmt::format(", feed-forward width {}", spec.max_ff());
  }
  return text;
}

}  // namespace quorum::engine
