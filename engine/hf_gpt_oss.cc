// gpt-oss.
#include <fmt/format.h>

#include "engine/hf_family.h"
#include "engine/tensor_views.h"

namespace quorum::engine {
namespace {

/// Gate and up of `both` (2 ff, d), whose rows alternate.
void SplitRows(const TensorRef& both, NetworkTensors& network) {
  network.gate = RowsOf(both, both.name + ".gate", 0, both.rows / 2, 2);
  network.up = RowsOf(both, both.name + ".up", 1, both.rows / 2, 2);
}

/// Row `i` of the biases `name` (count, n).
Result<TensorRef> BiasOf(HfTensors& from, const std::string& name, std::int64_t i, std::int64_t count) {
  QUORUM_ASSIGN(const TensorRef all, from.Required(name));
  if (all.rows != count) {
    return InvalidArgument(fmt::format("{}: tensor '{}' has {} rows, expected {}", from.path(), name, all.rows, count));
  }
  return RowsOf(all, fmt::format("{}[{}]", name, i), i, 1);
}

Result<NetworkTensors> Expert(HfTensors& from, const std::string& prefix, std::int64_t i, std::int64_t count) {
  NetworkTensors network;
  TensorRef both;
  if (from.Has(prefix + "gate_up_proj_blocks")) {
    QUORUM_ASSIGN(both, from.Mxfp4(prefix + "gate_up_proj", i, count));
    QUORUM_ASSIGN(network.down, from.Mxfp4(prefix + "down_proj", i, count));
  } else {  // (experts, in, out)
    QUORUM_ASSIGN(const TensorRef in_rows, from.Slice(prefix + "gate_up_proj", i, count));
    QUORUM_ASSIGN(const TensorRef hidden_rows, from.Slice(prefix + "down_proj", i, count));
    both = Transposed(in_rows);
    network.down = Transposed(hidden_rows);
  }
  QUORUM_ASSIGN(const TensorRef bias, BiasOf(from, prefix + "gate_up_proj_bias", i, count));
  QUORUM_ASSIGN(network.down_bias, BiasOf(from, prefix + "down_proj_bias", i, count));
  if (both.rows < 2 || both.rows % 2 != 0 || bias.cols != both.rows) {
    return InvalidArgument(
        fmt::format("{}: tensor '{}' has {} rows and a bias of {}, expected as many gates as ups and a bias each",
                    from.path(), both.name, both.rows, bias.cols));
  }
  SplitRows(both, network);
  network.gate_bias = EntriesOf(bias, bias.name + ".gate", 0, bias.cols / 2, 2);
  network.up_bias = EntriesOf(bias, bias.name + ".up", 1, bias.cols / 2, 2);
  return network;
}

}  // namespace

Status HfGptOssSpec(const HfFolder& folder, ModelSpec& spec) {
  QUORUM_TRY(HfDecoderSpec(folder, spec));
  const HfConfig& config = folder.config;
  if (!config.Has("rope_parameters") && !config.Has("rope_scaling")) {  // then transformers takes what was trained
    spec.rope.scaling = RopeScaling::kYarn;
    spec.rope.factor = 32.0;
    spec.rope.original_context = 4096;
    spec.rope.whole_pairs = false;
  }
  QUORUM_ASSIGN(spec.attention.qkv_bias, config.BoolOr("attention_bias", true));
  spec.attention.output_bias = spec.attention.qkv_bias;
  spec.attention.sinks = true;
  spec.activation = Activation::kClampedSwiGlu;
  QUORUM_ASSIGN(const double alpha, config.FloatOr("swiglu_alpha", 1.702));
  QUORUM_ASSIGN(const double limit, config.FloatOr("swiglu_limit", 7.0));
  spec.swiglu_alpha = static_cast<float>(alpha);
  spec.swiglu_limit = static_cast<float>(limit);
  spec.ffn_bias = true;
  spec.router.score = RouterScore::kTopKSoftmax;
  spec.router.bias = true;
  config.Ignore({"initial_context_length", "experts_per_token"});  // what other keys say, in the older spelling
  QUORUM_TRY(HfWindows(config, 0, 128, spec));
  if (!config.Has("layer_types")) {
    for (std::size_t i = 1; i < spec.layers.size(); i += 2) spec.layers[i].window = 0;
  }
  return HfExperts(config, config.Has("num_local_experts") ? "num_local_experts" : "num_experts",
                   spec.layers.front().ff, spec);
}

Status HfGptOssTensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors) {
  QUORUM_TRY(HfEnds(from, spec, tensors));
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    LayerTensors layer;
    QUORUM_TRY(HfAttention(from, prefix, layer));
    QUORUM_ASSIGN(layer.sinks, from.Required(prefix + "self_attn.sinks"));
    QUORUM_ASSIGN(layer.router, from.Linear(prefix + "mlp.router"));
    QUORUM_ASSIGN(layer.router_bias, from.Bias(prefix + "mlp.router"));
    for (std::int64_t e = 0; e < spec.layers[i].experts; ++e) {
      QUORUM_ASSIGN(NetworkTensors network, Expert(from, prefix + "mlp.experts.", e, spec.layers[i].experts));
      layer.networks.push_back(std::move(network));
    }
    tensors.layers.push_back(std::move(layer));
  }
  return {};
}

}  // namespace quorum::engine
