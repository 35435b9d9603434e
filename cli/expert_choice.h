// Which experts of a file stay: what the flags of `quorum prune` and `merge` say, and what a report says of each
// expert.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/experts_report.h"
#include "engine/base/result.h"
#include "quant/expert_surgery.h"

namespace quorum::cli {

/// Takes what --keep can be for some model: a number from 1, or a percentage.
CLI::Validator IsKeep();

/// How many experts a layer is to keep: as many of each group. Error kInvalidArgument: not with this model.
Result<std::int32_t> ExpertsToKeep(const std::string& keep, const quant::ExpertLayer& layer);

/// Takes a list member of --drop: EXPERT or LAYER:EXPERT.
CLI::Validator IsDrop();

/// The plan without the experts of --drop. Errors: kInvalidArgument for an expert that the model does not have, and
/// when layers would keep differently many.
Result<std::vector<quant::LayerSurgery>> KeepOthers(const std::vector<std::string>& drop,
                                                    const std::vector<quant::ExpertLayer>& layers);

/// By place in the list of layers with experts, then by expert: what each is worth.
using Scores = std::vector<std::vector<double>>;

/// What the report says of every expert of `layers`. `name` is the report's, for messages; "" where it was made just
/// now. `by`: tokens, mass, norm, reap or ablation. Errors: kInvalidArgument.
Result<Scores> ScoresOf(const Json& report, const std::string& name, const std::vector<quant::ExpertLayer>& layers,
                        const std::string& by);

/// Reads what `quorum experts --json` printed. Errors: kInvalidArgument.
Result<Json> ReadReport(const std::string& path);

/// The best of each layer, equally many of each group, ids ascending; ties go to the lower id.
std::vector<quant::LayerSurgery> KeepBest(const std::vector<quant::ExpertLayer>& layers, const Scores& scores,
                                          std::int32_t keep);

/// As many as are visited in the group where most are. Error kInvalidArgument: that is all of one.
Result<std::vector<quant::LayerSurgery>> KeepVisited(const std::vector<quant::ExpertLayer>& layers,
                                                     const Scores& tokens);

}  // namespace quorum::cli
