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

/// exp of a mean loss and of the ends of its interval: "35.2452 (95 %: 30.1000 to 41.2000)".
std::string Perplexity(const engine::MeanInterval& loss, int digits = 4);

/// What the numbers depend on besides model and text: kernels, how keys, values, activations and weights are kept,
/// which experts were asked for, what is scored; of the last two a line of text, "" where there is nothing to say.
nlohmann::ordered_json Settings(const EvalFlags& flags, Stepper& stepper);
std::string SettingsText(const EvalFlags& flags);

/// "98.50 % (95 %: 98.10 to 98.80)".
std::string Percent(const engine::Proportion& part);

void Print(const EvalFlags& flags, const Text& text, const Scores& scores);
void Print(const std::vector<engine::LayerDifference>& layers);

}  // namespace quorum::cli
