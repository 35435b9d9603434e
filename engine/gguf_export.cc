#include "engine/gguf_export.h"

#include <algorithm>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "engine/gguf_family.h"
#include "engine/tensor_views.h"

namespace quorum::engine {
namespace {

/// Rows of several matrices, one behind the other, each in an order of its own.
struct Part {
  TensorRef matrix;
  std::int64_t head = 0;  // rows of a head whose halves become pairs; 0: as they are
};

/// Row `i` of a head of Hugging Face's halves is row ... of pairs.
std::int64_t Unpaired(std::int64_t row, std::int64_t head) {
  const std::int64_t in = row % head;
  return row - in + in / 2 + (in % 2) * (head / 2);
}

class Exporter {
 public:
  Exporter(const ModelSpec& spec, const ModelTensors& tensors, const GgufFamily& family, ReleaseFn release)
      : spec_(spec),
        tensors_(tensors),
        family_(family),
        release_(std::make_shared<const ReleaseFn>(std::move(release))) {}

  Result<std::vector<quant::SourceTensor>> Run() {
    Matrix("token_embd.weight", tensors_.embedding);
    Vector("output_norm.weight", tensors_.final_norm);
    Vector("output_norm.bias", tensors_.final_norm_bias);
    if (tensors_.output) Matrix("output.weight", *tensors_.output);
    Vector("output.bias", tensors_.logit_bias);
    Factors();
    for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
      QUORUM_TRY(Layer(fmt::format("blk.{}.", i), tensors_.layers[i]));
    }
    return std::move(out_);
  }

 private:
  void Add(std::string name, std::vector<std::int64_t> dims, std::vector<Part> parts) {
    quant::SourceTensor source;
    source.name = std::move(name);
    source.type = parts.front().matrix.type;
    source.dims = std::move(dims);
    const auto shared = std::make_shared<const std::vector<Part>>(std::move(parts));
    // A range of rows through all parts.
    const auto each = [shared](std::int64_t first, std::int64_t count, auto&& use) {
      for (const Part& part : *shared) {
        if (count == 0) return;
        const std::int64_t here = std::min(count, part.matrix.rows - first);
        if (here > 0) {
          use(part, first, here);
          count -= here;
          first = 0;
        } else {
          first -= part.matrix.rows;
        }
      }
    };
    source.read = [each](std::int64_t first, std::int64_t count, float* dst) {
      std::vector<std::byte> room;
      each(first, count, [&](const Part& part, std::int64_t row, std::int64_t rows) {
        const TensorRef& matrix = part.matrix;
        if (part.head == 0) {
          quant::Dequantize(matrix.type, matrix.Rows(row, rows, room), dst, rows * matrix.cols);
          dst += rows * matrix.cols;
          return;
        }
        for (std::int64_t i = row; i < row + rows; ++i, dst += matrix.cols) matrix.Row(Unpaired(i, part.head), dst);
      });
    };
    source.release = [each, release = release_](std::int64_t first, std::int64_t count) {
      if (*release == nullptr) return;
      each(first, count, [&](const Part& part, std::int64_t row, std::int64_t rows) {
        for (const std::span<const std::byte> bytes : part.matrix.FileParts(row, rows)) (*release)(bytes);
      });
    };
    out_.push_back(std::move(source));
  }

