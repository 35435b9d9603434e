#include "engine/hf_tensors.h"

#include <utility>
#include <vector>

#include <fmt/format.h>

#include "engine/tensor_views.h"

namespace quorum::engine {
namespace {

using quant::SafeTensor;

/// A tensor of plain elements as rows of its last axis. Errors: kUnsupported (element type).
Result<TensorRef> AsRows(const std::string& path, const SafeTensor& tensor) {
  const std::optional<quant::DType> type = quant::DTypeOf(tensor.type);
  if (!type || !IsUnquantized(*type)) {
    return Unsupported(
        fmt::format("{}: tensor '{}' is {}, expected F32, F16 or BF16", path, tensor.name, tensor.Describe()));
  }
  const std::int64_t cols = tensor.shape.empty() ? 1 : tensor.shape.back();
  const std::int64_t rows = cols == 0 ? 0 : tensor.elements() / cols;
  const TensorRef plain{tensor.name, *type, rows, cols, tensor.data};
  return *type == quant::DType::kF64 ? ConvertedTo(plain, quant::DType::kF32) : plain;
}

}  // namespace

Error HfTensors::Missing(const std::string& name) const {
  return InvalidArgument(fmt::format("{}: tensor '{}' is missing", file_.path(), name));
}

const SafeTensor* HfTensors::Find(const std::string& name) {
  const SafeTensor* tensor = file_.Find(name);
  if (tensor != nullptr) used_.insert(name);
  return tensor;
}

Result<std::optional<TensorRef>> HfTensors::Optional(const std::string& name) {
  const SafeTensor* tensor = Find(name);
  if (tensor == nullptr) return std::optional<TensorRef>();
  if (tensor->shape.size() > 2) {
    return InvalidArgument(
        fmt::format("{}: tensor '{}' is {}, expected up to 2 axes", file_.path(), name, tensor->Describe()));
  }
  QUORUM_ASSIGN(TensorRef rows, AsRows(file_.path(), *tensor));
  return std::optional(std::move(rows));
}

Result<TensorRef> HfTensors::Required(const std::string& name) {
  QUORUM_ASSIGN(std::optional<TensorRef> tensor, Optional(name));
  if (!tensor) return Missing(name);
  return *std::move(tensor);
}

Result<TensorRef> HfTensors::Linear(const std::string& prefix) {
  HfLinearParts parts;
  parts.name = prefix;
  parts.weight = Find(prefix + ".weight");
  Result<TensorRef> matrix = Missing(prefix + ".weight");
  if (parts.weight != nullptr &&
      (parts.weight->type == quant::SafeType::kF8E4M3 || parts.weight->type == quant::SafeType::kF8E5M2)) {
    parts.scale = Find(prefix + ".weight_scale_inv");
    if (parts.scale == nullptr) parts.scale = Find(prefix + ".weight_scale");
    Ignore(prefix + ".input_scale");  // of eight-bit activations, which Quorum rounds in its own way
    matrix = HfFp8Matrix(quantization_, parts);
  } else if (parts.weight != nullptr) {
    return Required(prefix + ".weight");
  } else if (const SafeTensor* qweight = Find(prefix + ".qweight")) {
    if (quantization_.method != HfQuantization::Method::kGptq && quantization_.method != HfQuantization::Method::kAwq) {
      return InvalidArgument(fmt::format(
          "{}: tensor '{}.qweight' needs a 'quantization_config' of gptq or awq in config.json", file_.path(), prefix));
    }
    parts.qweight = qweight;
    parts.qzeros = Find(prefix + ".qzeros");
    parts.scales = Find(prefix + ".scales");
    parts.g_idx = Find(prefix + ".g_idx");
    matrix = HfIntMatrix(quantization_, parts);
  }
  if (matrix.ok() || (parts.weight == nullptr && parts.qweight == nullptr)) return matrix;
  return Error{matrix.error().code, file_.path() + ": " + matrix.error().message, {}, {}};
}

Result<TensorRef> HfTensors::Mxfp4(const std::string& prefix, std::int64_t i, std::int64_t count) {
  const SafeTensor* blocks = Find(prefix + "_blocks");
  const SafeTensor* scales = Find(prefix + "_scales");
  if (blocks == nullptr) return Missing(prefix + "_blocks");
  if (scales == nullptr) return Missing(prefix + "_scales");
  Result<TensorRef> matrix = HfMxfp4Matrix(prefix, *blocks, *scales, i, count);
  if (matrix.ok()) return matrix;
  return Error{matrix.error().code, file_.path() + ": " + matrix.error().message, {}, {}};
}

Result<TensorRef> HfTensors::Slice(const std::string& name, std::int64_t i, std::int64_t count) {
  const SafeTensor* tensor = Find(name);
  if (tensor == nullptr) return Missing(name);
  if (tensor->shape.size() != 3 || tensor->shape.front() != count) {
    return InvalidArgument(fmt::format("{}: tensor '{}' is {}, expected three axes, the first of {}", file_.path(),
                                       name, tensor->Describe(), count));
  }
  QUORUM_ASSIGN(const TensorRef all, AsRows(file_.path(), *tensor));
  const std::int64_t rows = tensor->shape[1];
  if (rows == 0 || all.cols == 0) {
    return InvalidArgument(
        fmt::format("{}: tensor '{}' is {}, which is empty", file_.path(), name, tensor->Describe()));
  }
  return RowsOf(all, fmt::format("{}[{}]", name, i), i * rows, rows);
}

void HfTensors::IgnorePredictionLayers(std::size_t first) {
  for (std::size_t i = first; Has(fmt::format("model.layers.{}.eh_proj.weight", i)); ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    for (auto it = file_.tensors().lower_bound(prefix); it != file_.tensors().end(); ++it) {
      if (!it->first.starts_with(prefix)) break;
      used_.insert(it->first);
    }
  }
}

Status HfTensors::AllUsed() const {
  for (const auto& [name, tensor] : file_.tensors()) {
    if (!used_.contains(name) && !name.ends_with(".rotary_emb.inv_freq")) {
      return Unsupported(fmt::format("{}: tensor '{}' belongs to a feature that Quorum does not have for this family",
                                     file_.path(), name));
    }
  }
  return {};
}

Status HfEnds(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors) {
  QUORUM_ASSIGN(tensors.embedding, from.Required("model.embed_tokens.weight"));
  QUORUM_ASSIGN(tensors.final_norm, from.Required("model.norm.weight"));
  QUORUM_ASSIGN(tensors.final_norm_bias, from.Bias("model.norm"));
  QUORUM_ASSIGN(tensors.logit_bias, from.Bias("lm_head"));
  if (spec.tied_embeddings) {
    from.Ignore("lm_head.weight");  // some savers write the same matrix twice
  } else {
    QUORUM_ASSIGN(tensors.output, from.Linear("lm_head"));
  }
  return {};
}

Status HfAttention(HfTensors& from, const std::string& prefix, LayerTensors& layer) {
  const std::string attention = prefix + "self_attn.";
  QUORUM_ASSIGN(layer.attention_norm, from.Required(prefix + "input_layernorm.weight"));
  QUORUM_ASSIGN(layer.attention_norm_bias, from.Bias(prefix + "input_layernorm"));
  QUORUM_ASSIGN(layer.q, from.Linear(attention + "q_proj"));
  QUORUM_ASSIGN(layer.k, from.Linear(attention + "k_proj"));
  QUORUM_ASSIGN(layer.v, from.Linear(attention + "v_proj"));
  QUORUM_ASSIGN(layer.output, from.Linear(attention + "o_proj"));
  QUORUM_ASSIGN(layer.q_bias, from.Bias(attention + "q_proj"));
  QUORUM_ASSIGN(layer.k_bias, from.Bias(attention + "k_proj"));
  QUORUM_ASSIGN(layer.v_bias, from.Bias(attention + "v_proj"));
  QUORUM_ASSIGN(layer.output_bias, from.Bias(attention + "o_proj"));
  QUORUM_ASSIGN(layer.q_norm, from.Optional(attention + "q_norm.weight"));
  QUORUM_ASSIGN(layer.k_norm, from.Optional(attention + "k_norm.weight"));
  QUORUM_ASSIGN(layer.ffn_norm, from.Required(prefix + "post_attention_layernorm.weight"));
  QUORUM_ASSIGN(layer.ffn_norm_bias, from.Bias(prefix + "post_attention_layernorm"));
  return {};
}

Result<NetworkTensors> HfNetwork(HfTensors& from, const std::string& prefix, const HfFfnNames& names) {
  NetworkTensors network;
  QUORUM_ASSIGN(network.gate, from.Linear(prefix + std::string(names.gate)));
  QUORUM_ASSIGN(network.up, from.Linear(prefix + std::string(names.up)));
  QUORUM_ASSIGN(network.down, from.Linear(prefix + std::string(names.down)));
  QUORUM_ASSIGN(network.gate_bias, from.Bias(prefix + std::string(names.gate)));
  QUORUM_ASSIGN(network.up_bias, from.Bias(prefix + std::string(names.up)));
  QUORUM_ASSIGN(network.down_bias, from.Bias(prefix + std::string(names.down)));
  return network;
}

Status HfFfn(HfTensors& from, const std::string& prefix, const ModelSpec& spec, std::size_t i, const HfFfnNames& names,
             LayerTensors& layer) {
  const LayerSpec& shape = spec.layers[i];
  if (shape.experts == 0) {
    QUORUM_ASSIGN(NetworkTensors network, HfNetwork(from, prefix + std::string(names.dense), names));
    layer.networks.push_back(std::move(network));
    return {};
  }
  QUORUM_ASSIGN(layer.router, from.Linear(prefix + std::string(names.router)));
  const std::string experts = prefix + std::string(names.experts);
  const bool fused = from.Has(experts + "gate_up_proj");
  for (std::int64_t e = 0; e < shape.experts; ++e) {
    NetworkTensors network;
    if (fused) {
      QUORUM_ASSIGN(const TensorRef both, from.Slice(experts + "gate_up_proj", e, shape.experts));
      if (both.rows % 2 != 0) {
        return InvalidArgument(fmt::format("{}: tensor '{}' has {} rows, expected as many gates as ups", from.path(),
                                           both.name, both.rows));
      }
      network.gate = RowsOf(both, both.name + ".gate", 0, both.rows / 2);
      network.up = RowsOf(both, both.name + ".up", both.rows / 2, both.rows / 2);
      QUORUM_ASSIGN(network.down, from.Slice(experts + "down_proj", e, shape.experts));
    } else {
      QUORUM_ASSIGN(network, HfNetwork(from, fmt::format("{}{}.", experts, e), names));
    }
    layer.networks.push_back(std::move(network));
  }
  if (shape.shared_ff > 0) {
    QUORUM_ASSIGN(layer.shared, HfNetwork(from, prefix + std::string(names.shared), names));
    if (spec.shared_gate) {
      QUORUM_ASSIGN(layer.shared_gate, from.Linear(prefix + std::string(names.shared_gate)));
    }
  }
  return {};
}

Status HfDecoderTensors(HfTensors& from, const ModelSpec& spec, const HfFfnNames& names, ModelTensors& tensors) {
  QUORUM_TRY(HfEnds(from, spec, tensors));
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    LayerTensors layer;
    QUORUM_TRY(HfAttention(from, prefix, layer));
    QUORUM_TRY(HfFfn(from, prefix, spec, i, names, layer));
    tensors.layers.push_back(std::move(layer));
  }
  return {};
}

Status HfLlamaTensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors) {
  return HfDecoderTensors(from, spec, {}, tensors);
}

}  // namespace quorum::engine
