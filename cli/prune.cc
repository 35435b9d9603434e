// quorum prune and quorum merge: fewer experts, chosen by what they do on a text or by a report, and checked against
// the original.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/experts_report.h"
#include "cli/long_work.h"
#include "cli/model_flags.h"
#include "cli/text_files.h"
#include "cli/text_model.h"
#include "engine/expert_study.h"
#include "engine/text_run.h"
#include "quant/alike_experts.h"
#include "quant/expert_surgery.h"

namespace quorum::cli {
namespace {

struct Flags {
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

/// By place in the list of layers with experts, then by expert: what each is worth.
using Scores = std::vector<std::vector<double>>;

/// How many experts a layer is to keep: as many of each group.
Result<std::int32_t> Keep(const std::string& text, const quant::ExpertLayer& layer) {
  const std::int32_t experts = layer.experts, groups = layer.groups;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (error == std::errc() && rest == "%" && value > 0 && value <= 100) {
    return std::max(1, static_cast<std::int32_t>(std::lround(value / 100 * experts / groups))) * groups;
  }
  if (error == std::errc() && rest.empty() && value == std::floor(value) && value >= 1 && value <= experts &&
      static_cast<std::int32_t>(value) % groups == 0) {
    return static_cast<std::int32_t>(value);
  }
  return InvalidArgument(fmt::format(
      "--keep is {}, expected a number from {} to {}{} or a percentage such as 75%", text, groups, experts,
      groups > 1 ? fmt::format(" that is a multiple of {} (tokens choose from {} groups of one size)", groups, groups)
                 : ""));
}

Result<double> Score(const Json& expert, const std::string& by) {
  const auto number = [&](const char* key) -> Result<double> {
    if (!expert.contains(key) || !expert[key].is_number())
      return InvalidArgument(std::string("the report has no \"") + key + "\" of every expert");
    return expert[key].get<double>();
  };
  if (by == "tokens") return number("tokens");
  if (by == "mass") return number("gate_mass");
  if (by == "norm") return number("mean_norm");
  return number("reap");
}

/// What the report says of every expert of `layers`.
Result<Scores> ScoresOf(const Json& report, const std::vector<quant::ExpertLayer>& layers, const std::string& by) {
  Scores scores;
  std::map<std::int32_t, std::size_t> place;
  for (const quant::ExpertLayer& layer : layers) {
    place[layer.layer] = scores.size();
    scores.emplace_back(static_cast<std::size_t>(layer.experts), std::nan(""));
  }
  const auto set = [&](const Json& layer, const Json& expert, double value) -> Status {
    if (!layer.is_number_integer() || !expert.is_number_integer()) return InvalidArgument("the report is damaged");
    const auto found = place.find(layer.get<std::int32_t>());
    const auto id = expert.get<std::int64_t>();
    if (found == place.end() || id < 0 || id >= std::ssize(scores[found->second])) {
      return InvalidArgument("the report is of another model");
    }
    scores[found->second][static_cast<std::size_t>(id)] = value;
    return {};
  };
  if (!report.is_object() || !report.contains("layers") || !report["layers"].is_array())
    return InvalidArgument("that is no report of quorum experts --json");
  if (by == "ablation") {
    if (!report.contains("ablation") || !report["ablation"].is_array())
      return InvalidArgument("the report has no ablation (quorum experts --ablate)");
    for (const Json& one : report["ablation"]) {
      if (!one.is_object() || !one.value("increase", Json()).is_number())
        return InvalidArgument("the report is damaged");
      QUORUM_TRY(set(one.value("layer", Json()), one.value("expert", Json()), one["increase"].get<double>()));
    }
  } else {
    for (const Json& layer : report["layers"]) {
      if (!layer.is_object() || !layer.value("experts", Json()).is_array())
        return InvalidArgument("the report is damaged");
      for (const Json& expert : layer["experts"]) {
        if (!expert.is_object()) return InvalidArgument("the report is damaged");
        QUORUM_ASSIGN(const double value, Score(expert, by));
        QUORUM_TRY(set(layer.value("layer", Json()), expert.value("expert", Json()), value));
      }
    }
  }
  for (const auto& layer : scores) {
    if (std::any_of(layer.begin(), layer.end(), [](double x) { return std::isnan(x); }))
      return InvalidArgument("the report does not know every expert of the model");
  }
  return scores;
}

/// Reads --report.
Result<Json> ReadReport(const std::string& path) {
  std::ifstream in(path);
  Json report = Json::parse(in, nullptr, false);
  if (report.is_discarded()) return InvalidArgument(path + ": is no JSON");
  return report;
}

/// Runs the texts through the model and reports what its experts did.
Result<Json> Study(const Flags& flags, engine::Model& model, const Texts& texts, bool ablate) {
  const engine::ExpertLogHead head{flags.model.path, model.experts(), texts.topics};
  engine::ExpertInsight insight(head.shape, static_cast<std::int32_t>(texts.topics.size()));
  const std::int32_t window = TextWindow(flags.window, model);
  QUORUM_TRY(engine::RouteTexts(model, texts.texts, window, nullptr, [&](const engine::RoutedToken& token) -> Status {
    insight.Add(token);
    if (insight.tokens() % engine::kTextRows != 0 && insight.tokens() != texts.tokens) return {};
    return ShowCount("tokens", insight.tokens(), texts.tokens) ? Status() : Status(Interrupted());
  }));
  Json report = ReportOf(head, insight, [](tok::TokenId) { return std::string(); });
  if (ablate) {
    QUORUM_ASSIGN(auto ablated,
                  engine::AblateExperts(
                      model, texts.texts, static_cast<std::int32_t>(texts.topics.size()), window,
                      [](std::int64_t done, std::int64_t total) { return ShowCount("masked experts", done, total); }));
    report["ablation"] = AblationReport(std::move(ablated));
  }
  return report;
}

/// "3" (in every layer) or "2:5" (layer 2) to drop, by place in `layers`.
Result<std::vector<std::vector<bool>>> Dropped(const std::vector<std::string>& drop,
                                               const std::vector<quant::ExpertLayer>& layers) {
  std::vector<std::vector<bool>> dropped;
  for (const quant::ExpertLayer& layer : layers) dropped.emplace_back(static_cast<std::size_t>(layer.experts));
  for (const std::string& text : drop) {
    std::int32_t layer = -1, expert = 0;
    const char* const end = text.data() + text.size();
    const std::size_t colon = text.find(':');
    const char* at = text.data();
    bool good = true;
    if (colon != std::string::npos) {
      const auto read = std::from_chars(at, end, layer);
      good = read.ec == std::errc() && read.ptr == text.data() + colon && layer >= 0;
      at = text.data() + colon + 1;
    }
    const auto read = std::from_chars(at, end, expert);
    good = good && read.ec == std::errc() && read.ptr == end && expert >= 0;
    bool found = false;
    for (std::size_t i = 0; good && i < layers.size(); ++i) {
      if ((layer >= 0 && layers[i].layer != layer) || expert >= layers[i].experts) continue;
      dropped[i][static_cast<std::size_t>(expert)] = found = true;
    }
    if (!found) return InvalidArgument("--drop " + text + ": expected EXPERT or LAYER:EXPERT of this model");
  }
  return dropped;
}

/// The best of each layer, equally many of each group, ids ascending; ties go to the lower id.
std::vector<quant::LayerSurgery> KeepBest(const std::vector<quant::ExpertLayer>& layers, const Scores& scores,
                                          std::int32_t keep) {
  std::vector<quant::LayerSurgery> plan;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    quant::LayerSurgery& layer = plan.emplace_back();
    layer.layer = layers[i].layer;
    const std::int32_t groups = layers[i].groups, size = layers[i].experts / groups;
    for (std::int32_t group = 0; group < groups; ++group) {
      std::vector<std::int32_t> order(static_cast<std::size_t>(size));
      std::iota(order.begin(), order.end(), group * size);
      std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
        return scores[i][static_cast<std::size_t>(a)] > scores[i][static_cast<std::size_t>(b)];
      });
      order.resize(static_cast<std::size_t>(keep / groups));
      std::sort(order.begin(), order.end());
      for (const std::int32_t expert : order) layer.experts.push_back({{{expert, 1.0}}});
    }
  }
  return plan;
}

