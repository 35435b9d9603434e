// Activation-aware equalization (SmoothQuant, Xiao et al. 2022, https://arxiv.org/abs/2211.10438; AWQ, Lin et al. 2023,
// https://arxiv.org/abs/2306.00978): channels that are large where matrices read them are made smaller, and the
// matrices' columns larger by as much. The factors go into what is there already, so the file stays what every reader
// knows.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "quant/imatrix.h"
#include "quant/quantize_model.h"

namespace quorum::quant {

/// What the tensors' names do not say.
struct EqualizeShape {
  std::string architecture;
  std::int64_t heads = 0, kv_heads = 0;
};

struct EqualizeOptions {
  const QuantizePlan& plan;  // what matrices are going to be
  int threads = 1;
  std::function<bool(std::int64_t done, std::int64_t layers)> progress;  // false: stop. May be null
};

/// Scales channels where that makes the error of rounding to the plan's types less (equalize_search.h says how it is
/// judged): the norms' weights against the matrices and routers that read them; rows of V against columns of the output
/// matrix, alike for the heads of a group; rows of up against columns of down, for each expert. `importance` becomes
/// that of the new model. Channels of which it says nothing keep their scale. Tensors that change are read as floats
/// from then on. Returns how many pairs were looked at. Errors: kUnsupported (an architecture whose norms and matrices
/// may not be paired that way), kInvalidArgument (shapes that do not fit), kCancelled.
Result<std::int64_t> Equalize(const EqualizeShape& shape, const EqualizeOptions& options,
                              std::vector<SourceTensor>& sources, ImportanceMatrix& importance);

}  // namespace quorum::quant
