// Whether a step's logits are numbers, and if not, where in the model that began.
#pragma once

#include <span>

#include "engine/base/result.h"
#include "engine/model.h"

namespace quorum::engine {

/// Looks at `logits` (rows, vocab), which `model` has computed for all that `slice` asks for. Error kDataLoss for one
/// that is not finite; it names the position and, having computed the slice once more, the first layer behind which the
/// stream is not finite. Takes the model's tap away then.
Status CheckFinite(Model& model, const StepSlice& slice, std::span<const float> logits);

}  // namespace quorum::engine
