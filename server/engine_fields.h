// Request fields that say how a request is computed, not what it asks: experts, priority, time, cache, guessing.
#pragma once

#include "server/generation_fields.h"
#include "server/json_fields.h"

namespace quorum::server {

/// Reads "moe" {"top_k", "dense", "min_weight", "mask", "report"}, "priority", "timeout" (seconds), "cache_prompt",
/// "cache_report", "cache_save", "thinking_budget" (tokens; "thinking_token_budget" in vLLM's words) and "speculate"
/// into `out.request`. What is not honoured, inside "moe" too, is added to `out.ignored`. Errors: kInvalidArgument with
/// the field as param.
Status ReadEngineFields(JsonFields& fields, GenerationFields& out);

/// For APIs whose answers have no place for reports of single tokens: "moe": {"report": "tokens"} is as good as true,
/// and named in `out.ignored`.
void DropTokenReports(GenerationFields& out);

/// Names in `ignored` what this engine cannot do for the request, and takes it out of the request.
void DropUnavailable(const engine::Engine& engine, engine::GenerationRequest& request,
                     std::vector<std::string>& ignored);

}  // namespace quorum::server