/// The experts that a plan leaves out, as a request masks them.
engine::ExpertRequest MaskOf(const std::vector<quant::ExpertLayer>& layers,
                             const std::vector<quant::LayerSurgery>& plan) {
  engine::ExpertRequest request;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    for (std::int32_t e = 0; e < layers[i].experts; ++e) {
      const bool kept = std::any_of(plan[i].experts.begin(), plan[i].experts.end(),
                                    [&](const quant::NewExpert& expert) { return expert.parts.front().expert == e; });
      if (!kept) request.masked.push_back({layers[i].layer, e});
    }
  }
  return request;
}

/// Losses of all texts, one after the other.
Result<std::vector<float>> Losses(engine::Model& model, const std::vector<engine::TopicText>& texts,
                                  std::int32_t window, const engine::ExpertOptions* experts) {
  std::vector<float> all;
  for (const engine::TopicText& text : texts) {
    QUORUM_ASSIGN(const std::vector<float> losses,
                  engine::TextLosses(model, text.tokens, {.window = window, .experts = experts}));
    all.insert(all.end(), losses.begin(), losses.end());
  }
  return all;
}

/// Tokens to compare models on where there is no text.
std::vector<engine::TopicText> AnyTokens(std::int32_t vocab) {
  engine::TopicText text;
  std::uint64_t state = 1;
  for (int i = 0; i < 192; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    text.tokens.push_back(static_cast<tok::TokenId>((state >> 33) % static_cast<std::uint64_t>(vocab)));
    text.topics.push_back(0);
  }
  return {text};
}

