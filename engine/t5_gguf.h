// T5 (also T5 1.1 and Flan-T5) as llama.cpp's converter writes it: the one encoder-decoder that GGUF knows.
#pragma once

#include <string_view>

#include "engine/base/result.h"
#include "engine/model_spec.h"
#include "engine/model_tensors.h"
#include "quant/gguf.h"

namespace quorum::engine {

inline constexpr std::string_view kT5Architecture = "t5";

/// SpecFromGguf and TensorsFromGguf of a file with `general.architecture` t5.
Result<ModelSpec> T5SpecFromGguf(const quant::GgufFile& file);
Result<ModelTensors> T5TensorsFromGguf(const quant::GgufFile& file, const ModelSpec& spec);

}  // namespace quorum::engine
