// What `quorum quantize` tells of its work.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/quantize_flags.h"
#include "engine/base/result.h"
#include "quant/imatrix.h"
#include "quant/quantize_model.h"

namespace quorum::cli {

/// What was written, as JSON or for people.
void Print(const QuantizeFlags& flags, const quant::QuantizeReport& report, double seconds);

/// What would be done, tensor by tensor. Errors: those of ChooseTypes.
Status DryRun(const QuantizeFlags& flags, const std::vector<quant::SourceTensor>& sources,
              const quant::QuantizeOptions& options);

/// Matrices of which the importance matrix says nothing: not at all, or because no token visited the expert.
void WarnUnknown(const quant::ImportanceMatrix& importance, const std::vector<std::string>& names);

/// Whatever else people should know of the result.
void Warn(const quant::QuantizeReport& report);

/// --calibrate without DST: what --save-imatrix holds.
void PrintMatrix(const QuantizeFlags& flags, const quant::ImportanceMatrix& importance);

}  // namespace quorum::cli
