// In which precision matrices are kept, apart from what their file holds (`--weights`).
#pragma once

#include <cstdint>

#include "engine/model_tensors.h"

namespace quorum::engine {

enum class WeightChoice : std::uint8_t {
  kAuto,  // as in the file; F8 and the like, which no kernel multiplies with, as Q8_0
  kF32,   // everything in floats, quantized matrices too: exact
  kBf16,  // the same, rounded to bfloat16
  kQ8,    // unquantized matrices are quantized to Q8_0, quantized ones stay
  kQ4,    // unquantized matrices are quantized to Q4_0 (embedding and output matrix: Q8_0), quantized ones stay
};

/// `tensors` with their matrices as `choice` wants them; conversion happens while rows are read. Router, norms and
/// biases stay floats anyway. Matrices whose rows are no multiple of 32 cannot be quantized and stay in floats; a
/// warning counts them.
ModelTensors ChooseWeights(const ModelTensors& tensors, WeightChoice choice);

}  // namespace quorum::engine
