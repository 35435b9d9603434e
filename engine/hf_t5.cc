// T5 (Raffel et al. 2020; also Flan-T5, mT5 and T5 1.1) and Switch Transformers (Fedus et al. 2022): encoder-decoders.
//
// Switch Transformers were trained with a limit on the tokens of an expert in a batch, beyond which transformers drops
// tokens ("expert_capacity"). Here no token is ever dropped: what an expert gives must not depend on what else is in a
// batch. Jitter on the router's input belongs to training.
#include <cmath>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "engine/hf_family.h"

namespace quorum::engine {
namespace {

/// Sizes, norms and positions that T5 and Switch Transformers say alike; all layers are dense.
Status Stacks(const HfFolder& folder, ModelSpec& spec) {
  const HfConfig& config = folder.config;
  QUORUM_TRY(config.OnlyBool("is_encoder_decoder", true));
  QUORUM_ASSIGN(spec.vocab_size, config.RequiredInt("vocab_size", 1, 1 << 24));
  QUORUM_ASSIGN(spec.d_model, config.RequiredInt("d_model", 1, 1 << 17));
  QUORUM_ASSIGN(const std::int32_t layers, config.RequiredInt("num_layers", 1, 1024));
  QUORUM_ASSIGN(const std::int32_t decoder_layers, config.IntOr("num_decoder_layers", layers, 1, 1024));
  QUORUM_ASSIGN(const std::int32_t ff, config.RequiredInt("d_ff", 1, 1 << 20));
  // Relative positions have no end: this is the length of the training's texts.
  QUORUM_ASSIGN(spec.context_length, config.IntOr("n_positions", 512, 1, 1 << 20));
  QUORUM_ASSIGN(spec.attention.heads, config.RequiredInt("num_heads", 1, 4096));
  spec.attention.kv_heads = spec.attention.heads;
  QUORUM_ASSIGN(spec.attention.head_dim, config.RequiredInt("d_kv", 1, 1024));
  spec.attention.scale = 1.0F;  // folded into the initial weights
  QUORUM_ASSIGN(spec.relative_bias.buckets, config.IntOr("relative_attention_num_buckets", 32, 4, 4096));
  QUORUM_ASSIGN(spec.relative_bias.max_distance, config.IntOr("relative_attention_max_distance", 128, 1, 1 << 16));
  QUORUM_ASSIGN(const double eps, config.FloatOr("layer_norm_epsilon", 1e-6));
  if (!(eps > 0.0 && eps < 1.0)) {
    return config.Fault("layer_norm_epsilon", fmt::format("is {}, expected a number between 0 and 1", eps));
  }
  spec.norm_eps = static_cast<float>(eps);
  QUORUM_ASSIGN(const std::int32_t pad, config.IntOr("pad_token_id", 0));
  QUORUM_ASSIGN(spec.decoder_start, config.IntOr("decoder_start_token_id", pad, 0, spec.vocab_size - 1));

  // Where the output matrix is the embedding, the decoder's last rows are scaled. Files of T5 1.1 call the two untied;
  // transformers 5 writes the scaling under a name of its own.
  spec.tied_embeddings = folder.weights.Find("lm_head.weight") == nullptr;
  // mT5's are never scaled.
  QUORUM_ASSIGN(const bool tied, config.BoolOr("tie_word_embeddings", true));
  QUORUM_ASSIGN(const bool scaled, config.BoolOr("scale_decoder_outputs", tied && spec.architecture != "mt5"));
  if (scaled) spec.logit_scale = 1.0F / std::sqrt(static_cast<float>(spec.d_model));

  LayerSpec layer;
  layer.ff = ff;
  spec.encoder.assign(static_cast<std::size_t>(layers), layer);
  spec.layers.assign(static_cast<std::size_t>(decoder_layers), layer);
  config.Ignore({"dropout_rate", "initializer_factor", "classifier_dropout", "is_decoder", "add_cross_attention",
                 "is_gated_act", "dense_act_fn", "task_specific_params", "output_past"});
  return {};
}

Status SetActivation(const HfConfig& config, std::string_view key, std::string_view name, ModelSpec& spec) {
  if (name == "relu") {
    spec.activation = Activation::kRelu;
  } else if (name == "gelu_new" || name == "gelu_pytorch_tanh") {
    spec.activation = Activation::kGelu;
  } else if (name == "silu" || name == "swish") {
    spec.activation = Activation::kSilu;
  } else {
    return config.Lacks(key);
  }
  return {};
}

/// transformers makes layer i sparse if i % step == 1, or all if step is 1, with step = layers / sparse layers.
Status Sparse(const HfConfig& config, std::string_view key, std::int32_t experts, std::vector<LayerSpec>& layers) {
  const auto count = static_cast<std::int32_t>(layers.size());
  QUORUM_ASSIGN(const std::int32_t sparse, config.IntOr(key, 3));
  const std::int32_t step = sparse > 0 ? count / sparse : count;
  for (std::int32_t i = 0; i < count; ++i) {
    if (step == 1 || (step > 0 && i % step == 1)) layers[static_cast<std::size_t>(i)].experts = experts;
  }
  return {};
}

/// q, k, v, o below `prefix`.
template <typename Target>
Status Projections(HfTensors& from, const std::string& prefix, Target& target) {
  QUORUM_ASSIGN(target.q, from.Linear(prefix + "q"));
  QUORUM_ASSIGN(target.k, from.Linear(prefix + "k"));
  QUORUM_ASSIGN(target.v, from.Linear(prefix + "v"));
  QUORUM_ASSIGN(target.output, from.Linear(prefix + "o"));
  return {};
}

Result<NetworkTensors> Network(HfTensors& from, const std::string& prefix, bool gated) {
  NetworkTensors network;
  if (gated) {
    QUORUM_ASSIGN(network.gate, from.Linear(prefix + "wi_0"));
    QUORUM_ASSIGN(network.up, from.Linear(prefix + "wi_1"));
  } else {
    QUORUM_ASSIGN(network.up, from.Linear(prefix + "wi"));
  }
  QUORUM_ASSIGN(network.down, from.Linear(prefix + "wo"));
  return network;
}

/// Layer `i` of "encoder" or "decoder".
Result<LayerTensors> Layer(HfTensors& from, const ModelSpec& spec, bool decoder, std::size_t i,
                           const LayerSpec& shape) {
  const std::string prefix = fmt::format("{}.block.{}.layer.", decoder ? "decoder" : "encoder", i);
  LayerTensors layer;
  QUORUM_ASSIGN(layer.attention_norm, from.Required(prefix + "0.layer_norm.weight"));
  QUORUM_TRY(Projections(from, prefix + "0.SelfAttention.", layer));
  if (decoder) {
    CrossTensors cross;
    QUORUM_ASSIGN(cross.norm, from.Required(prefix + "1.layer_norm.weight"));
    QUORUM_TRY(Projections(from, prefix + "1.EncDecAttention.", cross));
    from.Ignore(prefix + "1.EncDecAttention.relative_attention_bias.weight");  // in T5's first files; was never used
    layer.cross = std::move(cross);
  }
  const std::string ffn = prefix + (decoder ? "2." : "1.");
  QUORUM_ASSIGN(layer.ffn_norm, from.Required(ffn + "layer_norm.weight"));
  if (shape.experts > 0) {
    QUORUM_ASSIGN(layer.router, from.Required(ffn + "mlp.router.classifier.weight"));
    for (std::int32_t e = 0; e < shape.experts; ++e) {
      QUORUM_ASSIGN(NetworkTensors network, Network(from, fmt::format("{}mlp.experts.expert_{}.", ffn, e), spec.gated));
      layer.networks.push_back(std::move(network));
    }
  } else {
    const std::string dense = from.Has(ffn + "mlp.wo.weight") ? "mlp." : "DenseReluDense.";
    QUORUM_ASSIGN(NetworkTensors network, Network(from, ffn + dense, spec.gated));
    layer.networks.push_back(std::move(network));
  }
  return layer;
}

}  // namespace

Status HfT5Spec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(Stacks(folder, spec));
  QUORUM_ASSIGN(std::string projection,
                folder.config.StringOr("feed_forward_proj", spec.architecture == "mt5" ? "gated-gelu" : "relu"));
  spec.gated = projection.starts_with("gated-");
  if (projection == "gated-gelu") projection = "gated-gelu_new";  // as transformers reads it
  return SetActivation(folder.config, "feed_forward_proj", projection.substr(spec.gated ? 6 : 0), spec);
}

