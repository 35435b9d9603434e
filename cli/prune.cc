// quorum prune: fewer experts, chosen by what they do on a text or by a report, and checked against the original.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/long_work.h"
#include "cli/output_file.h"
#include "cli/surgery.h"
#include "quant/expert_surgery.h"

namespace quorum::cli {
namespace {

Status Prune(const SurgeryFlags& flags) {
  QUORUM_ASSIGN(const quant::GgufFile file, quant::GgufFile::Open(flags.model.path));
  QUORUM_ASSIGN(const std::vector<quant::ExpertLayer> layers, quant::ExpertLayers(file));
  QUORUM_TRY(CheckNewModel(file, flags.dst, flags.replace));
  std::int32_t keep = 0;
  if (!flags.keep.empty()) {
    QUORUM_ASSIGN(keep, ExpertsToKeep(flags.keep, layers.front()));
  }
  const MakePlan make = [&](const Json& report) -> Result<SurgeryPlan> {
    if (!flags.drop.empty()) return KeepOthers(flags.drop, layers);
    QUORUM_ASSIGN(const Scores scores, ScoresOf(report, flags.report, layers, flags.idle ? "tokens" : flags.by));
    if (flags.idle) return KeepVisited(layers, scores);
    return KeepBest(layers, scores, keep);
  };
  Original original;
  QUORUM_ASSIGN(const auto plan, RunOriginal(flags, layers, true, flags.drop.empty(), make, original));
  const std::string method = !flags.drop.empty() ? "pruned by hand"
                             : flags.idle        ? "idle experts pruned"
                                                 : "pruned by " + flags.by;
  QUORUM_ASSIGN(const quant::SurgerySummary made,
                quant::RewriteExperts(file, flags.dst, plan, {method, flags.replace}, ShowBytes));
  QUORUM_ASSIGN(const std::vector<float> after, RunNew(original, flags.dst));
  const bool same = after.size() == original.masked.size() &&
                    std::memcmp(after.data(), original.masked.data(), after.size() * sizeof(float)) == 0;
  Json summary = SurgeryReport(made, original, after, flags.dst);
  summary["equals_masked"] = same;
  Json kept = Json::array();
  for (const quant::LayerSurgery& layer : plan) {
    Json experts = Json::array();
    for (const quant::NewExpert& expert : layer.experts) experts.push_back(expert.parts.front().expert);
    kept.push_back({{"layer", layer.layer}, {"experts", std::move(experts)}});
  }
  summary["kept"] = std::move(kept);
  if (flags.json) {
    fmt::print("{}\n", summary.dump(2));
  } else {
    PrintSurgery(made, summary, flags.dst);
    fmt::print("  verified: over {} {} it gives {} of {} with the others masked\n", after.size(),
               original.real ? "tokens of the text" : "random tokens", same ? "the very bits" : "OTHER bits than those",
               flags.model.path);
  }
  if (!same) return Internal(flags.dst + " does not give the bits of the masked original");
  return {};
}

/// What contradicts itself, is missing or would have no effect.
void CheckUsage(const CLI::App& command, const SurgeryFlags& flags) {
  const int ways = (flags.keep.empty() ? 0 : 1) + (flags.idle ? 1 : 0) + (flags.drop.empty() ? 0 : 1);
  if (ways != 1) {
    throw CLI::ParseError(std::string(ways == 0 ? "nothing says" : "more than one of --keep, --idle and --drop says") +
                              " which experts go: give --keep 4 or --keep 75% (the best, see --by), --idle (those that "
                              "the text visits), or "
                              "--drop 3,0:5",
                          kUsageStatus);
  }
  if (!flags.drop.empty()) {
    Refuse(command, {"--report"}, "has no effect with --drop");
  } else if (flags.texts.empty() && flags.report.empty()) {
    throw CLI::RequiredError("--text or --report, from which --keep and --idle tell what experts are worth,");
  }
  if (flags.keep.empty()) Refuse(command, {"--by"}, "has no effect without --keep");
}

}  // namespace

void AddPrune(CLI::App& app, Action& action) {
  auto flags = std::make_shared<SurgeryFlags>();
  CLI::App* command = AddSurgeryCommand(app, "prune", "Drop experts from a Mixture-of-Experts model", *flags);
  command->footer(
      "What is kept is copied verbatim, and the new file is run to see that it gives the very bits of the old "
      "one with the others masked. Every layer keeps equally many experts, as GGUF has one number for all.");
  command
      ->add_option("--keep", flags->keep,
                   "Experts that a layer keeps, the best by --by: a number, or a percentage such as 75%; or give "
                   "--idle or --drop")
      ->check(IsKeep());
  command
      ->add_option("--by", flags->by,
                   "What --keep ranks by: tokens that visit an expert, mass of their weights, norm of its output, reap "
                   "(weight x norm), or ablation (what the loss gains without it)")
      ->check(CLI::IsMember({"reap", "tokens", "mass", "norm", "ablation"}))
      ->capture_default_str();
  command->add_flag("--idle", flags->idle, "Drop experts that the text never visits, as many in each layer");
  command->add_option("--drop", flags->drop, "Experts to drop: EXPERT (in every layer) or LAYER:EXPERT, by commas")
      ->delimiter(',')
      ->check(IsDrop());
  command->callback([flags, command, &action] {
    CheckUsage(*command, *flags);
    action = [flags] {
      CatchInterrupts();
      return Exit(Prune(*flags));
    };
  });
}

}  // namespace quorum::cli
