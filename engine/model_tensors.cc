#include "engine/model_tensors.h"

#include <string_view>

#include <fmt/format.h>

#include "engine/base/check.h"

namespace quorum::engine {
namespace {

Status CheckShape(const TensorRef& tensor, std::int64_t rows, std::int64_t cols) {
  if (tensor.rows != rows || tensor.cols != cols) {
    return InvalidArgument(fmt::format("tensor '{}' has {} rows of {}, expected {} rows of {}", tensor.name,
                                       tensor.rows, tensor.cols, rows, cols));
  }
  const quant::DTypeInfo& info = quant::Info(tensor.type);
  if (cols % info.block != 0) {
    return InvalidArgument(fmt::format("tensor '{}' has rows of {}, which type {} stores only in multiples of {}",
                                       tensor.name, cols, info.name, info.block));
  }
  const auto bytes = static_cast<std::size_t>(rows * tensor.row_bytes());
  if (tensor.source == nullptr && tensor.data.size() != bytes) {
    return InvalidArgument(
        fmt::format("tensor '{}' has {} bytes, expected {}", tensor.name, tensor.data.size(), bytes));
  }
  if (!quant::Dequantize(tensor.type, nullptr, nullptr, 0)) {
    return Unsupported(fmt::format("tensor '{}' has type {}, which holds no weights", tensor.name, info.name));
  }
  return {};
}

Status CheckOptional(const std::optional<TensorRef>& tensor, bool wanted, std::string_view what, std::int64_t rows,
                     std::int64_t cols) {
  if (tensor.has_value() != wanted) {
    return InvalidArgument(fmt::format(
        "{}: {}", what, wanted ? "the tensor is missing" : "tensor '" + tensor->name + "' is not expected"));
  }
  return wanted ? CheckShape(*tensor, rows, cols) : Status();
}

Status CheckNetwork(const ModelSpec& spec, const NetworkTensors& network, std::int64_t ff, const std::string& where) {
  if (spec.gated) {
    QUORUM_TRY(CheckShape(network.gate, ff, spec.d_model));
  } else if (network.gate.rows > 0) {
    return InvalidArgument(
        fmt::format("{}tensor '{}' is not expected: networks have no gate", where, network.gate.name));
  }
  QUORUM_TRY(CheckShape(network.up, ff, spec.d_model));
  QUORUM_TRY(CheckShape(network.down, spec.d_model, ff));
  QUORUM_TRY(CheckOptional(network.gate_bias, spec.ffn_bias && spec.gated, where + "gate bias", 1, ff));
  QUORUM_TRY(CheckOptional(network.up_bias, spec.ffn_bias, where + "up bias", 1, ff));
  return CheckOptional(network.down_bias, spec.ffn_bias, where + "down bias", 1, spec.d_model);
}

Status CheckLatent(const ModelSpec& spec, const LayerTensors& layer, const std::string& where) {
  const AttentionSpec& attention = spec.attention;
  const LatentSpec& latent = attention.latent;
  if (!layer.latent) return InvalidArgument(where + "the tensors of latent attention are missing");
  const LatentTensors& tensors = *layer.latent;
  const bool low_rank = latent.q_rank > 0;
  QUORUM_TRY(CheckOptional(tensors.q_down, low_rank, where + "query down-projection", latent.q_rank, spec.d_model));
  QUORUM_TRY(CheckOptional(tensors.q_norm, low_rank, where + "norm of the queries' latent", 1, latent.q_rank));
  QUORUM_TRY(
      CheckShape(layer.q, std::int64_t{attention.heads} * attention.head_dim, low_rank ? latent.q_rank : spec.d_model));
  QUORUM_TRY(CheckShape(tensors.kv_down, latent.kv_rank + latent.rope_dim, spec.d_model));
  QUORUM_TRY(CheckShape(tensors.kv_norm, 1, latent.kv_rank));
  if (std::ssize(tensors.k_up) != attention.heads || std::ssize(tensors.v_up) != attention.heads) {
    return InvalidArgument(fmt::format("{}{} and {} matrices from the latent, expected {} of each", where,
                                       tensors.k_up.size(), tensors.v_up.size(), attention.heads));
  }
  for (const TensorRef& k_up : tensors.k_up) {
    QUORUM_TRY(tensors.k_up_transposed ? CheckShape(k_up, latent.nope_dim, latent.kv_rank)
                                       : CheckShape(k_up, latent.kv_rank, latent.nope_dim));
  }
  for (const TensorRef& v_up : tensors.v_up) QUORUM_TRY(CheckShape(v_up, latent.value_dim, latent.kv_rank));
  return {};
}

Status CheckKeysAndValues(const ModelSpec& spec, const LayerTensors& layer, const std::string& where) {
  const AttentionSpec& attention = spec.attention;
  const std::int64_t q_rows = std::int64_t{attention.heads} * attention.head_dim;
  const std::int64_t kv_rows = std::int64_t{attention.kv_heads} * attention.head_dim;
  if (layer.latent) return InvalidArgument(where + "tensors of latent attention are not expected");
  QUORUM_TRY(CheckShape(layer.q, q_rows, spec.d_model));
  QUORUM_TRY(CheckShape(layer.k, kv_rows, spec.d_model));
  QUORUM_TRY(CheckShape(layer.v, kv_rows, spec.d_model));
  QUORUM_TRY(CheckOptional(layer.q_bias, attention.qkv_bias, where + "query bias", 1, q_rows));
  QUORUM_TRY(CheckOptional(layer.k_bias, attention.qkv_bias, where + "key bias", 1, kv_rows));
  QUORUM_TRY(CheckOptional(layer.v_bias, attention.qkv_bias, where + "value bias", 1, kv_rows));
  const bool per_row = attention.qk_norm == QkNorm::kPerRow;
  const bool norms = attention.qk_norm != QkNorm::kNone;
  QUORUM_TRY(CheckOptional(layer.q_norm, norms, where + "query norm", 1, per_row ? q_rows : attention.head_dim));
  return CheckOptional(layer.k_norm, norms, where + "key norm", 1, per_row ? kv_rows : attention.head_dim);
}

Status CheckAttention(const ModelSpec& spec, const LayerTensors& layer, const std::string& where) {
  const AttentionSpec& attention = spec.attention;
  const bool norm_bias = spec.norm == NormKind::kLayer;
  QUORUM_TRY(CheckShape(layer.attention_norm, 1, spec.d_model));
  QUORUM_TRY(CheckOptional(layer.attention_norm_bias, norm_bias, where + "attention norm bias", 1, spec.d_model));
  QUORUM_TRY(
      CheckOptional(layer.attention_post_norm, spec.post_norms, where + "norm after attention", 1, spec.d_model));
  QUORUM_TRY(attention.is_latent() ? CheckLatent(spec, layer, where) : CheckKeysAndValues(spec, layer, where));
  QUORUM_TRY(CheckShape(layer.output, spec.d_model, attention.output_width()));
  QUORUM_TRY(CheckOptional(layer.output_bias, attention.output_bias, where + "output bias", 1, spec.d_model));
  return CheckOptional(layer.sinks, attention.sinks, where + "attention sinks", 1, attention.heads);
}

Status CheckCross(const ModelSpec& spec, const LayerTensors& layer, bool wanted, const std::string& where) {
  if (layer.cross.has_value() != wanted) {
    return InvalidArgument(where + "cross attention " + (wanted ? "is missing" : "is not expected"));
  }
  if (!wanted) return {};
  const std::int64_t q_rows = std::int64_t{spec.attention.heads} * spec.attention.head_dim;
  const std::int64_t kv_rows = std::int64_t{spec.attention.kv_heads} * spec.attention.head_dim;
  QUORUM_TRY(CheckShape(layer.cross->norm, 1, spec.d_model));
  QUORUM_TRY(CheckShape(layer.cross->q, q_rows, spec.d_model));
  QUORUM_TRY(CheckShape(layer.cross->k, kv_rows, spec.d_model));
  QUORUM_TRY(CheckShape(layer.cross->v, kv_rows, spec.d_model));
  return CheckShape(layer.cross->output, spec.d_model, q_rows);
}

Status CheckFfn(const ModelSpec& spec, const LayerSpec& shape, const LayerTensors& layer, const std::string& where) {
  const bool norm_bias = spec.norm == NormKind::kLayer;
  QUORUM_TRY(CheckShape(layer.ffn_norm, 1, spec.d_model));
  QUORUM_TRY(CheckOptional(layer.ffn_norm_bias, norm_bias, where + "feed-forward norm bias", 1, spec.d_model));
  QUORUM_TRY(CheckOptional(layer.ffn_post_norm, spec.post_norms, where + "norm after the networks", 1, spec.d_model));
  QUORUM_TRY(CheckOptional(layer.router, shape.experts > 0, where + "router", shape.experts, spec.d_model));
  QUORUM_TRY(
      CheckOptional(layer.router_bias, shape.experts > 0 && spec.router.bias, where + "router bias", 1, shape.experts));
  QUORUM_TRY(CheckOptional(layer.choice_bias, shape.experts > 0 && spec.router.choice_bias,
                           where + "bias on the choice of experts", 1, shape.experts));
  const std::int64_t networks = shape.experts > 0 ? shape.experts : 1;
  if (std::ssize(layer.networks) != networks) {
    return InvalidArgument(
        fmt::format("{}{} feed-forward networks, expected {}", where, layer.networks.size(), networks));
  }
  for (const NetworkTensors& network : layer.networks) QUORUM_TRY(CheckNetwork(spec, network, shape.ff, where));
  if (layer.shared.has_value() != (shape.shared_ff > 0)) {
    return InvalidArgument(where + "the shared expert " + (layer.shared ? "is not expected" : "is missing"));
  }
  if (layer.shared) QUORUM_TRY(CheckNetwork(spec, *layer.shared, shape.shared_ff, where));
  return CheckOptional(layer.shared_gate, layer.shared.has_value() && spec.shared_gate,
                       where + "gate of the shared expert", 1, spec.d_model);
}

Status CheckLayers(const ModelSpec& spec, const std::vector<LayerSpec>& shapes, const std::vector<LayerTensors>& layers,
                   bool cross, std::string_view what) {
  if (layers.size() != shapes.size()) {
    return InvalidArgument(fmt::format("the file holds {} {}s, expected {}", layers.size(), what, shapes.size()));
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const std::string where = fmt::format("{} {}: ", what, i);
    QUORUM_TRY(CheckAttention(spec, layers[i], where));
    QUORUM_TRY(CheckCross(spec, layers[i], cross, where));
    QUORUM_TRY(CheckFfn(spec, shapes[i], layers[i], where));
  }
  return {};
}

}  // namespace

const std::byte* TensorRef::Rows(std::int64_t first, std::int64_t count, std::vector<std::byte>& room) const {
  QUORUM_CHECK(first >= 0 && count >= 0 && first <= rows - count);
  if (source == nullptr) return data.data() + first * row_bytes();
  const auto bytes = static_cast<std::size_t>(count * row_bytes());
  if (room.size() < bytes) room.resize(bytes);
  source->Read(first, count, room.data());
  return room.data();
}

void TensorRef::Row(std::int64_t i, float* dst) const {
  std::vector<std::byte> room;
  QUORUM_CHECK(quant::Dequantize(type, Rows(i, 1, room), dst, cols));
}

std::vector<float> TensorRef::Floats() const {
  std::vector<float> values(static_cast<std::size_t>(rows * cols));
  std::vector<std::byte> room;
  QUORUM_CHECK(quant::Dequantize(type, Rows(0, rows, room), values.data(), rows * cols));
  return values;
}

std::vector<std::span<const std::byte>> TensorRef::FileParts(std::int64_t first, std::int64_t count) const {
  if (source != nullptr) return source->Bytes(first, count);
  return {data.subspan(static_cast<std::size_t>(first * row_bytes()), static_cast<std::size_t>(count * row_bytes()))};
}

std::int64_t TensorRef::file_bytes() const {
  std::int64_t bytes = 0;
  for (const std::span<const std::byte> part : FileParts(0, rows)) bytes += std::ssize(part);
  return bytes;
}

Status CheckTensors(const ModelSpec& spec, const ModelTensors& tensors) {
  QUORUM_TRY(CheckShape(tensors.embedding, spec.vocab_size, spec.d_model));
  QUORUM_TRY(CheckShape(tensors.final_norm, 1, spec.d_model));
  QUORUM_TRY(CheckOptional(tensors.final_norm_bias, spec.norm == NormKind::kLayer, "final norm bias", 1, spec.d_model));
  QUORUM_TRY(CheckOptional(tensors.output, !spec.tied_embeddings, "output matrix", spec.vocab_size, spec.d_model));
  QUORUM_TRY(CheckOptional(tensors.logit_bias, spec.logit_bias, "logit bias", 1, spec.vocab_size));
  const RelativeBiasSpec& bias = spec.relative_bias;
  const bool encodes = !spec.encoder.empty();
  QUORUM_TRY(CheckOptional(tensors.position_bias, bias.buckets > 0, "relative position bias", bias.buckets,
                           spec.attention.heads));
  QUORUM_TRY(CheckOptional(tensors.encoder_position_bias, encodes && bias.buckets > 0,
                           "encoder's relative position bias", bias.buckets, spec.attention.heads));
  QUORUM_TRY(CheckOptional(tensors.encoder_norm, encodes, "encoder's final norm", 1, spec.d_model));
  QUORUM_TRY(CheckLayers(spec, spec.layers, tensors.layers, encodes, "layer"));
  return CheckLayers(spec, spec.encoder, tensors.encoder, false, "encoder layer");
}

}  // namespace quorum::engine
