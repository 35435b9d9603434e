// The tensors of a decoder as its file holds them, found by role instead of by name. A file format needs one function
// that fills this in; packing (weights.h) and the scalar reference (reference.h) read only this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/model_spec.h"
#include "quant/dtype.h"

namespace quorum::engine {

/// Makes the rows of a matrix that its file stores in another way: transposed, fused with others, in another type, with scales
/// apart (tensor_views.h, hf_*.h). Immutable and thread-safe; points into the file.
class RowSource {
 public:
  RowSource() = default;
  RowSource(const RowSource&) = delete;
  RowSource& operator=(const RowSource&) = delete;
  virtual ~RowSource() = default;

  /// Writes rows [first, first + count) to `dst`, count * TensorRef::row_bytes() bytes of TensorRef::type.
  virtual void Read(std::int64_t first, std::int64_t count, std::byte* dst) const = 0;
  /// The file's bytes that nobody needs any more once rows [first, first + count) are the last that were read, for progress and
  /// for giving pages back: ranges one after the other give everything once. Where rows lie across the file's lines, all of
  /// it comes with the last row. Other tensors may read the same bytes.
  virtual std::vector<std::span<const std::byte>> Bytes(std::int64_t first, std::int64_t count) const = 0;
  /// Where TensorRef::type is only a way to get at the values, which are smaller in the file: the type to keep them in when nobody
  /// asks for another.
  virtual std::optional<quant::DType> Smaller() const { return {}; }
};

/// A (rows, cols) row-major matrix of y = W x, or a vector with rows == 1. Points into the file.
struct TensorRef {
  std::string name;  // for messages
  quant::DType type = quant::DType::kF32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::span<const std::byte> data;          // quant::BytesOf(type, rows * cols) bytes; empty when there is a source
  std::shared_ptr<const RowSource> source = nullptr;  // null: the rows are `data`

  std::int64_t row_bytes() const { return quant::BytesOf(type, cols); }
  /// Rows [first, first + count) in `type`: a place in the file, or in `room`, which is made large enough.
  const std::byte* Rows(std::int64_t first, std::int64_t count, std::vector<std::byte>& room) const;
  /// Dequantizes row `i` into `dst` (cols floats).
  void Row(std::int64_t i, float* dst) const;
  /// All values, row by row.
  std::vector<float> Floats() const;
  /// The file's bytes behind rows [first, first + count), as RowSource::Bytes.
  std::vector<std::span<const std::byte>> FileParts(std::int64_t first, std::int64_t count) const;
  std::int64_t file_bytes() const;
};

/// One network: gate (empty where networks have none) and up (ff, d_model), down (d_model, ff).
struct NetworkTensors {
  TensorRef gate, up, down;
  std::optional<TensorRef> gate_bias, up_bias, down_bias;  // (ff), (ff), (d_model)
};

/// A decoder layer's attention to the encoder's output; shapes as of the layer's own attention.
struct CrossTensors {
  TensorRef norm;  // (d_model)
  TensorRef q, k, v, output;
};

/// What multi-head latent attention has in place of k and v. One matrix a head brings queries to the latent space and
/// one brings values back.
struct LatentTensors {
  std::optional<TensorRef> q_down, q_norm;  // (q_rank, d_model), (q_rank); q is then (heads * head_dim, q_rank)
  TensorRef kv_down;                        // (kv_rank + rope_dim, d_model)
  TensorRef kv_norm;                        // (kv_rank)
  bool k_up_transposed = false;             // k_up is (nope_dim, kv_rank), as files with one matrix for K and V have it
  std::vector<TensorRef> k_up;              // heads x (kv_rank, nope_dim)
  std::vector<TensorRef> v_up;              // heads x (value_dim, kv_rank)
};

struct LayerTensors {
  TensorRef attention_norm;                                           // (d_model)
  std::optional<TensorRef> attention_norm_bias, attention_post_norm;  // (d_model)
  TensorRef q, k, v, output;            // (heads * head_dim, d_model) ... (d_model, heads * head_dim)
  std::optional<LatentTensors> latent;  // then k and v are empty
  std::optional<TensorRef> q_bias, k_bias, v_bias, output_bias;
  std::optional<TensorRef> q_norm, k_norm;                // (head_dim), or the whole row
  std::optional<TensorRef> sinks;                         // (heads)
  std::optional<CrossTensors> cross;                      // of a decoder behind an encoder
  TensorRef ffn_norm;                                     // (d_model)
  std::optional<TensorRef> ffn_norm_bias, ffn_post_norm;  // (d_model)
  std::optional<TensorRef> router;                        // (experts, d_model)
  std::optional<TensorRef> router_bias;                   // (experts)
  std::optional<TensorRef> choice_bias;                   // (experts)
  std::vector<NetworkTensors> networks;                   // one when dense, else one an expert
  std::optional<NetworkTensors> shared;
  std::optional<TensorRef> shared_gate;  // (d_model)
};

struct ModelTensors {
  TensorRef embedding;   // (vocab_size, d_model)
  TensorRef final_norm;  // (d_model)
  std::optional<TensorRef> final_norm_bias;
  std::optional<TensorRef> output;      // (vocab_size, d_model); absent: the embedding serves
  std::optional<TensorRef> logit_bias;  // (vocab_size)
  std::vector<LayerTensors> layers;
  std::optional<TensorRef> position_bias;  // (buckets, heads), of all layers

  std::vector<LayerTensors> encoder;
  std::optional<TensorRef> encoder_norm;           // (d_model)
  std::optional<TensorRef> encoder_position_bias;  // (buckets, heads)
};

/// Checks that every tensor is there, has the shape that `spec` asks for and a type with weights in it.
/// Errors: kInvalidArgument naming the tensor, what was expected and what was found.
Status CheckTensors(const ModelSpec& spec, const ModelTensors& tensors);

}  // namespace quorum::engine
