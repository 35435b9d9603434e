// Models from Hugging Face folders in GGUF's words: metadata and tensors by the names and in the layouts that
// llama.cpp's converter gives them.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/model_spec.h"
#include "engine/model_tensors.h"
#include "quant/gguf.h"
#include "quant/gguf_writer.h"
#include "quant/quantize_model.h"

namespace quorum::engine {

/// GGUF's architecture for a `model_type`; empty where there is none that it can be written as.
std::string GgufArchitectureOf(const std::string& model_type);

/// Gives back file bytes that nobody needs any more.
using ReleaseFn = std::function<void(std::span<const std::byte>)>;

/// Sets `general.*` and `<architecture>.*`. Errors: kUnsupported (no architecture; settings that it has no keys for).
Status WriteGgufSpec(const ModelSpec& spec, quant::GgufWriter& writer);

/// The tensors, to be read as floats: experts stacked, what llama.cpp wants fused fused, rows of Q and K in the order
/// of GGUF's rotary pairs. They read `tensors`, whose files must outlive them. `release` may be null.
Result<std::vector<quant::SourceTensor>> GgufTensorsOf(const ModelSpec& spec, const ModelTensors& tensors,
                                                       ReleaseFn release);

/// Sets `tokenizer.*` from the folder's files; false where it has none.
/// Errors: those of LoadTokenizerFromFolder, kUnsupported for what GGUF has no words for.
Result<bool> WriteGgufTokenizer(const std::string& folder, std::int64_t embeddings, quant::GgufWriter& writer);

/// Whether a file that was made of `spec` says the same: kUnsupported, naming the first setting that it does not.
Status CheckGgufSpec(const ModelSpec& spec, const quant::GgufFile& made);

}  // namespace quorum::engine
