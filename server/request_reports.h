// What a response says about its own computation, on request: which experts it used, what the prefix cache gave it.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "engine/expert_options.h"
#include "engine/expert_trace.h"
#include "server/json_input.h"
#include "tokenizer/tokenizer.h"

namespace quorum::server {

/// The response's "moe": {"tokens": computed tokens, "layers": [{"layer", "tokens": [per expert], "gate_mass":
/// [...]}]}, dense layers left out. Tokens from the prefix cache were not computed, so they are not in it.
Json ExpertReport(const engine::ExpertTally& tally);

/// A generated token in a choice's "moe": {"token": as `spelled`, "layers": [{"layer", "experts": [ids], "weights"}]},
/// dense layers left out: the experts that the trace's last row visited, whose logits the token was drawn from.
Json TokenReport(std::string spelled, const engine::ExpertTrace& trace);

/// Puts such reports (null or empty: none) into a choice.
void PutTokenReports(Json tokens, Json& choice);

/// The response's "cache": {"prompt_tokens", "cached_tokens", "first_difference"}. The difference is the first token
/// that the cache did not know behind all those before it: {"token": position, "message": index or null, "before",
/// "after": text of this request around it}; null where the whole prompt was known. `messages` may be null: a plain
/// prompt. `known`: leading tokens that the cache knew.
Json CacheReport(const tok::Tokenizer& tokenizer, std::span<const tok::TokenId> prompt, const Json* messages,
                 std::int32_t known, std::int32_t cached);

}  // namespace quorum::server
