// What `quorum eval` found, as JSON and for people.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/eval_score.h"

namespace quorum::cli {

nlohmann::ordered_json ToJson(const std::string& model, const EvalFlags& flags, Stepper& stepper, const Text& text,
                              const Scores& scores);
nlohmann::ordered_json ToJson(const std::vector<engine::LayerDifference>& layers);

/// "98.50 % (95 %: 98.10 to 98.80)".
std::string Percent(const engine::Proportion& part);

void Print(const Text& text, const Scores& scores);
void Print(const std::vector<engine::LayerDifference>& layers);

}  // namespace quorum::cli
