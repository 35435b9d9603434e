#include <cstdint>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "engine/gguf_tensors.h"
#include "engine/model_config.h"
#include "engine/t5_gguf.h"

namespace quorum::engine {
namespace {

Result<NetworkTensors> Network(TensorFinder& finder, const std::string& prefix, std::string_view suffix) {
  NetworkTensors network;
  const auto name = [&](std::string_view role, std::string_view kind) {
    return fmt::format("{}ffn_{}{}.{}", prefix, role, suffix, kind);
  };
  QUORUM_ASSIGN(network.up, finder.Required(name("up", "weight")));
  QUORUM_ASSIGN(network.down, finder.Required(name("down", "weight")));
  if (suffix.empty() && finder.Find(name("gate", "weight")) == nullptr && network.up.rows == 2 * network.down.cols) {
    network.gate = Rows(network.up, 0, network.down.cols);  // Phi-3 has both in one
    network.up = Rows(network.up, network.down.cols, network.down.cols);
  } else {
    QUORUM_ASSIGN(network.gate, finder.Required(name("gate", "weight")));
  }
  QUORUM_ASSIGN(network.gate_bias, finder.Optional(name("gate", "bias")));
  QUORUM_ASSIGN(network.up_bias, finder.Optional(name("up", "bias")));
  QUORUM_ASSIGN(network.down_bias, finder.Optional(name("down", "bias")));
  return network;
}

Result<NetworkTensors> Expert(TensorFinder& finder, const std::string& prefix, std::int64_t i, std::int64_t count) {
  NetworkTensors network;
  if (finder.Find(prefix + "ffn_gate_up_exps.weight") != nullptr) {  // gates first, ups behind them
    QUORUM_ASSIGN(const TensorRef both, finder.Slice(prefix + "ffn_gate_up_exps.weight", i, count));
    if (both.rows % 2 != 0) return finder.Fault(both, fmt::format("has {} rows, expected an even number", both.rows));
    network.gate = Rows(both, 0, both.rows / 2);
    network.up = Rows(both, both.rows / 2, both.rows / 2);
  } else if (finder.Find(prefix + "ffn_gate_exps.weight") != nullptr) {
    QUORUM_ASSIGN(network.gate, finder.Slice(prefix + "ffn_gate_exps.weight", i, count));
    QUORUM_ASSIGN(network.up, finder.Slice(prefix + "ffn_up_exps.weight", i, count));
  } else {
    return Network(finder, prefix, fmt::format(".{}", i));
  }
  QUORUM_ASSIGN(network.down, finder.Slice(prefix + "ffn_down_exps.weight", i, count));
  QUORUM_ASSIGN(network.gate_bias, finder.OptionalRow(prefix + "ffn_gate_exps.bias", i, count));
  QUORUM_ASSIGN(network.up_bias, finder.OptionalRow(prefix + "ffn_up_exps.bias", i, count));
  QUORUM_ASSIGN(network.down_bias, finder.OptionalRow(prefix + "ffn_down_exps.bias", i, count));
  return network;
}

/// Queries, keys and values with their biases, each on its own or all in one (`attn_qkv`).
Status QueryKeyValue(TensorFinder& finder, const AttentionSpec& attention, const std::string& prefix,
                     LayerTensors& layer) {
  const std::int64_t q_rows = std::int64_t{attention.heads} * attention.head_dim;
  const std::int64_t kv_rows = std::int64_t{attention.kv_heads} * attention.head_dim;
  QUORUM_ASSIGN(const std::optional<TensorRef> all, finder.Optional(prefix + "attn_qkv.weight"));
  QUORUM_ASSIGN(layer.q_bias, finder.Optional(prefix + "attn_q.bias"));
  QUORUM_ASSIGN(layer.k_bias, finder.Optional(prefix + "attn_k.bias"));
  QUORUM_ASSIGN(layer.v_bias, finder.Optional(prefix + "attn_v.bias"));
  if (!all) {
    QUORUM_ASSIGN(layer.q, finder.Required(prefix + "attn_q.weight"));
    QUORUM_ASSIGN(layer.k, finder.Required(prefix + "attn_k.weight"));
    QUORUM_ASSIGN(layer.v, finder.Required(prefix + "attn_v.weight"));
    return {};
  }
  if (all->rows != q_rows + 2 * kv_rows) {
    return finder.Fault(*all, fmt::format("has {} rows, expected {}", all->rows, q_rows + 2 * kv_rows));
  }
  layer.q = Rows(*all, 0, q_rows);
  layer.k = Rows(*all, q_rows, kv_rows);
  layer.v = Rows(*all, q_rows + kv_rows, kv_rows);
  QUORUM_ASSIGN(const std::optional<TensorRef> bias, finder.Optional(prefix + "attn_qkv.bias"));
  if (!bias) return {};
  if (bias->rows != 1 || bias->cols != q_rows + 2 * kv_rows || bias->type != quant::DType::kF32) {
    return finder.Fault(*bias, fmt::format("has {} rows of {} values of type {}, expected {} values of F32", bias->rows,
                                           bias->cols, quant::Info(bias->type).name, q_rows + 2 * kv_rows));
  }
  TensorRef column = *bias;  // (values, 1), so that its rows can be cut
  std::swap(column.rows, column.cols);
  const auto cut = [&](std::int64_t first, std::int64_t count) {
    TensorRef part = Rows(column, first, count);
    std::swap(part.rows, part.cols);
    return part;
  };
  layer.q_bias = cut(0, q_rows);
  layer.k_bias = cut(q_rows, kv_rows);
  layer.v_bias = cut(q_rows + kv_rows, kv_rows);
  return {};
}

/// What makes keys and values of the latent, split by heads.
Status LatentUp(TensorFinder& finder, const AttentionSpec& attention, const std::string& prefix,
                LatentTensors& latent) {
  const LatentSpec& shape = attention.latent;
  QUORUM_ASSIGN(const std::optional<TensorRef> both, finder.Optional(prefix + "attn_kv_b.weight"));
  const bool split =
      !both || (finder.Axes(prefix + "attn_k_b.weight") == 3 && finder.Axes(prefix + "attn_v_b.weight") == 3);
  latent.k_up_transposed = !split;
  if (split) {
    for (std::int64_t head = 0; head < attention.heads; ++head) {
      QUORUM_ASSIGN(TensorRef k_up, finder.Slice(prefix + "attn_k_b.weight", head, attention.heads));
      QUORUM_ASSIGN(TensorRef v_up, finder.Slice(prefix + "attn_v_b.weight", head, attention.heads));
      latent.k_up.push_back(std::move(k_up));
      latent.v_up.push_back(std::move(v_up));
    }
    return {};
  }
  const std::int64_t each = shape.nope_dim + shape.value_dim;
  if (both->rows != attention.heads * each) {
    return finder.Fault(*both, fmt::format("has {} rows, expected {}", both->rows, attention.heads * each));
  }
  for (std::int64_t head = 0; head < attention.heads; ++head) {
    latent.k_up.push_back(Rows(*both, head * each, shape.nope_dim));
    latent.v_up.push_back(Rows(*both, head * each + shape.nope_dim, shape.value_dim));
  }
  for (const char* unused : {"attn_k_b.weight", "attn_v_b.weight"}) finder.Find(prefix + unused);  // the same again
  return {};
}

/// Queries and latents.
Status Latent(TensorFinder& finder, const AttentionSpec& attention, const std::string& prefix, LayerTensors& layer) {
  LatentTensors latent;
  if (attention.latent.q_rank > 0) {
    QUORUM_ASSIGN(latent.q_down, finder.Optional(prefix + "attn_q_a.weight"));
    QUORUM_ASSIGN(latent.q_norm, finder.Optional(prefix + "attn_q_a_norm.weight"));
  }
  QUORUM_ASSIGN(layer.q, finder.Required(prefix + (attention.latent.q_rank > 0 ? "attn_q_b.weight" : "attn_q.weight")));
  QUORUM_ASSIGN(latent.kv_down, finder.Required(prefix + "attn_kv_a_mqa.weight"));
  QUORUM_ASSIGN(latent.kv_norm, finder.Required(prefix + "attn_kv_a_norm.weight"));
  QUORUM_TRY(LatentUp(finder, attention, prefix, latent));
  layer.latent = std::move(latent);
  return {};
}

Result<LayerTensors> Layer(TensorFinder& finder, const ModelSpec& spec, std::size_t i) {
  const std::string prefix = fmt::format("blk.{}.", i);
  LayerTensors layer;
  QUORUM_ASSIGN(layer.attention_norm, finder.Required(prefix + "attn_norm.weight"));
  QUORUM_ASSIGN(layer.attention_norm_bias, finder.Optional(prefix + "attn_norm.bias"));
  QUORUM_TRY(spec.attention.is_latent() ? Latent(finder, spec.attention, prefix, layer)
                                        : QueryKeyValue(finder, spec.attention, prefix, layer));
  QUORUM_ASSIGN(layer.output, finder.Required(prefix + "attn_output.weight"));
  QUORUM_ASSIGN(layer.output_bias, finder.Optional(prefix + "attn_output.bias"));
  QUORUM_ASSIGN(layer.q_norm, finder.Optional(prefix + "attn_q_norm.weight"));
  QUORUM_ASSIGN(layer.k_norm, finder.Optional(prefix + "attn_k_norm.weight"));
  QUORUM_ASSIGN(layer.sinks, finder.Optional(prefix + "attn_sinks.weight"));
  // gpt-oss names it after its place in the layer.
  QUORUM_ASSIGN(layer.ffn_norm,
                finder.Required(finder.FirstOf({prefix + "ffn_norm.weight", prefix + "post_attention_norm.weight"})));
  QUORUM_ASSIGN(layer.ffn_norm_bias, finder.Optional(prefix + "ffn_norm.bias"));
  if (spec.post_norms) {
    QUORUM_ASSIGN(layer.attention_post_norm, finder.Optional(prefix + "attn_output_norm.weight"));
    QUORUM_ASSIGN(
        layer.ffn_post_norm,
        finder.Optional(finder.FirstOf({prefix + "layer_output_norm.weight", prefix + "post_ffw_norm.weight"})));
  }
  const LayerSpec& shape = spec.layers[i];
  if (shape.experts == 0) {
    QUORUM_ASSIGN(NetworkTensors network, Network(finder, prefix, ""));
    layer.networks.push_back(std::move(network));
    return layer;
  }
  QUORUM_ASSIGN(layer.router, finder.Optional(prefix + "ffn_gate_inp.weight"));
  QUORUM_ASSIGN(layer.router_bias, finder.Optional(prefix + "ffn_gate_inp.bias"));
  if (spec.router.choice_bias) {
    QUORUM_ASSIGN(layer.choice_bias, finder.Optional(prefix + "exp_probs_b.bias"));
  }
  for (std::int64_t e = 0; e < shape.experts; ++e) {
    QUORUM_ASSIGN(NetworkTensors network, Expert(finder, prefix, e, shape.experts));
    layer.networks.push_back(std::move(network));
  }
  if (shape.shared_ff > 0) {
    QUORUM_ASSIGN(layer.shared, Network(finder, prefix, "_shexp"));
    QUORUM_ASSIGN(layer.shared_gate, finder.Optional(prefix + "ffn_gate_inp_shexp.weight"));
  }
  return layer;
}

}  // namespace

Result<ModelTensors> TensorsFromGguf(const quant::GgufFile& file, const ModelSpec& spec) {
  if (spec.architecture == kT5Architecture) return T5TensorsFromGguf(file, spec);
  TensorFinder finder(file);
  ModelTensors tensors;
  QUORUM_ASSIGN(tensors.embedding, finder.Required("token_embd.weight"));
  QUORUM_ASSIGN(tensors.final_norm, finder.Required("output_norm.weight"));
  QUORUM_ASSIGN(tensors.final_norm_bias, finder.Optional("output_norm.bias"));
  QUORUM_ASSIGN(tensors.output, finder.Optional("output.weight"));
  QUORUM_ASSIGN(tensors.logit_bias, finder.Optional("output.bias"));
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    QUORUM_ASSIGN(LayerTensors layer, Layer(finder, spec, i));
    tensors.layers.push_back(std::move(layer));
  }
  for (const char* factors : {"rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"}) {
    finder.Find(factors);  // read into the spec
  }
  finder.IgnorePredictionBlocks(spec.layers.size());
  QUORUM_TRY(finder.AllUsed());
  if (const Status status = CheckTensors(spec, tensors); !status.ok()) {
    return Error{status.error().code, file.path() + ": " + status.error().message, {}, {}};
  }
  return tensors;
}

}  // namespace quorum::engine