Status HfSwitchSpec(const HfFolder& folder, ModelSpec& spec) {
  const HfConfig& config = folder.config;
  QUORUM_TRY(Stacks(folder, spec));
  QUORUM_ASSIGN(const std::string activation, config.StringOr("dense_act_fn", "relu"));
  spec.gated = false;
  QUORUM_TRY(SetActivation(config, "dense_act_fn", activation, spec));
  QUORUM_ASSIGN(const std::int32_t experts, config.RequiredInt("num_experts", 1, kMaxExperts));
  QUORUM_TRY(Sparse(config, "num_sparse_encoder_layers", experts, spec.encoder));
  QUORUM_TRY(Sparse(config, "num_sparse_decoder_layers", experts, spec.layers));
  spec.router = {.score = RouterScore::kSoftmax, .top_k = 1, .renormalize = false};
  QUORUM_TRY(config.OnlyBool("router_bias", false));
  config.Ignore({"expert_capacity", "encoder_sparse_step", "decoder_sparse_step", "router_jitter_noise", "router_dtype",
                 "router_ignore_padding_tokens", "router_z_loss_coef", "router_aux_loss_coef", "add_router_probs",
                 "router_type", "batch_prioritized_routing", "feed_forward_proj"});
  return {};
}

Status HfT5Tensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors) {
  const auto bias = [&](const std::string& stack) {
    return from.Required(stack + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight");
  };
  const char* embedding = from.Has("shared.weight") ? "shared.weight" : "decoder.embed_tokens.weight";
  QUORUM_ASSIGN(tensors.embedding, from.Required(embedding));
  from.Ignore("encoder.embed_tokens.weight");  // the same again
  from.Ignore("decoder.embed_tokens.weight");
  QUORUM_ASSIGN(tensors.encoder_position_bias, bias("encoder"));
  QUORUM_ASSIGN(tensors.position_bias, bias("decoder"));
  QUORUM_ASSIGN(tensors.encoder_norm, from.Required("encoder.final_layer_norm.weight"));
  QUORUM_ASSIGN(tensors.final_norm, from.Required("decoder.final_layer_norm.weight"));
  QUORUM_ASSIGN(tensors.output, from.Optional("lm_head.weight"));
  for (std::size_t i = 0; i < spec.encoder.size(); ++i) {
    QUORUM_ASSIGN(LayerTensors layer, Layer(from, spec, false, i, spec.encoder[i]));
    tensors.encoder.push_back(std::move(layer));
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    QUORUM_ASSIGN(LayerTensors layer, Layer(from, spec, true, i, spec.layers[i]));
    tensors.layers.push_back(std::move(layer));
  }
  return {};
}

}  // namespace quorum::engine
