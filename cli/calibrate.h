// Importance matrices from texts.
#pragma once

#include <span>
#include <string>

#include "engine/base/result.h"
#include "quant/imatrix.h"
#include "quant/quantize_model.h"

namespace quorum::cli {

/// Reads `text` with `model` (a GGUF file or a folder) in windows of 512 tokens and takes down what the matrices of
/// `sources` are multiplied with. Errors: those of loading, reading and engine::Calibrate.
Result<quant::ImportanceMatrix> Calibrate(const std::string& model, const std::string& text, int threads,
                                          std::span<const quant::SourceTensor> sources);

}  // namespace quorum::cli
