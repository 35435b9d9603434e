#include "cli/surgery.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "cli/long_work.h"
#include "cli/model_header.h"
#include "cli/text_files.h"
#include "cli/text_model.h"
#include "engine/base/log.h"
#include "engine/base/units.h"
#include "engine/text_run.h"

namespace quorum::cli {
namespace {

/// Runs the texts through the model and reports what its experts did.
Result<Json> Study(const SurgeryFlags& flags, engine::Model& model, const Texts& texts, bool ablate) {
  const engine::ExpertLogHead head{flags.model.Name(), model.experts(), texts.topics};
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

/// The experts that a plan leaves out, as a request masks them.
engine::ExpertRequest MaskOf(const std::vector<quant::ExpertLayer>& layers, const SurgeryPlan& plan) {
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

/// RunOriginal behind the loading.
Result<SurgeryPlan> RunLoaded(const SurgeryFlags& flags, engine::Model& model, const std::optional<Texts>& texts,
                              const std::vector<quant::ExpertLayer>& layers, bool mask, std::optional<SurgeryPlan> plan,
                              const MakePlan& make, Original& original) {
  if (texts && flags.report.empty()) {
    QUORUM_ASSIGN(original.report, Study(flags, model, *texts, flags.by == "ablation"));
  }
  if (!plan) {
    QUORUM_ASSIGN(plan, make(original.report));
  }
  QUORUM_ASSIGN(original.losses, Losses(model, original.texts, original.window, nullptr));
  if (mask) {
    QUORUM_ASSIGN(const engine::ExpertOptions options, engine::ResolveExperts(MaskOf(layers, *plan), model.experts()));
    QUORUM_ASSIGN(original.masked, Losses(model, original.texts, original.window, &options));
  }
  return *std::move(plan);
}

}  // namespace

CLI::App* AddSurgeryCommand(CLI::App& app, const char* name, const char* what, SurgeryFlags& flags) {
  CLI::App* command = app.add_subcommand(name, what);
  AddModelFlags(*command, flags.model,
                {.model = "The MoE model to begin with: a GGUF file", .named = true, .context = false});
  command->add_option("DST", flags.dst, "The model to write")->required();
  command
      ->add_option("--text", flags.texts,
                   "UTF-8 text files that tell what the experts are worth, and what the change costs")
      ->check(CLI::ExistingFile);
  command->add_option("--report", flags.report, "What quorum experts --json found, instead of running the text for it")
      ->check(CLI::ExistingFile);
  AddWindowFlag(*command, flags.window);
  command->add_flag("--force", flags.replace, "Write over an existing file");
  command->add_flag("--json", flags.json, "Print JSON");
  return command;
}

Result<SurgeryPlan> RunOriginal(const SurgeryFlags& flags, const std::vector<quant::ExpertLayer>& layers, bool mask,
                                bool needs_report, const MakePlan& make, Original& original) {
  std::optional<SurgeryPlan> plan;
  if (!flags.report.empty()) {
    QUORUM_ASSIGN(original.report, ReadReport(flags.report));
    const Json named = original.report.is_object() ? original.report.value("model", Json()) : Json();
    const auto file_name = [](const std::string& path) { return path.substr(path.rfind('/') + 1); };
    if (named.is_string() && file_name(named.get<std::string>()) != file_name(flags.model.path)) {
      Log(LogLevel::kWarn, "{} is of a model called {}, this one is {}", flags.report, named.get<std::string>(),
          flags.model.path);
    }
  }
  if (!flags.report.empty() || !needs_report) {
    QUORUM_ASSIGN(plan, make(original.report));
  }
  std::optional<Texts> texts;
  if (!flags.texts.empty()) {
    QUORUM_ASSIGN(const engine::LoadedTokenizer tokenizer, LoadModelTokenizer(flags.model.path, 0));
    QUORUM_ASSIGN(texts, ReadTexts(flags.texts, *tokenizer.tokenizer, false));
  }
  QUORUM_ASSIGN(const LoadedModel loaded, LoadTextModel(flags.model, flags.model.path, flags.window));
  engine::Model& model = *loaded.model;
  original.flags = flags.model;
  original.flags.kv = KvName(model);
  original.flags.activations = ActivationsName(model);
  original.window = TextWindow(flags.window, model);
  original.real = texts.has_value();
  original.texts = texts ? texts->texts : AnyTokens(model.vocab_size());
  auto ran = RunLoaded(flags, model, texts, layers, mask, std::move(plan), make, original);
  if (!ran.ok()) return InModel(flags.model.path, ran.error());
  return ran;
}

Result<std::vector<float>> RunNew(const Original& original, const std::string& path) {
  QUORUM_ASSIGN(const LoadedModel loaded, LoadTextModel(original.flags, path, original.window));
  auto losses = Losses(*loaded.model, original.texts, original.window, nullptr);
  if (!losses.ok()) return InModel(path, losses.error());
  return losses;
}

Json SurgeryReport(const quant::SurgerySummary& made, const Original& original, const std::vector<float>& after,
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
    json["ctx"] = original.window;
    json["scored"] = std::count_if(after.begin(), after.end(), [](float loss) { return !std::isnan(loss); });
    json["perplexity_before"] = std::exp(engine::MeanLoss(original.losses));
    json["perplexity"] = std::exp(engine::MeanLoss(after));
  }
  return json;
}

void PrintSurgery(const quant::SurgerySummary& made, const Json& summary, const std::string& dst) {
  fmt::print("{}\n  {} layers: {} of {} experts, {} used a token{}\n", dst, made.layers, made.experts, made.old_experts,
             made.top_k, made.top_k < made.old_top_k ? fmt::format(" (before {})", made.old_top_k) : "");
  fmt::print("  parameters {:.1f} M of {:.1f} M, {} of {}\n", static_cast<double>(made.parameters) * 1e-6,
             static_cast<double>(made.old_parameters) * 1e-6, FormatBytes(made.bytes), FormatBytes(made.old_bytes));
  if (!made.retyped.empty())
    fmt::print("  {} tensors became Q8_0: Quorum reads their types but does not write them\n", made.retyped.size());
  if (summary.contains("perplexity")) {
    fmt::print("  perplexity {:.4f}, before {:.4f} ({} tokens scored, windows of {})\n",
               summary["perplexity"].get<double>(), summary["perplexity_before"].get<double>(),
               summary["scored"].get<std::int64_t>(), summary["ctx"].get<int>());
  }
}

}  // namespace quorum::cli
