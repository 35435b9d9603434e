// quorum merge: alike experts are averaged.
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/long_work.h"
#include "cli/output_file.h"
#include "cli/surgery.h"
#include "engine/thread_pool.h"
#include "quant/alike_experts.h"
#include "quant/expert_surgery.h"

namespace quorum::cli {
namespace {

Status Merge(const SurgeryFlags& flags) {
  QUORUM_ASSIGN(const quant::GgufFile file, quant::GgufFile::Open(flags.model.path));
  QUORUM_ASSIGN(const std::vector<quant::ExpertLayer> layers, quant::ExpertLayers(file));
  QUORUM_TRY(CheckNewModel(file, flags.dst, flags.replace));
  QUORUM_ASSIGN(const std::int32_t keep, ExpertsToKeep(flags.keep, layers.front()));
  const int threads = flags.model.threads > 0 ? flags.model.threads : engine::UsableCpus();
  const MakePlan make = [&](const Json& report) -> Result<SurgeryPlan> {
    Scores tokens;
    if (!report.is_null()) {
      QUORUM_ASSIGN(tokens, ScoresOf(report, flags.report, layers, "tokens"));
    }
    SurgeryPlan plan;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (!ShowCount("layers compared", static_cast<std::int64_t>(i) + 1, std::ssize(layers))) return Interrupted();
      QUORUM_ASSIGN(const auto groups, quant::GroupAlike(file, layers[i], keep, threads));
      quant::LayerSurgery& layer = plan.emplace_back();
      layer.layer = layers[i].layer;
      for (const auto& group : groups) {
        quant::NewExpert& expert = layer.experts.emplace_back();
        // One more than what was seen, so that an expert that no token visited still counts for something.
        for (const std::int32_t e : group)
          expert.parts.push_back({e, tokens.empty() ? 1.0 : tokens[i][static_cast<std::size_t>(e)] + 1});
      }
    }
    return plan;
  };
  Original original;
  QUORUM_ASSIGN(const auto plan, RunOriginal(flags, layers, false, !flags.texts.empty(), make, original));
  QUORUM_ASSIGN(
      const quant::SurgerySummary made,
      quant::RewriteExperts(file, flags.dst, plan, {"alike experts averaged", flags.replace, threads}, ShowBytes));
  QUORUM_ASSIGN(const std::vector<float> after, RunNew(original, flags.dst));
  Json summary = SurgeryReport(made, original, after, flags.dst);
  Json merged = Json::array();
  for (const quant::LayerSurgery& layer : plan) {
    Json groups = Json::array();
    for (const quant::NewExpert& expert : layer.experts) {
      Json group = Json::array();
      for (const quant::NewExpert::Part& part : expert.parts) group.push_back(part.expert);
      groups.push_back(std::move(group));
    }
    merged.push_back({{"layer", layer.layer}, {"groups", std::move(groups)}});
  }
  summary["merged"] = std::move(merged);
  if (flags.json) {
    fmt::print("{}\n", summary.dump(2));
  } else {
    PrintSurgery(made, summary, flags.dst);
    if (!original.real) fmt::print("  give --text to see what it costs\n");
  }
  return {};
}

}  // namespace

void AddMerge(CLI::App& app, Action& action) {
  auto flags = std::make_shared<SurgeryFlags>();
  flags->by = "tokens";
  CLI::App* command = AddSurgeryCommand(app, "merge", "Average alike experts of a Mixture-of-Experts model", *flags);
  command->footer(
      "Experts are grouped by how alike their weights are and averaged, weighted by one more than the tokens "
      "that visit them; so are their router rows. Meant for experts that grew out of one another (upcycled, branched); "
      "others lose less by quorum prune.");
  command->add_option("--keep", flags->keep, "Experts that a layer keeps: a number, or a percentage such as 75%")
      ->required()
      ->check(IsKeep());
  command->callback([flags, &action] {
    action = [flags] {
      CatchInterrupts();
      return Exit(Merge(*flags));
    };
  });
}

}  // namespace quorum::cli
