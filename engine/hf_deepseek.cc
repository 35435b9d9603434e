// DeepSeek-V2 and V3, and Kimi-K2, which has V3's shape.
#include <cmath>

#include <fmt/format.h>

#include "engine/hf_family.h"
#include "engine/rope.h"
#include "engine/tensor_views.h"

namespace quorum::engine {
namespace {

/// YaRN's temperature on the scores (modeling_deepseek_v3.py, yarn_apply_mscale).
Result<double> ScoreTemperature(const HfConfig& config, const RopeSpec& rope) {
  if (rope.scaling != RopeScaling::kYarn) return 1.0;
  QUORUM_ASSIGN(std::optional<HfConfig> section, config.Section("rope_parameters"));
  if (!section) {
    QUORUM_ASSIGN(section, config.Section("rope_scaling"));
  }
  if (!section) return 1.0;
  QUORUM_ASSIGN(const double mscale_all_dim, section->FloatOr("mscale_all_dim", 0.0));
  const double temperature = YarnTemperature(rope.factor, mscale_all_dim);
  return temperature * temperature;
}

Status LatentAttention(const HfConfig& config, ModelSpec& spec) {
  AttentionSpec& attention = spec.attention;
  LatentSpec& latent = attention.latent;
  QUORUM_TRY(config.OnlyBool("attention_bias", false));
  QUORUM_ASSIGN(latent.kv_rank, config.RequiredInt("kv_lora_rank", 4, 8192));
  QUORUM_ASSIGN(latent.q_rank, config.IntOr("q_lora_rank", 0, 0, 1 << 16));  // null: none
  QUORUM_ASSIGN(latent.nope_dim, config.RequiredInt("qk_nope_head_dim", 1, 1024));
  QUORUM_ASSIGN(latent.rope_dim, config.RequiredInt("qk_rope_head_dim", 2, 1024));
  QUORUM_ASSIGN(latent.value_dim, config.RequiredInt("v_head_dim", 1, 1024));
  attention.kv_heads = 1;
  attention.head_dim = latent.nope_dim + latent.rope_dim;
  spec.rope.dims = latent.rope_dim;
  QUORUM_ASSIGN(const bool interleaved, config.BoolOr("rope_interleave", true));
  spec.rope.pairs = interleaved ? RopePairs::kInterleaved : RopePairs::kNeox;
  QUORUM_ASSIGN(const double temperature, ScoreTemperature(config, spec.rope));
  attention.scale = static_cast<float>(temperature / std::sqrt(static_cast<double>(attention.head_dim)));
  config.Ignore({"qk_head_dim", "head_dim"});
  return {};
}

/// `first` and `shared` are what absent keys mean. Experts from layer `first` on, or in every n-th layer of these, with
/// what shared experts there are in one.
Status Experts(const HfConfig& config, std::int32_t first, std::int32_t shared, ModelSpec& spec) {
  QUORUM_ASSIGN(first, config.IntOr("first_k_dense_replace", first, 0));
  QUORUM_ASSIGN(const std::int32_t period, config.IntOr("moe_layer_freq", 1, 1));
  QUORUM_ASSIGN(const std::int32_t ff, config.RequiredInt("moe_intermediate_size", 1, 1 << 20));
  QUORUM_ASSIGN(shared, config.IntOr("n_shared_experts", config.IsNull("n_shared_experts") ? 0 : shared, 0, 1024));
  const std::int32_t dense_ff = spec.layers.front().ff;
  QUORUM_TRY(HfExperts(config, "n_routed_experts", ff, spec));
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    LayerSpec& layer = spec.layers[i];
    const auto at = static_cast<std::int32_t>(i);
    if (at < first || at % period != 0) {
      layer.experts = 0;
      layer.ff = dense_ff;
    } else {
      layer.shared_ff = shared * ff;
    }
  }
  config.Ignore({"aux_loss_alpha", "seq_aux", "ep_size", "num_nextn_predict_layers", "num_mtp_layers"});
  return {};
}

Status Router(const HfConfig& config, double scale, bool renormalize, ModelSpec& spec) {
  RouterSpec& router = spec.router;
  QUORUM_ASSIGN(scale, config.FloatOr("routed_scaling_factor", scale));
  router.scale = static_cast<float>(scale);
  QUORUM_ASSIGN(router.renormalize, config.BoolOr("norm_topk_prob", renormalize));
  return {};
}

Status Groups(const HfConfig& config, std::int32_t groups, std::int32_t top_groups, GroupScore score, ModelSpec& spec) {
  RouterSpec& router = spec.router;
  QUORUM_ASSIGN(router.groups, config.IntOr("n_group", groups, 1));
  QUORUM_ASSIGN(router.top_groups, config.IntOr("topk_group", top_groups, 1));
  router.group_score = score;
  return {};
}

/// kv_b_proj holds, for each head, the rows that make its keys and then those that make its values.
Status LatentUp(HfTensors& from, const AttentionSpec& attention, const std::string& prefix, LatentTensors& latent) {
  const LatentSpec& shape = attention.latent;
  QUORUM_ASSIGN(const TensorRef both, from.Linear(prefix + "kv_b_proj"));
  const std::int64_t each = shape.nope_dim + shape.value_dim;
  if (both.rows != attention.heads * each) {
    return InvalidArgument(fmt::format("{}: tensor '{}' has {} rows, expected {}", from.path(), both.name, both.rows,
                                       attention.heads * each));
  }
  latent.k_up_transposed = true;
  for (std::int64_t head = 0; head < attention.heads; ++head) {
    latent.k_up.push_back(RowsOf(both, fmt::format("{}.keys[{}]", both.name, head), head * each, shape.nope_dim));
    latent.v_up.push_back(
        RowsOf(both, fmt::format("{}.values[{}]", both.name, head), head * each + shape.nope_dim, shape.value_dim));
  }
  return {};
}

}  // namespace

