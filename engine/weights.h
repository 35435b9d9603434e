// All weights of a model in one anonymous arena, packed for the kernels (DESIGN 5). Packed once, read by every
// instruction set, by decode and by prefill; the file's pages are given back as they are packed, so that memory never
// holds two copies.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/base/aligned_buffer.h"
#include "engine/base/result.h"
#include "engine/kernels/packed_matrix.h"
#include "engine/model_spec.h"
#include "engine/model_tensors.h"
#include "engine/position_bias.h"
#include "engine/thread_pool.h"
#include "engine/weight_jobs.h"

namespace quorum::engine {

/// The group of workers, of `nodes`, that computes an expert where experts are shared out: neighbours go together.
constexpr std::int64_t NodeOfExpert(std::int64_t expert, std::int64_t experts, std::int64_t nodes) {
  return expert * nodes / experts;
}

/// One packed network: y = down(activation(gate x, up x)). Gate, up and down lie one after the other in memory. Without
/// a gate its views have n == 0.
struct NetworkWeights {
  std::int64_t ff = 0;
  bool interleaved = false;          // panel 2p of gate_up is gate's panel p, 2p + 1 is up's
  PackedView gate_up{};              // (2 * ff rounded up to panels, d_model); only when interleaved
  PackedView gate{}, up{};           // (ff, d_model); views of every other panel when interleaved
  PackedView down{};                 // (d_model, ff)
  const float* gate_bias = nullptr;  // (ff)
  const float* up_bias = nullptr;    // (ff)
  const float* down_bias = nullptr;  // (d_model)
};

/// A norm's vectors, (n) each.
struct NormWeights {
  const float* weight = nullptr;
  const float* bias = nullptr;  // of a layer norm; null with RMS
};

/// Forms in which a row of activations is needed by the matrices that read it.
struct ActForms {
  bool floats = false;    // float weights
  bool block32 = false;   // ActBlock 32
  bool block256 = false;  // ActBlock 256
  void Add(PackFormat format);
  void Add(const ActForms& other);
};

/// Over all layers: the forms of the inputs of width d_model, of attention's outputs and of the networks' hidden rows;
/// with latent attention, of the queries' latent, of the parts of queries and of the mixed latents of each head.
struct WeightForms {
  ActForms model, attention, hidden;
  ActForms query_latent, query_nope, mixed_latent;
};

/// What packing will need and give.
struct WeightPlan {
  std::int64_t bytes = 0;
  WeightForms forms;
};

/// A decoder layer's attention to the encoder's output.
struct CrossWeights {
  NormWeights norm;  // (d_model)
  PackedView q{}, k{}, v{}, output{};
  ActForms input;  // of q
};

/// LatentTensors, packed; one matrix a head in k_up and v_up.
struct LatentWeights {
  PackedView q_down{};             // (q_rank, d_model); n == 0: q reads the layer's input
  const float* q_norm = nullptr;   // (q_rank)
  PackedView kv_down{};            // (kv_rank + rope_dim, d_model)
  const float* kv_norm = nullptr;  // (kv_rank)
  std::vector<PackedView> k_up;    // (kv_rank, nope_dim)
  std::vector<PackedView> v_up;    // (value_dim, kv_rank)
};

/// Float vectors point into the arena; an absent one is null.
struct LayerWeights {
  NormWeights attention_norm;                  // (d_model)
  const float* attention_post_norm = nullptr;  // (d_model)
  PackedView q{}, k{}, v{}, output{};
  LatentWeights latent;  // empty without latent attention; else k and v are
  const float* q_bias = nullptr;
  const float* k_bias = nullptr;
  const float* v_bias = nullptr;
  const float* output_bias = nullptr;
  const float* q_norm = nullptr;
  const float* k_norm = nullptr;
  const float* sinks = nullptr;  // (heads)
  const PositionBias* position_bias = nullptr;
  CrossWeights cross;                    // q.n == 0: none
  NormWeights ffn_norm;                  // (d_model)
  const float* ffn_post_norm = nullptr;  // (d_model)
  PackedView router{};                   // kF32 (experts, d_model); n == 0 when dense
  const float* router_bias = nullptr;    // (experts)
  const float* choice_bias = nullptr;    // (experts)
  std::vector<NetworkWeights> networks;  // dense: one; else the experts, then the shared expert if there is one
  PackedView shared_gate{};              // kF32 (1, d_model); n == 0 when there is none
  ActForms attention_input, attention_output, ffn_input;
};

/// Immutable after loading; thread-safe.
class Weights {
 public:
  using ReleaseFn = PackReleaseFn;

  /// Packs `tensors` with all threads of `pool`. `release` and `progress` (the file bytes packed so far and in all) are
  /// called on this thread every few megabytes. Both may be null; `progress` stops by returning false.
  /// Errors: kUnsupported (no packed form for a type), kInternal (no address space), kCancelled, those of `release`.
  static Result<Weights> Pack(const ModelSpec& spec, const ModelTensors& tensors, ThreadPool& pool,
                              const ReleaseFn& release, const PackProgressFn& progress);

  /// What Pack will need. Errors: kUnsupported as Pack.
  static Result<WeightPlan> Plan(const ModelSpec& spec, const ModelTensors& tensors);

  std::int64_t bytes() const { return static_cast<std::int64_t>(arena_.size()); }
  const std::vector<LayerWeights>& layers() const { return layers_; }
  const std::vector<LayerWeights>& encoder() const { return encoder_; }  // its layers
  const NormWeights& encoder_norm() const { return encoder_norm_; }      // behind them
  const ActForms& encoder_output() const { return encoder_output_; }     // as cross attention reads it
  const NormWeights& final_norm() const { return final_norm_; }
  const PackedView& output() const { return output_; }     // (vocab_size, d_model)
  const float* logit_bias() const { return logit_bias_; }  // (vocab_size), or null
  const ActForms& output_input() const { return output_input_; }
  const WeightForms& forms() const { return forms_; }

  /// Writes the embedding of `token` (d_model floats), exactly as quant::Dequantize. REQUIRES: token < vocab_size.
  void Embed(std::int64_t token, float* dst) const;

 private:
  friend class WeightPacker;
  void ShareOutExperts(const ModelSpec& spec, const std::vector<int>& nodes, std::uint8_t* arena) const;
  AlignedBuffer arena_;
  std::vector<LayerWeights> layers_, encoder_;
  NormWeights encoder_norm_;
  ActForms encoder_output_;
  std::unique_ptr<const PositionBias> position_bias_, encoder_position_bias_;
  NormWeights final_norm_;
  PackedView output_{};
  const float* logit_bias_ = nullptr;
  ActForms output_input_;
  WeightForms forms_;
  // The embedding, when it is not the output matrix: rows as in the file.
  const std::uint8_t* embedding_ = nullptr;
  quant::DType embedding_type_ = quant::DType::kF32;
  std::int64_t d_model_ = 0;
};

}  // namespace quorum::engine