/// The original, what its experts did, and what its losses are.
struct Original {
  Json report;
  std::vector<engine::TopicText> texts;
  bool real = false;  // texts are the user's
  std::int32_t window = 0;
  std::vector<float> losses, masked;
  ModelFlags flags;  // with which the new file is to be loaded to be computed alike
};

Json Summary(const quant::SurgerySummary& made, const Original& original, const std::vector<float>& after,
             const std::string& dst) {
  Json json = {{"model", dst},
               {"layers", made.layers},
               {"experts", made.experts},
               {"experts_before", made.old_experts},
               {"experts_per_token", made.top_k},
               {"parameters", made.parameters},
               {"parameters_before", made.old_parameters},
               {"bytes", made.bytes},
               {"bytes_before", made.old_bytes}};
  if (original.real) {
    json["perplexity_before"] = std::exp(engine::MeanLoss(original.losses));
    json["perplexity"] = std::exp(engine::MeanLoss(after));
  }
  return json;
}

void Print(const quant::SurgerySummary& made, const Json& summary, const std::string& dst) {
  fmt::print("{}\n  {} layers: {} of {} experts, {} used a token{}\n", dst, made.layers, made.experts, made.old_experts,
             made.top_k, made.top_k < made.old_top_k ? fmt::format(" (before {})", made.old_top_k) : "");
  fmt::print("  parameters {:.1f} M of {:.1f} M, {:.3f} of {:.3f} GB\n", static_cast<double>(made.parameters) * 1e-6,
             static_cast<double>(made.old_parameters) * 1e-6, static_cast<double>(made.bytes) * 1e-9,
             static_cast<double>(made.old_bytes) * 1e-9);
  if (!made.retyped.empty())
    fmt::print("  {} tensors became Q8_0: their types cannot be quantized to\n", made.retyped.size());
  if (summary.contains("perplexity")) {
    fmt::print("  perplexity {:.4f}, before {:.4f}\n", summary["perplexity"].get<double>(),
               summary["perplexity_before"].get<double>());
  }
}

/// Loads the source and computes what is needed of it: the report where there is none, the losses, and with `plan` the
/// losses under its mask.
using MakePlan = std::function<Result<std::vector<quant::LayerSurgery>>(const Json& report)>;
Result<std::vector<quant::LayerSurgery>> RunOriginal(const Flags& flags, const std::vector<quant::ExpertLayer>& layers,
                                                     bool mask, const MakePlan& make, Original& original) {
  std::optional<Texts> texts;
  if (!flags.texts.empty()) {
    QUORUM_ASSIGN(const engine::LoadedTokenizer tokenizer, LoadModelTokenizer(flags.model.path, 0));
    QUORUM_ASSIGN(texts, ReadTexts(flags.texts, *tokenizer.tokenizer, false));
  }
  if (!flags.report.empty()) {
    QUORUM_ASSIGN(original.report, ReadReport(flags.report));
  }
  QUORUM_ASSIGN(const LoadedModel loaded, LoadTextModel(flags.model, flags.model.path, flags.window));
  engine::Model& model = *loaded.model;
  original.flags = flags.model;
  original.flags.kv = KvName(model);
  original.flags.activations = ActivationsName(model);
  original.window = TextWindow(flags.window, model);
  original.real = texts.has_value();
  original.texts = texts ? texts->texts : AnyTokens(model.vocab_size());
  if (texts && flags.report.empty()) {
    QUORUM_ASSIGN(original.report, Study(flags, model, *texts, flags.by == "ablation"));
  }
  QUORUM_ASSIGN(std::vector<quant::LayerSurgery> plan, make(original.report));
  QUORUM_ASSIGN(original.losses, Losses(model, original.texts, original.window, nullptr));
  if (mask) {
    QUORUM_ASSIGN(const engine::ExpertOptions options, engine::ResolveExperts(MaskOf(layers, plan), model.experts()));
    QUORUM_ASSIGN(original.masked, Losses(model, original.texts, original.window, &options));
  }
  return plan;
}