Status HfDeepseekV2Spec(const HfFolder& folder, ModelSpec& spec) {
  const HfConfig& config = folder.config;
  QUORUM_TRY(HfDecoderSpec(folder, spec));
  QUORUM_TRY(LatentAttention(config, spec));
  QUORUM_TRY(config.OnlyBool("mlp_bias", false));
  QUORUM_TRY(config.OnlyString("scoring_func", {"softmax"}));
  QUORUM_TRY(Experts(config, 0, 2, spec));
  QUORUM_TRY(Router(config, 1.0, false, spec));
  QUORUM_TRY(config.OnlyString("topk_method", {"greedy", "group_limited_greedy"}));
  QUORUM_ASSIGN(const std::string method, config.StringOr("topk_method", "greedy"));
  if (method == "group_limited_greedy") return Groups(config, 1, 1, GroupScore::kMax, spec);
  config.Ignore({"n_group", "topk_group"});
  return {};
}

Status HfDeepseekV3Spec(const HfFolder& folder, ModelSpec& spec) {
  const HfConfig& config = folder.config;
  QUORUM_TRY(HfDecoderSpec(folder, spec));
  QUORUM_TRY(LatentAttention(config, spec));
  QUORUM_TRY(config.OnlyString("scoring_func", {"sigmoid"}));
  QUORUM_TRY(config.OnlyString("topk_method", {"noaux_tc"}));
  QUORUM_TRY(Experts(config, 3, 1, spec));
  QUORUM_TRY(Router(config, 2.5, true, spec));
  spec.router.score = RouterScore::kSigmoid;
  spec.router.choice_bias = true;
  return Groups(config, 8, 4, GroupScore::kTopTwo, spec);
}

Status HfDeepseekTensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors) {
  constexpr HfFfnNames kNames = {.shared = "mlp.shared_experts."};
  QUORUM_TRY(HfEnds(from, spec, tensors));
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    const std::string attention = prefix + "self_attn.";
    LayerTensors layer;
    QUORUM_ASSIGN(layer.attention_norm, from.Required(prefix + "input_layernorm.weight"));
    QUORUM_ASSIGN(layer.ffn_norm, from.Required(prefix + "post_attention_layernorm.weight"));
    LatentTensors latent;
    if (spec.attention.latent.q_rank > 0) {
      QUORUM_ASSIGN(latent.q_down, from.Linear(attention + "q_a_proj"));
      QUORUM_ASSIGN(latent.q_norm, from.Required(attention + "q_a_layernorm.weight"));
      QUORUM_ASSIGN(layer.q, from.Linear(attention + "q_b_proj"));
    } else {
      QUORUM_ASSIGN(layer.q, from.Linear(attention + "q_proj"));
    }
    QUORUM_ASSIGN(latent.kv_down, from.Linear(attention + "kv_a_proj_with_mqa"));
    QUORUM_ASSIGN(latent.kv_norm, from.Required(attention + "kv_a_layernorm.weight"));
    QUORUM_TRY(LatentUp(from, spec.attention, attention, latent));
    layer.latent = std::move(latent);
    QUORUM_ASSIGN(layer.output, from.Linear(attention + "o_proj"));
    QUORUM_TRY(HfFfn(from, prefix, spec, i, kNames, layer));
    if (spec.router.choice_bias && spec.layers[i].experts > 0) {
      QUORUM_ASSIGN(layer.choice_bias, from.Optional(prefix + "mlp.gate.e_score_correction_bias"));
    }
    tensors.layers.push_back(std::move(layer));
  }
  from.IgnorePredictionLayers(spec.layers.size());
  return {};
}

}  // namespace quorum::engine
