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

void Print(const Text& text, const Scores& scores);
void Print(const std::vector<engine::LayerDifference>& layers);

}  // namespace quorum::cli
