// Carving: a dense model becomes a Mixture-of-Experts model without a weight more. Each feed-forward network is split
// into a shared part, which every token uses, and routed parts (Pei et al. 2025, "CMoE", arXiv:2502.04416). Which
// neurons go where is engine/carve_plan.h's to say; this writes it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "quant/dense_ffn.h"
#include "quant/gguf_writer.h"
#include "quant/upcycle.h"

namespace quorum::quant {

struct CarvedLayer {
  std::vector<std::int32_t> shared;                // neurons
  std::vector<std::vector<std::int32_t>> experts;  // neurons of each, equally many
  std::vector<float> router;                       // (experts, k)
};

struct CarveOptions {
  int top_k = 4;
  bool replace = false;  // write over an existing file
};

/// Neurons of an expert that leave at least `shared` of `n` to the shared part: a multiple of 32, so that the parts'
/// rows are whole blocks. 0: there is no room for that.
std::int64_t CarvedSize(std::int64_t n, int experts, double shared);

/// Whether Carve takes a model, and its networks have room for so many experts, known before anything runs. Errors:
/// kUnsupported (another architecture), kInvalidArgument.
Status CheckCarvable(const std::string& path, const DenseModel& dense, int experts, double shared);

/// Reads the dense `src` (architecture llama) and writes `dst` in the names of granitemoe, whose experts stand beside a
/// shared one that is not gated. Rows of gate and up are copied verbatim; down is cut across its blocks and made anew,
/// in its own type where that can be, else in Q8_0. A sum of parts must not weigh them: the router's logits are so
/// small that their softmax is even (within 0.1 %), and the routed parts' down rows carry the factor top_k. With all
/// experts the new model is the old one but for that rounding. Errors: kInvalidArgument (a layer's neurons are not all
/// placed once; options; `dst` exists), kUnsupported, and those of reading and writing.
Result<UpcycleSummary> Carve(const std::string& src, const std::string& dst, const std::vector<CarvedLayer>& layers,
                             const CarveOptions& options, const GgufWriter::Progress& progress = {});

/// Euclidean lengths of the columns of a layer's down matrix: what a neuron's activation is worth. Error: of
/// TensorFloats.
Result<std::vector<float>> NeuronReach(const GgufTensor& down, const std::string& path);

}  // namespace quorum::quant
