#include "engine/t5_gguf.h"

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "engine/gguf_keys.h"
#include "engine/gguf_tensors.h"

namespace quorum::engine {
namespace {

Error In(const quant::GgufFile& file, const Error& error) {
  return Error{error.code, file.path() + ": " + error.message, {}, {}};
}

/// q, k, v and o of "<prefix>attn_" or "<prefix>cross_attn_".
template <typename Target>
Status Projections(TensorFinder& finder, const std::string& prefix, Target& target) {
  QUORUM_ASSIGN(target.q, finder.Required(prefix + "q.weight"));
  QUORUM_ASSIGN(target.k, finder.Required(prefix + "k.weight"));
  QUORUM_ASSIGN(target.v, finder.Required(prefix + "v.weight"));
  QUORUM_ASSIGN(target.output, finder.Required(prefix + "o.weight"));
  return {};
}

Result<LayerTensors> Layer(TensorFinder& finder, const std::string& prefix, bool decoder, bool gated) {
  LayerTensors layer;
  QUORUM_ASSIGN(layer.attention_norm, finder.Required(prefix + "attn_norm.weight"));
  QUORUM_TRY(Projections(finder, prefix + "attn_", layer));
  if (decoder) {
    CrossTensors cross;
    QUORUM_ASSIGN(cross.norm, finder.Required(prefix + "cross_attn_norm.weight"));
    QUORUM_TRY(Projections(finder, prefix + "cross_attn_", cross));
    finder.Find(prefix + "cross_attn_rel_b.weight");  // in T5's first files; was never used
    layer.cross = std::move(cross);
  }
  QUORUM_ASSIGN(layer.ffn_norm, finder.Required(prefix + "ffn_norm.weight"));
  NetworkTensors network;
  if (gated) {
    QUORUM_ASSIGN(network.gate, finder.Required(prefix + "ffn_gate.weight"));
  }
  QUORUM_ASSIGN(network.up, finder.Required(prefix + "ffn_up.weight"));
  QUORUM_ASSIGN(network.down, finder.Required(prefix + "ffn_down.weight"));
  layer.networks.push_back(std::move(network));
  return layer;
}

}  // namespace

Result<ModelSpec> T5SpecFromGguf(const quant::GgufFile& file) {
  KeyReader keys(file, kT5Architecture);
  ModelSpec spec;
  spec.architecture = kT5Architecture;
  QUORUM_ASSIGN(const std::optional<std::string> name, file.GetString("general.name"));
  spec.name = name.value_or("");
  QUORUM_ASSIGN(spec.context_length, keys.RequiredInt("context_length"));
  QUORUM_ASSIGN(spec.d_model, keys.RequiredInt("embedding_length", 1, 1 << 17));
  QUORUM_ASSIGN(const std::int32_t layers, keys.RequiredInt("block_count", 1, 1024));
  QUORUM_ASSIGN(const std::int32_t decoder_layers, keys.IntOr("decoder_block_count", layers, 1, 1024));
  QUORUM_ASSIGN(const std::int32_t ff, keys.RequiredInt("feed_forward_length", 1, 1 << 20));
  QUORUM_ASSIGN(spec.attention.heads, keys.RequiredInt("attention.head_count", 1, 4096));
  QUORUM_ASSIGN(spec.attention.kv_heads, keys.IntOr("attention.head_count_kv", spec.attention.heads, 1, 4096));
  QUORUM_ASSIGN(spec.attention.head_dim, keys.RequiredInt("attention.key_length", 1, 1024));
  QUORUM_TRY(keys.OnlyInt("attention.value_length", spec.attention.head_dim));
  spec.attention.scale = 1.0F;
  QUORUM_ASSIGN(spec.relative_bias.buckets, keys.RequiredInt("attention.relative_buckets_count", 4, 4096));
  spec.relative_bias.max_distance = 128;  // there is no key for it
  QUORUM_ASSIGN(const double eps, keys.FloatOr("attention.layer_norm_rms_epsilon", 0.0));
  if (!(eps > 0.0 && eps < 1.0)) {
    return keys.Fault("attention.layer_norm_rms_epsilon", fmt::format("is {}, expected between 0 and 1", eps));
  }
  spec.norm_eps = static_cast<float>(eps);
  keys.Ignore("attention.layer_norm_epsilon");  // the same under another name
  const quant::GgufTensor* embedding = file.FindTensor("token_embd.weight");
  if (embedding == nullptr) return InvalidArgument(file.path() + ": tensor 'token_embd.weight' is missing");
  if (embedding->dim(1) > KeyReader::kMax) {
    return InvalidArgument(file.path() + ": tensor 'token_embd.weight' is too large");
  }
  spec.vocab_size = static_cast<std::int32_t>(embedding->dim(1));
  QUORUM_TRY(keys.OnlyInt("vocab_size", spec.vocab_size));
  QUORUM_ASSIGN(spec.decoder_start, keys.IntOr("decoder_start_token_id", 0));
  // T5 1.1 has a gate, and an output matrix of its own. The first T5 scales what it multiplies with the embedding.
  spec.gated = file.FindTensor("enc.blk.0.ffn_gate.weight") != nullptr;
  spec.activation = spec.gated ? Activation::kGelu : Activation::kRelu;
  spec.tied_embeddings = file.FindTensor("output.weight") == nullptr;
  if (spec.tied_embeddings) spec.logit_scale = 1.0F / std::sqrt(static_cast<float>(spec.d_model));
  LayerSpec layer;
  layer.ff = ff;
  spec.encoder.assign(static_cast<std::size_t>(layers), layer);
  spec.layers.assign(static_cast<std::size_t>(decoder_layers), layer);
  QUORUM_TRY(keys.AllRead());
  if (const Status status = CheckSpec(spec); !status.ok()) return In(file, status.error());
  return spec;
}

Result<ModelTensors> T5TensorsFromGguf(const quant::GgufFile& file, const ModelSpec& spec) {
  TensorFinder finder(file);
  ModelTensors tensors;
  QUORUM_ASSIGN(tensors.embedding, finder.Required("token_embd.weight"));
  QUORUM_ASSIGN(tensors.output, finder.Optional("output.weight"));
  QUORUM_ASSIGN(tensors.final_norm, finder.Required("dec.output_norm.weight"));
  QUORUM_ASSIGN(tensors.encoder_norm, finder.Required("enc.output_norm.weight"));
  QUORUM_ASSIGN(tensors.position_bias, finder.Required("dec.blk.0.attn_rel_b.weight"));
  QUORUM_ASSIGN(tensors.encoder_position_bias, finder.Required("enc.blk.0.attn_rel_b.weight"));
  for (std::size_t i = 0; i < spec.encoder.size(); ++i) {
    QUORUM_ASSIGN(LayerTensors layer, Layer(finder, fmt::format("enc.blk.{}.", i), false, spec.gated));
    tensors.encoder.push_back(std::move(layer));
  }
  for (std::size_t i = 0; i < spec.layers.size(); ++i) {
    QUORUM_ASSIGN(LayerTensors layer, Layer(finder, fmt::format("dec.blk.{}.", i), true, spec.gated));
    tensors.layers.push_back(std::move(layer));
  }
  QUORUM_TRY(finder.AllUsed());
  if (const Status status = CheckTensors(spec, tensors); !status.ok()) return In(file, status.error());
  return tensors;
}

}  // namespace quorum::engine
