#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "engine/model_config.h"

namespace quorum::engine {
namespace {

/// Finds tensors by name and remembers which, so that the ones nobody asked for can be refused.
class TensorFinder {
 public:
  explicit TensorFinder(const quant::GgufFile& file) : file_(file) {}

  const quant::GgufTensor* Find(const std::string& name) {
    const quant::GgufTensor* tensor = file_.FindTensor(name);
    if (tensor != nullptr) used_.insert(name);
    return tensor;
  }

  Result<TensorRef> Required(const std::string& name) {
    QUORUM_ASSIGN(std::optional<TensorRef> tensor, Optional(name));
    if (!tensor) return InvalidArgument(fmt::format("{}: tensor '{}' is missing", file_.path(), name));
    return *std::move(tensor);
  }

  /// A vector or a matrix.
  Result<std::optional<TensorRef>> Optional(const std::string& name) {
    const quant::GgufTensor* tensor = Find(name);
    if (tensor == nullptr) return std::optional<TensorRef>();
    QUORUM_TRY(CheckAxes(*tensor, 2));
    return std::optional<TensorRef>(TensorRef{name, tensor->type, tensor->dim(1), tensor->dim(0), tensor->data});
  }

  /// Matrix `i` of a tensor {cols, rows, count}.
  Result<TensorRef> Slice(const std::string& name, std::int64_t i, std::int64_t count) {
    const quant::GgufTensor* tensor = Find(name);
    if (tensor == nullptr) return InvalidArgument(fmt::format("{}: tensor '{}' is missing", file_.path(), name));
    QUORUM_TRY(CheckAxes(*tensor, 3));
    if (tensor->dim(2) != count) {
      return InvalidArgument(
          fmt::format("{}: tensor '{}' holds {} experts, expected {}", file_.path(), name, tensor->dim(2), count));
    }
    const std::size_t bytes = tensor->data.size() / static_cast<std::size_t>(count);
    return TensorRef{name, tensor->type, tensor->dim(1), tensor->dim(0),
                     tensor->data.subspan(static_cast<std::size_t>(i) * bytes, bytes)};
  }

  Status AllUsed() const {
    for (const quant::GgufTensor& tensor : file_.tensors()) {
      if (!used_.contains(tensor.name)) {
        return Unsupported(
            fmt::format("{}: tensor '{}' belongs to a feature that Quorum does not have for this "
                        "architecture",
                        file_.path(), tensor.name));
      }
    }
    return {};
  }

 private:
  Status CheckAxes(const quant::GgufTensor& tensor, std::size_t most) const {
    for (std::size_t i = most; i < tensor.dims.size(); ++i) {
      if (tensor.dims[i] != 1) {
        return InvalidArgument(
            fmt::format("{}: tensor '{}' has {} axes, expected {}", file_.path(), tensor.name, i + 1, most));
      }
    }
    return {};
  }

  const quant::GgufFile& file_;
  std::set<std::string, std::less<>> used_;
};

Result<NetworkTensors> Network(TensorFinder& finder, const std::string& prefix, std::string_view suffix) {
  NetworkTensors network;
  QUORUM_ASSIGN(network.gate, finder.Required(fmt::format("{}ffn_gate{}.weight", prefix, suffix)));
  QUORUM_ASSIGN(network.up, finder.Required(fmt::format("{}ffn_up{}.weight", prefix, suffix)));
  QUORUM_ASSIGN(network.down, finder.Required(fmt::format("{}ffn_down{}.weight", prefix, suffix)));
  return network;
}

Result<NetworkTensors> Expert(TensorFinder& finder, const std::string& prefix, std::int64_t i, std::int64_t count) {
  if (finder.Find(prefix + "ffn_gate_exps.weight") == nullptr) return Network(finder, prefix, fmt::format(".{}", i));
  NetworkTensors network;
  QUORUM_ASSIGN(network.gate, finder.Slice(prefix + "ffn_gate_exps.weight", i, count));
  QUORUM_ASSIGN(network.up, finder.Slice(prefix + "ffn_up_exps.weight", i, count));
  QUORUM_ASSIGN(network.down, finder.Slice(prefix + "ffn_down_exps.weight", i, count));
  return network;
}

Result<LayerTensors> Layer(TensorFinder& finder, const ModelSpec& spec, std::size_t i) {
  const std::string prefix = fmt::format("blk.{}.", i);
  LayerTensors layer;
  QUORUM_ASSIGN(layer.attention_norm, finder.Required(prefix + "attn_norm.weight"));
  QUORUM_ASSIGN(layer.q, finder.Required(prefix + "attn_q.weight"));
  QUORUM_ASSIGN(layer.k, finder.Required(prefix + "attn_k.weight"));
  QUORUM_ASSIGN(layer.v, finder.Required(prefix + "attn_v.weight"));
  QUORUM_ASSIGN(layer.output, finder.Required(prefix + "attn_output.weight"));
  QUORUM_ASSIGN(layer.q_bias, finder.Optional(prefix + "attn_q.bias"));
  QUORUM_ASSIGN(layer.k_bias, finder.Optional(prefix + "attn_k.bias"));
  QUORUM_ASSIGN(layer.v_bias, finder.Optional(prefix + "attn_v.bias"));
  QUORUM_ASSIGN(layer.output_bias, finder.Optional(prefix + "attn_output.bias"));
  QUORUM_ASSIGN(layer.q_norm, finder.Optional(prefix + "attn_q_norm.weight"));
  QUORUM_ASSIGN(layer.k_norm, finder.Optional(prefix + "attn_k_norm.weight"));
  QUORUM_ASSIGN(layer.sinks, finder.Optional(prefix + "attn_sinks.weight"));
  QUORUM_ASSIGN(layer.ffn_norm, finder.Required(prefix + "ffn_norm.weight"));
  const LayerSpec& shape = spec.layers[i];
  if (shape.experts == 0) {
    QUORUM_ASSIGN(NetworkTensors network, Network(finder, prefix, ""));
    layer.networks.push_back(std::move(network));
    return layer;
  }
  QUORUM_ASSIGN(layer.router, finder.Optional(prefix + "ffn_gate_inp.weight"));
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
  TensorFinder finder(file);
  ModelTensors tensors;
  QUORUM_ASSIGN(tensors.embedding, finder.Required("token_embd.weight"));
  QUORUM_ASSIGN(tensors.final_norm, finder.Required("output_norm.weight"));
  QUORUM_ASSIGN(tensors.output, finder.Optional("output.weight"));
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    QUORUM_ASSIGN(LayerTensors layer, Layer(finder, spec, i));
    tensors.layers.push_back(std::move(layer));
  }
  finder.Find("rope_freqs.weight");  // read into the spec
  QUORUM_TRY(finder.AllUsed());
  if (const Status status = CheckTensors(spec, tensors); !status.ok()) {
    return Error{status.error().code, file.path() + ": " + status.error().message, {}, {}};
  }
  return tensors;
}

}  // namespace quorum::engine