  void Matrix(std::string name, const TensorRef& matrix, std::int64_t head = 0) {
    Add(std::move(name), {matrix.cols, matrix.rows}, {{matrix, head}});
  }
  void Fused(std::string name, const std::vector<TensorRef>& matrices) {
    std::vector<Part> parts;
    std::int64_t rows = 0;
    for (const TensorRef& matrix : matrices) {
      parts.push_back({matrix, 0});
      rows += matrix.rows;
    }
    Add(std::move(name), {matrices.front().cols, rows}, std::move(parts));
  }
  void Stack(std::string name, const std::vector<TensorRef>& matrices) {
    std::vector<Part> parts;
    for (const TensorRef& matrix : matrices) parts.push_back({matrix, 0});
    Add(std::move(name), {matrices.front().cols, matrices.front().rows, std::ssize(matrices)}, std::move(parts));
  }
  void Vector(std::string name, const TensorRef& vector) { Add(std::move(name), {vector.cols}, {{vector, 0}}); }
  void Vector(const std::string& name, const std::optional<TensorRef>& vector) {
    if (vector) Vector(name, *vector);
  }
  /// Values that are computed here.
  void Values(std::string name, std::vector<std::int64_t> dims, std::vector<float> values) {
    quant::SourceTensor source;
    source.name = std::move(name);
    source.dims = std::move(dims);
    source.read = [values = std::move(values), cols = source.dims[0]](std::int64_t first, std::int64_t count,
                                                                      float* dst) {
      std::copy_n(values.begin() + first * cols, count * cols, dst);
    };
    out_.push_back(std::move(source));
  }
  void Bias(std::string name, const std::optional<TensorRef>& bias, std::int64_t head) {
    if (!bias) return;
    if (head == 0) return Vector(std::move(name), *bias);
    const std::vector<float> values = bias->Floats();
    std::vector<float> paired(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      paired[i] = values[static_cast<std::size_t>(Unpaired(static_cast<std::int64_t>(i), head))];
    }
    Values(std::move(name), {bias->cols}, std::move(paired));
  }

  void Factors() {
    const RopeSpec& rope = spec_.rope;
    const auto add = [&](const char* name, const std::vector<float>& factors) {
      if (!factors.empty()) Values(name, {std::ssize(factors)}, factors);
    };
    const bool two = rope.scaling == RopeScaling::kLongRope;
    add(two ? "rope_factors_short.weight" : "rope_freqs.weight", rope.factors);
    if (two) add("rope_factors_long.weight", rope.long_factors);
  }

  void Latent(const std::string& prefix, const LayerTensors& layer) {
    const LatentTensors& latent = *layer.latent;
    if (latent.q_down) {
      Matrix(prefix + "attn_q_a.weight", *latent.q_down);
      Vector(prefix + "attn_q_a_norm.weight", latent.q_norm);
      Matrix(prefix + "attn_q_b.weight", layer.q);
    } else {
      Matrix(prefix + "attn_q.weight", layer.q);
    }
    Matrix(prefix + "attn_kv_a_mqa.weight", latent.kv_down);
    Vector(prefix + "attn_kv_a_norm.weight", latent.kv_norm);
    std::vector<TensorRef> up = latent.k_up;
    for (TensorRef& head : up) {
      if (!latent.k_up_transposed) break;
      // The transpose of what is quantized has no blocks.
      head = Transposed(IsUnquantized(head.type) ? head : ConvertedTo(head, quant::DType::kF32));
    }
    Stack(prefix + "attn_k_b.weight", up);
    Stack(prefix + "attn_v_b.weight", latent.v_up);
  }

  Status Attention(const std::string& prefix, const LayerTensors& layer) {
    if (layer.latent) {
      Latent(prefix, layer);
      return {};
    }
    const std::int64_t head = family_.Permutes(spec_) && spec_.rope.dims > 0 ? spec_.attention.head_dim : 0;
    if (head > 0 && spec_.rope.dims != spec_.attention.head_dim) {
      return Unsupported("heads that are rotated in part cannot be written as GGUF's '" +
                         std::string(family_.architecture) + "'");
    }
    if (family_.architecture == "phi3") {
      Fused(prefix + "attn_qkv.weight", {layer.q, layer.k, layer.v});
    } else {
      Matrix(prefix + "attn_q.weight", layer.q, head);
      Matrix(prefix + "attn_k.weight", layer.k, head);
      Matrix(prefix + "attn_v.weight", layer.v);
    }
    Bias(prefix + "attn_q.bias", layer.q_bias, head);
    Bias(prefix + "attn_k.bias", layer.k_bias, head);
    Bias(prefix + "attn_v.bias", layer.v_bias, 0);
    Vector(prefix + "attn_q_norm.weight", layer.q_norm);
    Vector(prefix + "attn_k_norm.weight", layer.k_norm);
    Vector(prefix + "attn_sinks.weight", layer.sinks);
    return {};
  }

