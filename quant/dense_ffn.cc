#include "quant/dense_ffn.h"

#include <algorithm>
#include <utility>

#include "quant/gguf_parser.h"

namespace quorum::quant {
namespace {

constexpr std::int64_t kMaxLayers = 65536;

Result<std::string> CheckArchitecture(const GgufFile& src) {
  QUORUM_ASSIGN(const auto architecture, src.GetString("general.architecture"));
  if (!architecture) return InvalidArgument(src.path() + ": key 'general.architecture' is missing");
  if (*architecture == "qwen2") {
    return Unsupported(src.path() +
                       ": qwen2 cannot be upcycled, because its MoE form in GGUF (qwen2moe) demands shared "
                       "experts, which a dense model does not have");
  }
  QUORUM_ASSIGN(const auto experts, src.GetInt(*architecture + ".expert_count"));
  const bool routed = std::any_of(src.tensors().begin(), src.tensors().end(), [](const GgufTensor& tensor) {
    return tensor.name.find("_exps.") != std::string::npos || tensor.name.find("ffn_gate_inp") != std::string::npos;
  });
  if (experts.value_or(0) > 0 || routed) {
    return InvalidArgument(src.path() + ": this is a Mixture-of-Experts model already" +
                           (experts ? " (" + std::to_string(*experts) + " experts)" : std::string()));
  }
  if (*architecture != "llama" && *architecture != "qwen3") {
    return Unsupported(src.path() + ": architecture " + Quoted(*architecture) +
                       " cannot be upcycled; llama (Llama, Mistral, SmolLM2 ...) and qwen3 can");
  }
  return *architecture;
}

// The layer's three matrices, if they are what the MoE form can hold.
Result<DenseFfn> FindFfn(const GgufFile& src, std::int64_t layer) {
  DenseFfn ffn;
  const std::pair<const GgufTensor**, const char*> parts[] = {
      {&ffn.gate, "ffn_gate.weight"}, {&ffn.up, "ffn_up.weight"}, {&ffn.down, "ffn_down.weight"}};
  for (const auto& [tensor, name] : parts) {
    *tensor = src.FindTensor(LayerName(layer, name));
    if (*tensor == nullptr) return InvalidArgument(src.path() + ": tensor '" + LayerName(layer, name) + "' is missing");
    if ((*tensor)->dims.size() != 2) {
      return InvalidArgument(src.path() + ": tensor '" + LayerName(layer, name) +
                             "' is no matrix: " + ShapeText(**tensor));
    }
  }
  if (ffn.gate->dims != ffn.up->dims || ffn.gate->dim(0) != ffn.down->dim(1) || ffn.gate->dim(1) != ffn.down->dim(0)) {
    return InvalidArgument(src.path() + ": layer " + std::to_string(layer) +
                           "'s feed-forward shapes do not fit: gate " + ShapeText(*ffn.gate) + ", up " +
                           ShapeText(*ffn.up) + ", down " + ShapeText(*ffn.down));
  }
  ffn.norm = src.FindTensor(LayerName(layer, "ffn_norm.weight"));
  return ffn;
}

// Biases, scales and the like: leaving them out would be another model.
Status CheckNothingElse(const GgufFile& src) {
  constexpr std::string_view kPlaced[] = {"ffn_gate.weight", "ffn_up.weight", "ffn_down.weight", "ffn_norm.weight"};
  for (const GgufTensor& tensor : src.tensors()) {
    const std::size_t at = tensor.name.find(".ffn_");
    if (at == std::string::npos) continue;
    const std::string_view rest = std::string_view(tensor.name).substr(at + 1);
    if (std::find(std::begin(kPlaced), std::end(kPlaced), rest) == std::end(kPlaced)) {
      return Unsupported(src.path() + ": tensor " + Quoted(tensor.name) + " has no place in the MoE form");
    }
  }
  return {};
}

}  // namespace

std::string LayerName(std::int64_t layer, std::string_view rest) {
  return "blk." + std::to_string(layer) + "." + std::string(rest);
}

std::string ShapeText(const GgufTensor& tensor) {
  std::string out;
  for (const std::int64_t dim : tensor.dims) out += (out.empty() ? "" : " x ") + std::to_string(dim);
  return out;
}

Result<std::vector<float>> TensorFloats(const GgufTensor& tensor, const std::string& path) {
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  if (!Dequantize(tensor.type, tensor.data.data(), values.data(), tensor.elements())) {
    return Unsupported(path + ": tensor " + Quoted(tensor.name) + " of type " + std::string(Info(tensor.type).name) +
                       " holds no weights");
  }
  return values;
}

Result<DenseModel> FindDenseFfns(const GgufFile& src) {
  DenseModel dense;
  QUORUM_ASSIGN(dense.architecture, CheckArchitecture(src));
  const std::string key = dense.architecture + ".block_count";
  QUORUM_ASSIGN(const auto layers, src.GetInt(key));
  if (!layers || *layers < 1 || *layers > kMaxLayers) {
    return InvalidArgument(src.path() + ": key '" + key + "' is missing or out of range");
  }
  QUORUM_TRY(CheckNothingElse(src));
  for (std::int64_t i = 0; i < *layers; ++i) {
    QUORUM_ASSIGN(auto ffn, FindFfn(src, i));
    if (dense.architecture == "qwen3" && i > 0 && ffn.gate->dims != dense.layers[0].gate->dims) {
      return Unsupported(src.path() + ": qwen3moe needs feed-forward networks of one size, layer " + std::to_string(i) +
                         "'s differs from layer 0's");
    }
    dense.layers.push_back(ffn);
  }
  return dense;
}

}  // namespace quorum::quant
