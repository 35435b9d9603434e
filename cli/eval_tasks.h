// Tasks of `quorum eval --tasks`.
#pragma once

#include <cstdint>
#include <string>

#include "cli/model_flags.h"
#include "engine/expert_options.h"

namespace quorum::cli {

/// Runs every task of the file and prints how many were solved, as text or JSON.
Status EvalTasks(const ModelFlags& flags, const std::string& path, std::int32_t context,
                 const engine::ExpertRequest& experts, bool json);

}  // namespace quorum::cli
