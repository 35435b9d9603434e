// `quorum eval --compare`: models and numbers of experts side by side.
#pragma once

#include "cli/eval_score.h"

namespace quorum::cli {

/// Prints a row for each; differences are from the first. Errors: those of loading and Score.
Status CompareModels(const EvalFlags& flags, const Text& text);

}  // namespace quorum::cli
