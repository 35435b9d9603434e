// Finds the tensors of a Hugging Face folder by name and gives them as TensorRefs, whatever form they are stored in;
// and the parts of a name map that families share. A family's map calls these and nothing else knows names.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "engine/base/result.h"
#include "engine/hf_quantized.h"
#include "engine/model_spec.h"
#include "engine/model_tensors.h"
#include "quant/safetensors.h"

namespace quorum::engine {

/// Remembers which tensors were asked for, so that the others can be refused.
class HfTensors {
 public:
  HfTensors(const quant::SafetensorsModel& file, const HfQuantization& quantization)
      : file_(file), quantization_(quantization) {}

  const std::string& path() const { return file_.path(); }
  bool Has(const std::string& name) const { return file_.Find(name) != nullptr; }
  const quant::SafeTensor* Find(const std::string& name);

  /// A vector (n) as one row, or a matrix (rows, cols), under its full name. Errors: kInvalidArgument (missing, more
  /// axes), kUnsupported (element type).
  Result<TensorRef> Required(const std::string& name);
  Result<std::optional<TensorRef>> Optional(const std::string& name);

  /// The weight matrix of the linear layer `prefix` (without ".weight"), quantized or not (hf_quantized.h).
  Result<TensorRef> Linear(const std::string& prefix);
  Result<std::optional<TensorRef>> Bias(const std::string& prefix) { return Optional(prefix + ".bias"); }

  /// Matrix `i` (rows, cols) of a tensor (count, rows, cols); its name in messages is "name[i]".
  Result<TensorRef> Slice(const std::string& name, std::int64_t i, std::int64_t count);

  /// Matrix `i` of `prefix`_blocks and `prefix`_scales, gpt-oss' MXFP4.
  Result<TensorRef> Mxfp4(const std::string& prefix, std::int64_t i, std::int64_t count);

  /// Marks a tensor as used whatever it holds.
  void Ignore(const std::string& name) { Find(name); }
  /// The same for all tensors of the layers from `first` on that predict further tokens (DeepSeek-V3, section 2.2):
  /// a plain pass ends before them.
  void IgnorePredictionLayers(std::size_t first);
  /// Refuses tensors that nobody asked for, but for "rotary_emb.inv_freq": old files say there what the config says.
  Status AllUsed() const;

 private:
  Error Missing(const std::string& name) const;

  const quant::SafetensorsModel& file_;
  HfQuantization quantization_;
  std::set<std::string, std::less<>> used_;
};

// ---------------------------------------------------------------- parts of name maps

/// How the tensors of a layer's feed-forward part are called, below "model.layers.N.".
struct HfFfnNames {
  std::string_view dense = "mlp.";
  std::string_view router = "mlp.gate";
  std::string_view experts = "mlp.experts.";  // then "E."
  std::string_view gate = "gate_proj", up = "up_proj", down = "down_proj";
  std::string_view shared = "mlp.shared_expert.";
  std::string_view shared_gate = "mlp.shared_expert_gate";
};

/// A whole Llama-like decoder: model.embed_tokens, model.layers.N.{input_layernorm, self_attn.{q,k,v,o}_proj (with
/// q_norm and k_norm where they are), post_attention_layernorm, feed-forward}, model.norm, lm_head.
Status HfDecoderTensors(HfTensors& from, const ModelSpec& spec, const HfFfnNames& names, ModelTensors& tensors);
/// The same with the usual names.
Status HfLlamaTensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors);

/// Embedding, final norm and output matrix.
Status HfEnds(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors);
/// Norms and attention of the layer `prefix` ("model.layers.N.").
Status HfAttention(HfTensors& from, const std::string& prefix, LayerTensors& layer);
/// The networks of layer `i`: dense; one an expert ("experts.E.gate_proj"); or fused, `experts.gate_up_proj` (E, 2 ff,
/// d) with the gates first and `experts.down_proj` (E, d, ff), as transformers 5 holds them. With the shared expert.
Status HfFfn(HfTensors& from, const std::string& prefix, const ModelSpec& spec, std::size_t i, const HfFfnNames& names,
             LayerTensors& layer);
/// gate, up and down below `prefix`.
Result<NetworkTensors> HfNetwork(HfTensors& from, const std::string& prefix, const HfFfnNames& names);

}  // namespace quorum::engine
