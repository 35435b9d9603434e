// Tasks of `quorum eval --tasks`.
#pragma once

#include "cli/eval_flags.h"
#include "engine/expert_options.h"

namespace quorum::cli {

/// Runs every task of the flags' file with `experts` and prints how many were solved, as text or JSON.
Status EvalTasks(const EvalFlags& flags, const engine::ExpertRequest& experts);

}  // namespace quorum::cli