Result<std::vector<float>> RunNew(const Original& original, const std::string& path) {
  QUORUM_ASSIGN(const LoadedModel loaded, LoadTextModel(original.flags, path, original.window));
  return Losses(*loaded.model, original.texts, original.window, nullptr);
}

Status Prune(const Flags& flags) {
  QUORUM_ASSIGN(const quant::GgufFile file, quant::GgufFile::Open(flags.model.path));
  QUORUM_ASSIGN(const std::vector<quant::ExpertLayer> layers, quant::ExpertLayers(file));
  QUORUM_TRY(quant::CheckDestination(file, flags.dst, flags.replace));
  const int ways = (flags.keep.empty() ? 0 : 1) + (flags.idle ? 1 : 0) + (flags.drop.empty() ? 0 : 1);
  if (ways != 1) return InvalidArgument("one of --keep, --idle and --drop is needed to say which experts go");
  if (flags.drop.empty() && flags.texts.empty() && flags.report.empty()) {
    return InvalidArgument("--text or --report is needed to know what the experts are worth");
  }
  const MakePlan make = [&](const Json& report) -> Result<std::vector<quant::LayerSurgery>> {
    if (!flags.drop.empty()) {
      QUORUM_ASSIGN(const auto dropped, Dropped(flags.drop, layers));
      std::vector<quant::LayerSurgery> plan;
      for (std::size_t i = 0; i < layers.size(); ++i) {
        quant::LayerSurgery& layer = plan.emplace_back();
        layer.layer = layers[i].layer;
        for (std::int32_t e = 0; e < layers[i].experts; ++e) {
          if (!dropped[i][static_cast<std::size_t>(e)]) layer.experts.push_back({{{e, 1.0}}});
        }
        if (layer.experts.size() != plan.front().experts.size() || layer.experts.empty()) {
          return InvalidArgument(fmt::format(
              "--drop leaves {} experts in layer {} and {} in layer {}: GGUF has one number for all layers, at "
              "least 1",
              layer.experts.size(), layer.layer, plan.front().experts.size(), plan.front().layer));
        }
      }
      return plan;
    }
    if (flags.idle) {
      QUORUM_ASSIGN(const Scores tokens, ScoresOf(report, layers, "tokens"));
      std::int64_t keep = 1;
      const std::int32_t groups = layers.front().groups, size = layers.front().experts / groups;
      for (const auto& layer : tokens) {
        for (auto group = layer.begin(); group != layer.end(); group += size)
          keep = std::max<std::int64_t>(keep, std::count_if(group, group + size, [](double n) { return n > 0; }));
      }
      if (keep == size) {
        return InvalidArgument(
            fmt::format("a {} has no idle expert, and GGUF has one number of experts for all layers: nothing can go",
                        groups > 1 ? "group of a layer" : "layer"));
      }
      return KeepBest(layers, tokens, static_cast<std::int32_t>(keep) * groups);
    }
    QUORUM_ASSIGN(const Scores scores, ScoresOf(report, layers, flags.by));
    QUORUM_ASSIGN(const std::int32_t keep, Keep(flags.keep, layers.front()));
    return KeepBest(layers, scores, keep);
  };
  Original original;
  QUORUM_ASSIGN(const auto plan, RunOriginal(flags, layers, true, make, original));
  const std::string method = !flags.drop.empty() ? "pruned by hand"
                             : flags.idle        ? "idle experts pruned"
                                                 : "pruned by " + flags.by;
  QUORUM_ASSIGN(const quant::SurgerySummary made,
                quant::RewriteExperts(file, flags.dst, plan, {method, flags.replace}, ShowBytes));
  QUORUM_ASSIGN(const std::vector<float> after, RunNew(original, flags.dst));
  const bool same = after.size() == original.masked.size() &&
                    std::memcmp(after.data(), original.masked.data(), after.size() * sizeof(float)) == 0;
  Json summary = Summary(made, original, after, flags.dst);
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
    Print(made, summary, flags.dst);
    fmt::print("  {} of {} give the bits of {} with the others masked\n", same ? "all losses" : "NOT all losses",
               original.real ? "the text" : "random tokens", flags.model.path);
  }
  if (!same) return Internal(flags.dst + " does not give the bits of the masked original");
  return {};
}

