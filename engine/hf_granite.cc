// Granite, dense and with experts (GraniteMoE, also with a shared expert).
#include <fmt/format.h>

#include "engine/hf_family.h"
#include "engine/tensor_views.h"

namespace quorum::engine {
namespace {

/// Gates first, ups behind them.
Status SplitHalves(const HfTensors& from, const TensorRef& both, NetworkTensors& network) {
  if (both.rows < 2 || both.rows % 2 != 0) {
    return InvalidArgument(
        fmt::format("{}: tensor '{}' has {} rows, expected as many gates as ups", from.path(), both.name, both.rows));
  }
  network.gate = RowsOf(both, both.name + ".gate", 0, both.rows / 2);
  network.up = RowsOf(both, both.name + ".up", both.rows / 2, both.rows / 2);
  return {};
}

Status Experts(HfTensors& from, const std::string& prefix, const LayerSpec& shape, LayerTensors& layer) {
  QUORUM_ASSIGN(layer.router, from.Linear(prefix + "block_sparse_moe.router.layer"));
  for (std::int64_t e = 0; e < shape.experts; ++e) {
    NetworkTensors network;
    QUORUM_ASSIGN(const TensorRef both, from.Slice(prefix + "block_sparse_moe.input_linear.weight", e, shape.experts));
    QUORUM_TRY(SplitHalves(from, both, network));
    QUORUM_ASSIGN(network.down, from.Slice(prefix + "block_sparse_moe.output_linear.weight", e, shape.experts));
    layer.networks.push_back(std::move(network));
  }
  if (shape.shared_ff == 0) return {};
  NetworkTensors shared;
  QUORUM_ASSIGN(const TensorRef both, from.Linear(prefix + "shared_mlp.input_linear"));
  QUORUM_TRY(SplitHalves(from, both, shared));
  QUORUM_ASSIGN(shared.down, from.Linear(prefix + "shared_mlp.output_linear"));
  layer.shared = std::move(shared);
  return {};
}

}  // namespace

Status HfGraniteSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfLlamaSpec(folder, spec));
  const HfConfig& config = folder.config;
  QUORUM_ASSIGN(const double attention, config.FloatOr("attention_multiplier", 1.0));
  QUORUM_ASSIGN(const double embedding, config.FloatOr("embedding_multiplier", 1.0));
  QUORUM_ASSIGN(const double residual, config.FloatOr("residual_multiplier", 1.0));
  QUORUM_ASSIGN(const double logits, config.FloatOr("logits_scaling", 1.0));
  if (!(logits > 0.0)) return config.Fault("logits_scaling", fmt::format("is {}, expected a positive number", logits));
  spec.attention.scale = static_cast<float>(attention);
  spec.embedding_scale = static_cast<float>(embedding);
  spec.residual_scale = static_cast<float>(residual);
  spec.logit_scale = static_cast<float>(1.0 / logits);
  return {};
}

Status HfGraniteMoeSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfGraniteSpec(folder, spec));
  spec.router.score = RouterScore::kTopKSoftmax;
  QUORUM_TRY(HfExperts(folder.config, "num_local_experts", spec.layers.front().ff, spec));
  QUORUM_ASSIGN(const std::int32_t shared, folder.config.IntOr("shared_intermediate_size", 0, 0, 1 << 20));
  for (LayerSpec& layer : spec.layers) layer.shared_ff = shared;
  return {};
}

Status HfGraniteMoeTensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors) {
  QUORUM_TRY(HfEnds(from, spec, tensors));
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    LayerTensors layer;
    QUORUM_TRY(HfAttention(from, prefix, layer));
    QUORUM_TRY(Experts(from, prefix, spec.layers[i], layer));
    tensors.layers.push_back(std::move(layer));
  }
  return {};
}

}  // namespace quorum::engine
