// Phi-3 (dense, with fused tensors) and Phi-3.5-MoE.
#include <fmt/format.h>

#include "engine/hf_family.h"
#include "engine/tensor_views.h"

namespace quorum::engine {
namespace {

/// Queries, keys and values from one matrix; gate and up from another.
Status FusedLayer(HfTensors& from, const std::string& prefix, const ModelSpec& spec, std::int64_t ff,
                  LayerTensors& layer) {
  const std::int64_t q_rows = std::int64_t{spec.attention.heads} * spec.attention.head_dim;
  const std::int64_t kv_rows = std::int64_t{spec.attention.kv_heads} * spec.attention.head_dim;
  const auto fused = [&](const std::string& name, std::int64_t rows) -> Result<TensorRef> {
    QUORUM_ASSIGN(TensorRef matrix, from.Linear(prefix + name));
    if (matrix.rows == rows) return matrix;
    return InvalidArgument(
        fmt::format("{}: tensor '{}' has {} rows, expected {}", from.path(), matrix.name, matrix.rows, rows));
  };
  QUORUM_ASSIGN(layer.attention_norm, from.Required(prefix + "input_layernorm.weight"));
  QUORUM_ASSIGN(const TensorRef qkv, fused("self_attn.qkv_proj", q_rows + 2 * kv_rows));
  layer.q = RowsOf(qkv, qkv.name + ".q", 0, q_rows);
  layer.k = RowsOf(qkv, qkv.name + ".k", q_rows, kv_rows);
  layer.v = RowsOf(qkv, qkv.name + ".v", q_rows + kv_rows, kv_rows);
  QUORUM_ASSIGN(layer.output, from.Linear(prefix + "self_attn.o_proj"));
  QUORUM_ASSIGN(layer.ffn_norm, from.Required(prefix + "post_attention_layernorm.weight"));
  NetworkTensors network;
  QUORUM_ASSIGN(const TensorRef both, fused("mlp.gate_up_proj", 2 * ff));
  network.gate = RowsOf(both, both.name + ".gate", 0, ff);
  network.up = RowsOf(both, both.name + ".up", ff, ff);
  QUORUM_ASSIGN(network.down, from.Linear(prefix + "mlp.down_proj"));
  layer.networks.push_back(std::move(network));
  return {};
}

}  // namespace

Status HfPhi3Spec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfDecoderSpec(folder, spec));
  for (const std::string_view bias : {"attention_bias", "mlp_bias", "lm_head_bias"}) {  // Phi-4-mini has the keys
    QUORUM_TRY(folder.config.OnlyBool(bias, false));
  }
  folder.config.Ignore({"full_attn_mod", "interpolate_factor"});  // Phi-4-mini again; its published code reads neither
  return HfWindows(folder.config, 0, 0, spec);
}

Status HfPhi3Tensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors) {
  QUORUM_TRY(HfEnds(from, spec, tensors));
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    LayerTensors layer;
    QUORUM_TRY(FusedLayer(from, fmt::format("model.layers.{}.", i), spec, spec.layers[i].ff, layer));
    tensors.layers.push_back(std::move(layer));
  }
  return {};
}

Status HfPhimoeSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfDecoderSpec(folder, spec));
  QUORUM_TRY(HfWindows(folder.config, 0, 0, spec));
  const HfConfig& config = folder.config;
  spec.norm = NormKind::kLayer;
  QUORUM_ASSIGN(spec.attention.qkv_bias, config.BoolOr("attention_bias", false));
  spec.attention.output_bias = spec.attention.qkv_bias;
  QUORUM_ASSIGN(spec.logit_bias, config.BoolOr("lm_head_bias", false));
  spec.router.score = RouterScore::kSparseMixer;
  QUORUM_ASSIGN(const double jitter, config.FloatOr("router_jitter_noise", 0.01));
  spec.router.jitter = static_cast<float>(jitter);
  config.Ignore({"input_jitter_noise"});  // of training
  return HfExperts(config, "num_local_experts", spec.layers.front().ff, spec);
}

}  // namespace quorum::engine