  void Network(const std::string& prefix, const std::string& suffix, const NetworkTensors& network) {
    if (family_.architecture == "phi3") {
      Fused(prefix + "ffn_up.weight", {network.gate, network.up});
    } else {
      Matrix(prefix + "ffn_gate" + suffix + ".weight", network.gate);
      Matrix(prefix + "ffn_up" + suffix + ".weight", network.up);
    }
    Matrix(prefix + "ffn_down" + suffix + ".weight", network.down);
    Vector(prefix + "ffn_gate" + suffix + ".bias", network.gate_bias);
    Vector(prefix + "ffn_up" + suffix + ".bias", network.up_bias);
    Vector(prefix + "ffn_down" + suffix + ".bias", network.down_bias);
  }

  void Experts(const std::string& prefix, const std::vector<NetworkTensors>& networks) {
    const auto all = [&](const char* role, auto member, auto bias) {
      std::vector<TensorRef> matrices;
      std::vector<TensorRef> biases;
      for (const NetworkTensors& network : networks) {
        matrices.push_back(network.*member);
        if (network.*bias) biases.push_back(*(network.*bias));
      }
      Stack(prefix + "ffn_" + role + "_exps.weight", matrices);
      if (!biases.empty()) Fused(prefix + "ffn_" + role + "_exps.bias", biases);
    };
    all("gate", &NetworkTensors::gate, &NetworkTensors::gate_bias);
    all("up", &NetworkTensors::up, &NetworkTensors::up_bias);
    all("down", &NetworkTensors::down, &NetworkTensors::down_bias);
  }

  Status Layer(const std::string& prefix, const LayerTensors& layer) {
    Vector(prefix + "attn_norm.weight", layer.attention_norm);
    Vector(prefix + "attn_norm.bias", layer.attention_norm_bias);
    QUORUM_TRY(Attention(prefix, layer));
    Matrix(prefix + "attn_output.weight", layer.output);
    Vector(prefix + "attn_output.bias", layer.output_bias);
    Vector(prefix + "attn_output_norm.weight", layer.attention_post_norm);
    const bool gpt_oss = family_.architecture == "gpt-oss";
    Vector(prefix + (gpt_oss ? "post_attention_norm.weight" : "ffn_norm.weight"), layer.ffn_norm);
    Vector(prefix + "ffn_norm.bias", layer.ffn_norm_bias);
    Vector(prefix + "layer_output_norm.weight", layer.ffn_post_norm);
    if (!layer.router) {
      Network(prefix, "", layer.networks.front());
      return {};
    }
    Matrix(prefix + "ffn_gate_inp.weight", *layer.router);
    Vector(prefix + "ffn_gate_inp.bias", layer.router_bias);
    Vector(prefix + "exp_probs_b.bias", layer.choice_bias);
    Experts(prefix, layer.networks);
    if (layer.shared) Network(prefix, "_shexp", *layer.shared);
    Vector(prefix + "ffn_gate_inp_shexp.weight", layer.shared_gate);
    return {};
  }

  const ModelSpec& spec_;
  const ModelTensors& tensors_;
  const GgufFamily& family_;
  std::shared_ptr<const ReleaseFn> release_;
  std::vector<quant::SourceTensor> out_;
};

}  // namespace

Result<std::vector<quant::SourceTensor>> GgufTensorsOf(const ModelSpec& spec, const ModelTensors& tensors,
                                                       ReleaseFn release) {
  QUORUM_ASSIGN(const GgufFamily* family, GgufFamilyOf(spec));
  return Exporter(spec, tensors, *family, std::move(release)).Run();
}

}  // namespace quorum::engine
