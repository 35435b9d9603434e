// Request fields that say how a request is computed, not what it asks: experts, priority, time, cache, guessing.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/json_fields.h"

namespace quorum::server {

/// Reads "moe" {"top_k", "dense", "min_weight", "mask", "report"}, "priority", "timeout" (seconds), "cache_report",
/// "cache_save", "thinking_budget" (tokens) and "speculate" into `out`. Fields inside "moe" that nobody knows are added to `ignored`.
/// Errors: kInvalidArgument with the field as param.
Status ReadEngineFields(JsonFields& fields, engine::GenerationRequest& out, std::vector<std::string>& ignored);

}  // namespace quorum::server
