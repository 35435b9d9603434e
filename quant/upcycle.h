// Sparse upcycling (Komatsuzaki et al., "Sparse Upcycling: Training Mixture-of-Experts from Dense Checkpoints",
// 2022, https://arxiv.org/abs/2212.05055): a dense GGUF model becomes a Mixture-of-Experts model whose experts all
// start as the dense model's feed-forward network.
#pragma once

#include <cstdint>
#include <string>

#include "engine/base/result.h"
#include "quant/gguf_writer.h"

namespace quorum::quant {

struct UpcycleOptions {
  int experts = 8;         // 2..1024
  int top_k = 2;           // 1..experts
  std::uint64_t seed = 0;  // of the router and of the noise
  /// Standard deviation of the normal noise added to each expert's weights, in units of the tensor's root mean square.
  /// 0 copies the quantized blocks verbatim; anything else needs types that `CanEncode` knows.
  double noise = 0.0;
  bool replace = false;  // write over an existing file
};

struct UpcycleSummary {
  std::string name;          // general.name of the new model; empty if the dense one has none
  std::string architecture;  // of the new model
  std::int64_t layers = 0;
  std::int64_t dense_parameters = 0;
  std::int64_t parameters = 0;
  std::int64_t active_parameters = 0;  // a token uses these: all but the experts that are not chosen
  std::uint64_t bytes = 0;
  std::int64_t requantized = 0;  // of AddExperts: matrices that came in another type than the experts they join
};

/// Reads the dense model `src` and writes the MoE `dst`, in the names and shapes that llama.cpp gives Mixtral:
/// `ffn_{gate,up,down}_exps` {k, n, experts} and a router `ffn_gate_inp` F32 {k, experts}. Architectures: llama
/// (Llama, Mistral, SmolLM2 ...) stays llama, qwen3 becomes qwen3moe.
///
/// The router's weights are normal with standard deviation 1 / |g|, where g is the layer's ffn_norm weight: its
/// input is g times a vector of root mean square 1, so the logits' deviation is about 1 whatever the model, and which
/// experts are chosen does not depend on that scale at all. On SmolLM2-135M (8 experts, top-2) the deviation is 0.6,
/// the first gate 0.59 on average, and 6.5 experts are in effective use a layer.
///
/// The same options and source give the same bytes, on every machine. Errors: kInvalidArgument (options; not a dense
/// model; `dst` exists or is `src`), kUnsupported (architecture, parts of a feed-forward network that the MoE form has
/// no place for, noise on a type that cannot be quantized), and those of reading and writing.
Result<UpcycleSummary> Upcycle(const std::string& src, const std::string& dst, const UpcycleOptions& options,
                               const GgufWriter::Progress& progress = {});

}  // namespace quorum::quant
