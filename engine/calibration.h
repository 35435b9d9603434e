// Makes an importance matrix: what every matrix of a model is multiplied with while it reads a text, in floats. Layers
// come and go one after the other, each a model of its own whose embedding is the stream that reaches it, so that
// memory holds one layer in bf16 and the text's stream however large the model is.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/base/result.h"
#include "engine/memory_limit.h"
#include "engine/model_spec.h"
#include "engine/model_tensors.h"
#include "engine/thread_pool.h"
#include "engine/weights.h"
#include "quant/imatrix.h"
#include "quant/quantize_model.h"
#include "tokenizer/tokenizer.h"

namespace quorum::engine {

struct CalibrationOptions {
  ThreadPool* pool = nullptr;       // required
  std::int32_t window = 512;        // tokens that see each other
  std::optional<tok::TokenId> bos;  // before the tokens of each window
  MemoryLimit memory;               // available == 0: ask the system
  Weights::ReleaseFn release;       // is told of file bytes that are not needed any more; may be null
  /// After each window: done and in all, windows times layers. False stops. May be null.
  std::function<bool(std::int64_t done, std::int64_t total)> progress;
};

/// Sums of squares by column and rows seen, for each matrix of `sources` (GGUF's names) that the layers of `spec` read;
/// of stacks, for each expert or head. An expert that no token visited has count 0.
/// Errors: kUnsupported (an encoder-decoder); kInvalidArgument (no tokens, a token outside the vocabulary, a text whose
/// stream or a layer that does not fit into memory); kCancelled; those of Model::Create.
Result<quant::ImportanceMatrix> Calibrate(const ModelSpec& spec, const ModelTensors& tensors,
                                          std::span<const quant::SourceTensor> sources,
                                          std::span<const tok::TokenId> tokens, const CalibrationOptions& options);

}  // namespace quorum::engine
