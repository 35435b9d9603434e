// What `quorum prune` and `merge` share: the original runs first, then what became of it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/expert_choice.h"
#include "cli/model_flags.h"
#include "engine/expert_study.h"

namespace quorum::cli {

struct SurgeryFlags {
  ModelFlags model;  // path: the source
  std::string dst;
  std::string keep;  // a number or a percentage
  bool idle = false;
  std::vector<std::string> drop;
  std::string by = "reap";
  std::string report;
  std::vector<std::string> texts;
  std::int32_t window = 0;
  bool replace = false, json = false;
};

/// The command with the flags of both.
CLI::App* AddSurgeryCommand(CLI::App& app, const char* name, const char* what, SurgeryFlags& flags);

/// The original, what its experts did, and what its losses are.
struct Original {
  Json report;
  std::vector<engine::TopicText> texts;
  bool real = false;  // texts are the user's
  std::int32_t window = 0;
  std::vector<float> losses, masked;
  ModelFlags flags;  // with which the new file is to be loaded to be computed alike
};

using SurgeryPlan = std::vector<quant::LayerSurgery>;

/// The plan from what a report says (null: there is none).
using MakePlan = std::function<Result<SurgeryPlan>(const Json& report)>;

/// Reads --report, loads the source and computes what is needed of it: a report of the texts where none was given, the
/// losses, and with `mask` the losses without the experts that the plan leaves out. `make` is called before the model
/// is loaded where the report is there already or, with `needs_report` false, none is needed.
Result<SurgeryPlan> RunOriginal(const SurgeryFlags& flags, const std::vector<quant::ExpertLayer>& layers, bool mask,
                                bool needs_report, const MakePlan& make, Original& original);

/// The new file's losses.
Result<std::vector<float>> RunNew(const Original& original, const std::string& path);

Json SurgeryReport(const quant::SurgerySummary& made, const Original& original, const std::vector<float>& after,
                   const std::string& dst);
void PrintSurgery(const quant::SurgerySummary& made, const Json& summary, const std::string& dst);

}  // namespace quorum::cli
