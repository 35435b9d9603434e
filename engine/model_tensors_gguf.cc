#include <cstdint>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "engine/model_config.h"

namespace quorum::engine {
namespace {

/// Rows [first, first + count) of a matrix. REQUIRES: it has them.
TensorRef Rows(const TensorRef& matrix, std::int64_t first, std::int64_t count) {
  TensorRef part = matrix;
  part.rows = count;
  part.data = matrix.data.subspan(static_cast<std::size_t>(first * matrix.row_bytes()),
                                  static_cast<std::size_t>(count * matrix.row_bytes()));
  return part;
}

/// Finds tensors by name and remembers which, so that the ones nobody asked for can be refused.
class TensorFinder {
 public:
  explicit TensorFinder(const quant::GgufFile& file) : file_(file) {}

  const quant::GgufTensor* Find(const std::string& name) {
    const quant::GgufTensor* tensor = file_.FindTensor(name);
    if (tensor != nullptr) used_.insert(name);
    return tensor;
  }

  Error Fault(const TensorRef& tensor, const std::string& what) const {
    return InvalidArgument(fmt::format("{}: tensor '{}' {}", file_.path(), tensor.name, what));
  }

  /// The first that there is.
  std::string FirstOf(std::initializer_list<std::string> names) {
    for (const std::string& name : names) {
      if (file_.FindTensor(name) != nullptr) return name;
    }
    return *names.begin();
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

  /// Row `i` of a matrix with one row an expert.
  Result<std::optional<TensorRef>> OptionalRow(const std::string& name, std::int64_t i, std::int64_t count) {
    QUORUM_ASSIGN(const std::optional<TensorRef> all, Optional(name));
    if (!all) return std::optional<TensorRef>();
    if (all->rows != count) {
      return Fault(*all, fmt::format("has {} rows, expected {}", all->rows, count));
    }
    return std::optional<TensorRef>(Rows(*all, i, 1));
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
  if (finder.Find(prefix + "ffn_gate_exps.weight") == nullptr) return Network(finder, prefix, fmt::format(".{}", i));
  NetworkTensors network;
  QUORUM_ASSIGN(network.gate, finder.Slice(prefix + "ffn_gate_exps.weight", i, count));
  QUORUM_ASSIGN(network.up, finder.Slice(prefix + "ffn_up_exps.weight", i, count));
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
  if (!all) {
    QUORUM_ASSIGN(layer.q, finder.Required(prefix + "attn_q.weight"));
    QUORUM_ASSIGN(layer.k, finder.Required(prefix + "attn_k.weight"));
    QUORUM_ASSIGN(layer.v, finder.Required(prefix + "attn_v.weight"));
    QUORUM_ASSIGN(layer.q_bias, finder.Optional(prefix + "attn_q.bias"));
    QUORUM_ASSIGN(layer.k_bias, finder.Optional(prefix + "attn_k.bias"));
    QUORUM_ASSIGN(layer.v_bias, finder.Optional(prefix + "attn_v.bias"));
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

Result<LayerTensors> Layer(TensorFinder& finder, const ModelSpec& spec, std::size_t i) {
  const std::string prefix = fmt::format("blk.{}.", i);
  LayerTensors layer;
  QUORUM_ASSIGN(layer.attention_norm, finder.Required(prefix + "attn_norm.weight"));
  QUORUM_ASSIGN(layer.attention_norm_bias, finder.Optional(prefix + "attn_norm.bias"));
  QUORUM_TRY(QueryKeyValue(finder, spec.attention, prefix, layer));
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
  QUORUM_TRY(finder.AllUsed());
  if (const Status status = CheckTensors(spec, tensors); !status.ok()) {
    return Error{status.error().code, file.path() + ": " + status.error().message, {}, {}};
  }
  return tensors;
}

}  // namespace quorum::engine
