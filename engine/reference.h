// The whole forward pass once more, as plain scalar loops over dequantized weights: what forward.cc must compute, to be
// read and to test against. Slow by design, and kept so: no kernels, no packing, no cache.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model_spec.h"
#include "engine/model_tensors.h"
#include "tokenizer/tokenizer.h"

namespace quorum::engine {

/// A model in floats. Sums are kept in double precision, values between operations are floats.
class Reference {
 public:
  /// REQUIRES: CheckSpec and CheckTensors accept the arguments; both must outlive the object.
  /// With `round_activations`, inputs of matrices of a quantized type are first rounded to int8 as the kernels do it:
  /// what is left between this and forward.cc is then only the rounding of float sums.
  explicit Reference(const ModelSpec& spec, const ModelTensors& tensors, bool round_activations = false);

  /// Logits (tokens, vocab_size) of every position of one sequence. With an encoder, `source` is what it reads.
  std::vector<float> Logits(std::span<const tok::TokenId> tokens, std::span<const tok::TokenId> source = {}) const;

 private:
  using Floats = std::vector<float>;  // (rows, cols) row-major
  struct Matrix {
    Floats values;
    std::int64_t act_block = 0;  // inputs are rounded to int8 in blocks of this many; 0: not
  };
  struct Network {
    Matrix gate, up, down;
    Floats gate_bias, up_bias, down_bias;
  };
  struct Latent {
    Matrix q_down, kv_down;
    Floats q_norm, kv_norm;
    std::vector<Matrix> k_up, v_up;  // one a head
  };
  struct NormVectors {
    Floats weight, bias;
  };
  struct Layer {
    Matrix q, k, v, output, router;
    Matrix cross_q, cross_k, cross_v, cross_output;
    Latent latent;
    NormVectors attention_norm, cross_norm, ffn_norm;
    Floats q_bias, k_bias, v_bias, output_bias, q_norm, k_norm, sinks, router_bias, choice_bias, shared_gate;
    Floats attention_post_norm, ffn_post_norm;
    std::vector<Network> networks;  // shared expert last
  };

  /// What a row sees: positions [first, last], with a bias by distance (buckets, heads) or none.
  struct Sight {
    std::int64_t first, last;
    const Floats* bias = nullptr;
    bool bidirectional = false;
  };

  std::vector<Layer> Load(const std::vector<LayerTensors>& layers) const;
  Matrix Load(const TensorRef& tensor) const;
  Network Load(const NetworkTensors& tensors) const;
  Latent Load(const LatentTensors& tensors) const;
  Floats Normed(std::span<const float> x, const NormVectors& norm) const;
  void AddBlock(Floats block, const Floats& post_norm, std::span<float> x) const;
  float Activate(float gate, float up) const;
  static Floats MatVec(const Matrix& w, std::span<const float> x, const Floats& bias = {});

  Floats Embed(std::span<const tok::TokenId> tokens) const;
  Floats Encode(std::span<const tok::TokenId> source) const;
  void Attention(const Layer& layer, const LayerSpec& shape, bool encoder, std::int64_t tokens, Floats& x) const;
  void CrossAttention(const Layer& layer, const Floats& encoded, std::int64_t tokens, Floats& x) const;
  void QueryKeyValue(const Layer& layer, const LayerSpec& shape, std::int64_t token, const Floats& normed, Floats& q,
                     Floats& k, Floats& v) const;
  void LatentQueryKeyValue(const Layer& layer, std::int64_t token, const Floats& normed, Floats& q, Floats& k,
                           Floats& v) const;
  Floats ValuesOfLatents(const Layer& layer, const Floats& mixed) const;
  Floats Attend(const Layer& layer, const Sight& sight, std::int64_t token, const Floats& q, const Floats& keys,
                const Floats& values) const;
  void NormAndRotate(const Floats& norm, bool rotate, std::int64_t heads, std::int64_t position,
                     std::span<float> row) const;
  void Clamp(std::span<float> x) const;
  void Rotate(std::int64_t position, std::span<float> head) const;
  void FeedForward(const Layer& layer, const LayerSpec& shape, std::span<float> x) const;
  std::vector<std::size_t> Choose(const Layer& layer, const Floats& logits) const;
  Floats Route(const Layer& layer, const LayerSpec& shape, std::span<const float> x) const;

  const ModelSpec& spec_;
  bool round_activations_;
  Floats embedding_, logit_bias_, position_bias_, encoder_position_bias_;
  NormVectors final_norm_, encoder_norm_;
  Matrix output_;
  std::vector<Layer> layers_, encoder_;
};

}  // namespace quorum::engine
