// What `quorum experts` found, as one JSON object: printed as a table, written as it is, or shown by the page.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/result.h"
#include "engine/expert_insight.h"
#include "engine/expert_log.h"
#include "engine/expert_study.h"

namespace quorum::cli {

using Json = nlohmann::ordered_json;

/// Margins below this many logits (odds of 1.1 to 1) count as close calls.
inline constexpr float kCloseCall = 0.1F;

/// A token's text, as valid UTF-8.
using TokenText = std::function<std::string(tok::TokenId)>;

/// {"model", "tokens", "experts_per_token", "layers": [{"layer", "experts": [{"expert", "tokens", "share", "gate_mass",
/// "mean_norm", "reap", "favourites"}], "entropy", "balance", "idle", "overloaded", "topic_bits", "close_calls",
/// "together"}], "topics": [{"name", "tokens", "loss", "visits": (layers, experts)}], "unsure": [...]}. Dense layers
/// are left out. An expert is idle without a token and overloaded with more than twice the mean.
Json ReportOf(const engine::ExpertLogHead& head, const engine::ExpertInsight& insight, const TokenText& text);

/// [{"layer", "expert", "increase", "by_topic"}], the worst loss first.
Json AblationReport(std::vector<engine::Ablated> ablated);

/// Visits by layer and expert of what is compared: a report of this program, an answer of GET /v1/experts, or a log.
struct Spread {
  std::string name;
  std::vector<std::int32_t> layers;                // their numbers
  std::vector<std::vector<std::uint64_t>> visits;  // of each of these
};
Spread SpreadOf(std::string name, const engine::ExpertInsight& insight);
/// Errors: kInvalidArgument, naming `name` and what is missing.
Result<Spread> SpreadOf(std::string name, const Json& report);

/// Error kInvalidArgument, naming both, for other layers or numbers of experts.
Status CheckComparable(const Spread& from, const Spread& to);

/// {"from", "to", "layers": [{"layer", "divergence", "noise", "moved", "experts": [{"expert", "from", "to"}]}]}: per
/// layer the distance (engine::CompareSpreads) and the experts whose share changed most. Errors: CheckComparable's.
Result<Json> DriftReport(const Spread& from, const Spread& to);

/// For people.
void PrintReport(const Json& report);

}  // namespace quorum::cli
