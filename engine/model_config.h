// Reads what a model file says about itself into a ModelSpec and finds its tensors by role.
#pragma once

#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/model_spec.h"
#include "engine/model_tensors.h"
#include "quant/gguf.h"

namespace quorum::engine {

/// GGUF architectures that can be read, in the order of the table.
std::vector<std::string> SupportedGgufArchitectures();

/// The decoder that a GGUF file describes. Every `<architecture>.*` key of the file must be understood: one that is not
/// is an error, because ignoring it would give wrong answers.
/// Errors: kUnsupported (architecture, with the list of those that can be read; a setting that Quorum lacks),
/// kInvalidArgument (missing, out of range, inconsistent), each naming file, key, what was expected and what was found.
Result<ModelSpec> SpecFromGguf(const quant::GgufFile& file);

/// The tensors of `spec` in the file. They point into the file, which must outlive them. Experts may be stacked
/// (`blk.N.ffn_gate_exps.weight`) or single (`blk.N.ffn_gate.E.weight`, as Mixtral files of 2023 have them).
/// Errors: kInvalidArgument (missing tensor, wrong shape), kUnsupported (a tensor that `spec` has no use for).
Result<ModelTensors> TensorsFromGguf(const quant::GgufFile& file, const ModelSpec& spec);

}  // namespace quorum::engine