Status Merge(const Flags& flags) {
  QUORUM_ASSIGN(const quant::GgufFile file, quant::GgufFile::Open(flags.model.path));
  QUORUM_ASSIGN(const std::vector<quant::ExpertLayer> layers, quant::ExpertLayers(file));
  QUORUM_TRY(quant::CheckDestination(file, flags.dst, flags.replace));
  QUORUM_ASSIGN(const std::int32_t keep, Keep(flags.keep, layers.front()));
  const int threads = flags.model.threads > 0 ? flags.model.threads : engine::UsableCpus();
  const MakePlan make = [&](const Json& report) -> Result<std::vector<quant::LayerSurgery>> {
    Scores tokens;
    if (!report.is_null()) {
      QUORUM_ASSIGN(tokens, ScoresOf(report, layers, "tokens"));
    }
    std::vector<quant::LayerSurgery> plan;
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
  QUORUM_ASSIGN(const auto plan, RunOriginal(flags, layers, false, make, original));
  QUORUM_ASSIGN(const quant::SurgerySummary made,
                quant::RewriteExperts(file, flags.dst, plan, {"alike experts averaged", flags.replace}, ShowBytes));
  QUORUM_ASSIGN(const std::vector<float> after, RunNew(original, flags.dst));
  Json summary = Summary(made, original, after, flags.dst);
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
    Print(made, summary, flags.dst);
    if (!original.real) fmt::print("  give --text to see what it costs\n");
  }
  return {};
}

/// What both commands share.
CLI::App* AddCommand(CLI::App& app, const char* name, const char* what, Flags& flags) {
  CLI::App* command = app.add_subcommand(name, what);
  AddModelFlags(*command, flags.model);
  command->remove_option(command->get_option("--demo"));  // the file to begin with is named
  command->get_option("MODEL")->description("The MoE model to begin with: a GGUF file");
  command->remove_option(command->get_option("--ctx"));
  command->add_option("DST", flags.dst, "The model to write")->required();
  command
      ->add_option("--text", flags.texts,
                   "UTF-8 text files that tell what the experts are worth, and what the change costs")
      ->check(CLI::ExistingFile);
  command->add_option("--report", flags.report, "What quorum experts --json found, instead of running the text for it")
      ->check(CLI::ExistingFile);
  command
      ->add_option("--ctx", flags.window,
                   "Tokens in a window of the text; 0: 512, or the model's context where that is less")
      ->envname("QUORUM_EXPERTS_CTX")
      ->check(CLI::Range(0, 1 << 20));
  command->add_flag("--force", flags.replace, "Write over an existing file");
  command->add_flag("--json", flags.json, "Print JSON");
  return command;
}

}  // namespace

void AddPrune(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = AddCommand(app, "prune", "Drop experts from a Mixture-of-Experts model", *flags);
  command->footer(
      "What is kept is copied verbatim, and the new file is run to see that it gives the very bits of the old one with "
      "the others\n"
      "masked. Every layer keeps equally many experts, as GGUF has one number for all.");
  command->add_option("--keep", flags->keep, "Experts that a layer keeps: a number, or a percentage such as 75%");
  command
      ->add_option("--by", flags->by,
                   "What --keep ranks by: reap (weight x length of outputs), tokens, mass, norm or ablation")
      ->envname("QUORUM_PRUNE_BY")
      ->check(CLI::IsMember({"reap", "tokens", "mass", "norm", "ablation"}))
      ->capture_default_str();
  command->add_flag("--idle", flags->idle, "Drop experts that the text never visits, as many in each layer");
  command->add_option("--drop", flags->drop, "Experts to drop: EXPERT (in every layer) or LAYER:EXPERT, by commas")
      ->delimiter(',');
  command->callback([flags, &action] {
    action = [flags] {
      CatchInterrupts();
      return Exit(Prune(*flags));
    };
  });
}

void AddMerge(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  flags->by = "tokens";
  CLI::App* command = AddCommand(app, "merge", "Average alike experts of a Mixture-of-Experts model", *flags);
  command->footer(
      "Experts are grouped by how alike their weights are and averaged, weighted by the tokens that visit them; so are "
      "their router\n"
      "rows. Meant for experts that grew out of one another (upcycled, branched); others lose less by quorum prune.");
  command->add_option("--keep", flags->keep, "Experts that a layer keeps: a number, or a percentage such as 75%")
      ->required();
  command->callback([flags, &action] {
    action = [flags] {
      CatchInterrupts();
      return Exit(Merge(*flags));
    };
  });
}

}  // namespace quorum::cli
