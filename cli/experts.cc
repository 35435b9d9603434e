// quorum experts: which experts a text uses, what each is worth, and how that changed.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/experts_page.h"
#include "cli/experts_report.h"
#include "cli/long_work.h"
#include "cli/model_flags.h"
#include "cli/text_files.h"
#include "cli/text_model.h"
#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "engine/expert_log.h"
#include "engine/model_files.h"
#include "engine/text_run.h"
#include "tokenizer/utf8_stream.h"

namespace quorum::cli {
namespace {

struct ExpertsFlags {
  ModelFlags model;
  std::vector<std::string> texts;
  std::string from;  // a log in place of model and texts
  std::string topics = "file";
  std::int32_t window = 0;
  bool ablate = false;
  std::int64_t ablate_tokens = 2048;
  std::string compare, log, html;
  bool json = false;
};

/// What was found, whether from a model or from a log.
struct Found {
  engine::ExpertLogHead head;
  std::optional<engine::ExpertInsight> insight;
  std::unordered_map<tok::TokenId, std::string> names;
};

Status ReadLog(const std::string& path, Found& found) {
  std::ifstream in(path);
  if (!in) return NotFound(path + ": cannot be opened");
  return engine::ReadExpertLog(
      in, path,
      [&](const engine::ExpertLogHead& head) -> Status {
        found.head = head;
        found.insight.emplace(head.shape, static_cast<std::int32_t>(head.topics.size()));
        return {};
      },
      [&](const engine::RoutedToken& token, const std::string& text) -> Status {
        found.names.try_emplace(token.token, text);
        found.insight->Add(token);
        return {};
      });
}

/// Runs the texts and sums up what was seen, writing the log on the way.
Status Observe(const ExpertsFlags& flags, engine::Model& model, const tok::Tokenizer& tokenizer, const Texts& texts,
               std::int32_t window, Found& found) {
  found.head = {flags.model.demo ? std::string("committee") : flags.model.path, model.experts(), texts.topics};
  found.insight.emplace(found.head.shape, static_cast<std::int32_t>(texts.topics.size()));
  std::ofstream log;
  if (!flags.log.empty()) {
    log.open(flags.log);
    log << engine::ExpertLogLine(found.head);
    if (!log) return InvalidArgument(flags.log + ": cannot be written");
  }
  std::int64_t done = 0;
  QUORUM_TRY(engine::RouteTexts(model, texts.texts, window, nullptr, [&](const engine::RoutedToken& token) -> Status {
    found.insight->Add(token);
    const std::string_view bytes = tokenizer.TokenBytes(token.token);
    found.names.try_emplace(token.token, tok::SanitizeUtf8(bytes));
    if (log.is_open()) log << engine::ExpertLogLine(token, bytes);
    ++done;
    return done % engine::kTextRows != 0 && done != texts.tokens ? Status()
           : ShowCount("tokens", done, texts.tokens)             ? Status()
                                                                 : Status(Interrupted());
  }));
  if (log.is_open() && !log.flush()) return InvalidArgument(flags.log + ": cannot be written");
  return {};
}

/// A log, a report or an answer of the server.
Result<Spread> ReadSpread(const std::string& path) {
  QUORUM_ASSIGN(const MappedFile file, MappedFile::Open(path));
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  if (text.substr(0, text.find('\n')).find("\"quorum_expert_log\"") != std::string_view::npos) {
    Found other;
    QUORUM_TRY(ReadLog(path, other));
    return SpreadOf(path, *other.insight);
  }
  const Json report = Json::parse(text, nullptr, false);
  return SpreadOf(path, report);
}

Result<std::vector<engine::Ablated>> Ablate(const ExpertsFlags& flags, engine::Model& model, const Texts& texts,
                                            std::int32_t window) {
  const std::vector<engine::TopicText> sample = engine::SampleWindows(texts.texts, window, flags.ablate_tokens);
  return engine::AblateExperts(
      model, sample, static_cast<std::int32_t>(texts.topics.size()), window,
      [](std::int64_t done, std::int64_t total) { return ShowCount("masked experts", done, total); });
}

Status WritePage(const std::string& path, const Json& report) {
  std::ofstream out(path);
  out << ExpertsPage(report);
  if (!out.flush()) return InvalidArgument(path + ": cannot be written");
  return {};
}

/// Without loading: reads what the file says of itself.
Status CheckHasExperts(const std::string& path) {
  QUORUM_ASSIGN(const std::unique_ptr<engine::ModelFiles> files, engine::ModelFiles::Open(path));
  if (files->spec().has_experts()) return {};
  return InvalidArgument(path + " is dense: it has no experts (quorum upcycle makes some)");
}

Status Experts(const ExpertsFlags& flags) {
  Found found;
  Json report;
  const auto text_of = [&](tok::TokenId id) {
    const auto name = found.names.find(id);
    return name == found.names.end() ? std::string() : name->second;
  };
  if (!flags.from.empty()) {
    QUORUM_TRY(ReadLog(flags.from, found));
    report = ReportOf(found.head, *found.insight, text_of);
  } else {
    // Whatever is wrong is said before the weights are loaded, which may take long.
    QUORUM_TRY(CheckHasExperts(flags.model.path));
    QUORUM_ASSIGN(const engine::LoadedTokenizer tokenizer, LoadModelTokenizer(flags.model.path, 0));
    QUORUM_ASSIGN(const Texts texts, ReadTexts(flags.texts, *tokenizer.tokenizer, flags.topics == "first-word"));
    QUORUM_ASSIGN(const LoadedModel loaded, LoadTextModel(flags.model, flags.model.path, flags.window));
    const std::int32_t window = TextWindow(flags.window, *loaded.model);
    QUORUM_TRY(Observe(flags, *loaded.model, *tokenizer.tokenizer, texts, window, found));
    report = ReportOf(found.head, *found.insight, text_of);
    if (flags.ablate) {
      QUORUM_ASSIGN(auto ablated, Ablate(flags, *loaded.model, texts, window));
      report["ablation"] = AblationReport(std::move(ablated));
    }
  }
  if (!flags.compare.empty()) {
    QUORUM_ASSIGN(const Spread before, ReadSpread(flags.compare));
    QUORUM_ASSIGN(report["drift"], DriftReport(before, SpreadOf("this", *found.insight)));
  }
  if (!flags.html.empty()) QUORUM_TRY(WritePage(flags.html, report));
  if (flags.json) {
    fmt::print("{}\n", report.dump(1, ' ', false, Json::error_handler_t::replace));
  } else {
    PrintReport(report);
    if (!flags.html.empty()) fmt::print("\n{} has the plots\n", flags.html);
  }
  return {};
}

}  // namespace

void AddExperts(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ExpertsFlags>();
  CLI::App* command = app.add_subcommand("experts", "Which experts a text uses, and what each is worth");
  command->footer(
      "The text runs in windows of --ctx tokens. Counts are exact. REAP is the mean of weight times length of the "
      "expert's output\n"
      "over the tokens that visited it (Lasby et al. 2025); ablation masks each expert in turn and ranks by what the "
      "text's loss\n"
      "gains. --compare tells how far routing moved since another log, report (--json) or saved answer of GET "
      "/v1/experts.");
  AddModelFlags(*command, flags->model);
  command->get_option("MODEL")->required(false);
  command->remove_option(command->get_option("--ctx"));
  command->add_option("--ctx", flags->window, "Tokens in a window; 0: 512, or the model's context where that is less")
      ->envname("QUORUM_EXPERTS_CTX")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  auto* texts = command->add_option("--text", flags->texts, "UTF-8 text files, each a topic")->check(CLI::ExistingFile);
  command->add_option("--topics", flags->topics, "What a topic is: file, or first-word: what a line begins with")
      ->envname("QUORUM_EXPERTS_TOPICS")
      ->check(CLI::IsMember({"file", "first-word"}))
      ->capture_default_str();
  auto* from = command->add_option("--from", flags->from, "Read this log instead of running a model")
                   ->check(CLI::ExistingFile)
                   ->excludes(texts);
  command->add_option("--log", flags->log, "Write what each token visited, a JSON line each")
      ->envname("QUORUM_EXPERTS_LOG")
      ->excludes(from);
  command->add_flag("--ablate", flags->ablate, "Mask every expert in turn (a pass over the sample each)")
      ->envname("QUORUM_EXPERTS_ABLATE")
      ->excludes(from);
  command
      ->add_option("--ablate-tokens", flags->ablate_tokens,
                   "Tokens of the sample, whole windows from all over the text")
      ->envname("QUORUM_EXPERTS_ABLATE_TOKENS")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--compare", flags->compare, "Earlier log, report or /v1/experts answer: show the drift since")
      ->check(CLI::ExistingFile);
  command->add_option("--html", flags->html, "Write a page with plots")->envname("QUORUM_EXPERTS_HTML");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, &action] {
    if (flags->from.empty() && (flags->model.path.empty() || flags->texts.empty())) {
      throw CLI::ValidationError("experts", "MODEL and --text, or --from LOG, are required");
    }
    action = [flags] {
      CatchInterrupts();
      return Exit(Experts(*flags));
    };
  });
}

}  // namespace quorum::cli
