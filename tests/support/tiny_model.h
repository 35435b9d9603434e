// Small random decoders as GGUF bytes, in memory: every architecture, shape and type that a test wants to see.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/model_spec.h"
#include "engine/model_tensors.h"
#include "quant/dtype.h"
#include "quant/gguf.h"
#include "quant/gguf_writer.h"

namespace quorum::testing {

/// What to make. K-quants need d_model, ff and heads * head_dim to be multiples of 256.
struct TinyShape {
  std::string architecture = "llama";
  std::int32_t layers = 2;
  std::int32_t d_model = 64;
  std::int32_t heads = 4;
  std::int32_t kv_heads = 2;
  std::int32_t head_dim = 16;
  std::int32_t ff = 96;
  std::int32_t vocab = 72;
  std::int32_t context = 512;
  std::int32_t experts = 0;
  std::int32_t top_k = 2;
  std::int32_t shared_ff = 0;  // qwen2moe, granitemoe
  std::int32_t window = 0;
  // deepseek2: heads of head_dim, of which rope_dim are rotated, made of latents. Experts are sigmoids with a bias on the
  // choice where there are groups.
  std::int32_t kv_rank = 24;
  std::int32_t q_rank = 0;
  std::int32_t rope_dim = 8;
  std::int32_t value_dim = 12;
  bool split_kv_b = false;
  std::int32_t groups = 0;
  std::int32_t top_groups = 0;
  bool tied = true;
  bool single_experts = false;  // blk.N.ffn_gate.E.weight instead of stacked ones
  bool copies = false;          // all experts are the dense model's network, as upcycling makes them
  bool biases = false;          // q, k, v (and output for llama)
  std::uint64_t seed = 1;
  quant::DType type = quant::DType::kF32;       // matrices
  quant::DType up_type = quant::DType::kF32;    // of up alone; kF32: as `type`
  quant::DType down_type = quant::DType::kF32;  // of down alone; kF32: as `type`
  quant::DType embedding_type = quant::DType::kF32;
  bool int8_exact = false;  // Q4_K as q4x
  bool tokenizer = false;  // byte-level BPE of single bytes and ChatML tokens; sets vocab to 260
  /// Last changes to the file: more keys, other values.
  std::function<void(quant::GgufWriter&)> edit = nullptr;
};

/// The file's bytes. Values depend only on seed and tensor name, so that two shapes share what they have in common.
std::vector<std::byte> MakeTinyGguf(const TinyShape& shape);

/// The same, read back.
struct TinyModel {
  std::vector<std::byte> bytes;
  quant::GgufFile file;
  engine::ModelSpec spec;
  engine::ModelTensors tensors;  // point into `bytes`
};
std::unique_ptr<TinyModel> MakeTinyModel(const TinyShape& shape);

/// `n` elements of `type`, roughly normal with deviation `sigma`; block formats that cannot be quantized to get random
/// codes and suitable scales.
std::vector<std::byte> RandomTensor(quant::DType type, std::int64_t n, double sigma, std::uint64_t seed);

}  // namespace quorum::testing
