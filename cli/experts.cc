// quorum experts: which experts a text uses, what each is worth, and how that changed.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/experts_page.h"
#include "cli/experts_report.h"
#include "cli/long_work.h"
#include "cli/model_flags.h"
#include "cli/model_header.h"
#include "cli/output_file.h"
#include "cli/text_files.h"
#include "cli/text_model.h"
#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "engine/base/new_file.h"
#include "engine/expert_log.h"
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
  bool json = false, replace = false;
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
  found.head = {flags.model.Name(), model.experts(), texts.topics};
  found.insight.emplace(found.head.shape, static_cast<std::int32_t>(texts.topics.size()));
  std::optional<NewFile> log;
  if (!flags.log.empty()) {
    QUORUM_ASSIGN(NewFile file, NewFile::Create(flags.log, flags.replace));
    QUORUM_TRY(file.Write(engine::ExpertLogLine(found.head)));
    log.emplace(std::move(file));
  }
  std::int64_t done = 0;
  QUORUM_TRY(engine::RouteTexts(model, texts.texts, window, nullptr, [&](const engine::RoutedToken& token) -> Status {
    found.insight->Add(token);
    const std::string_view bytes = tokenizer.TokenBytes(token.token);
    found.names.try_emplace(token.token, tok::SanitizeUtf8(bytes));
    if (log) {
      if (Status written = log->Write(engine::ExpertLogLine(token, bytes)); !written.ok()) return written;
    }
    ++done;
    return done % engine::kTextRows != 0 && done != texts.tokens ? Status()
           : ShowCount("tokens", done, texts.tokens)             ? Status()
                                                                 : Status(Interrupted());
  }));
  return log ? log->Publish() : Status();
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

Result<std::vector<engine::Ablated>> Ablate(engine::Model& model, const std::vector<engine::TopicText>& sample,
                                            std::ptrdiff_t topics, std::int32_t window) {
  return engine::AblateExperts(
      model, sample, static_cast<std::int32_t>(topics), window,
      [](std::int64_t done, std::int64_t total) { return ShowCount("masked experts", done, total); });
}

Status WritePage(const std::string& path, const Json& report, bool replace) {
  QUORUM_ASSIGN(NewFile file, NewFile::Create(path, replace));
  QUORUM_TRY(file.Write(ExpertsPage(report)));
  return file.Publish();
}

/// Whatever the files say of themselves is judged before the weights are loaded, which may take long.
Status CheckFiles(const ExpertsFlags& flags, const std::optional<Spread>& before) {
  QUORUM_ASSIGN(const engine::ModelSpec spec, ReadSpec(flags.model.path));
  if (!spec.has_experts())
    return InvalidArgument(flags.model.Name() + " is dense: it has no experts (quorum upcycle makes some)");
  if (!before) return {};
  const engine::ExpertInsight empty(ExpertShapeOf(spec), 1);
  return CheckComparable(*before, SpreadOf(flags.model.Name(), empty));
}

Status Experts(const ExpertsFlags& flags) {
  Found found;
  Json report;
  const auto text_of = [&](tok::TokenId id) {
    const auto name = found.names.find(id);
    return name == found.names.end() ? std::string() : name->second;
  };
  std::optional<Spread> before;
  if (!flags.compare.empty()) {
    QUORUM_ASSIGN(before, ReadSpread(flags.compare));
  }
  for (const std::string* path : {&flags.html, &flags.log}) {
    if (!path->empty()) QUORUM_TRY(CheckOutput(*path, flags.replace));
  }
  if (!flags.from.empty()) {
    QUORUM_TRY(ReadLog(flags.from, found));
    report = ReportOf(found.head, *found.insight, text_of);
  } else {
    QUORUM_TRY(CheckFiles(flags, before));
    QUORUM_ASSIGN(const engine::LoadedTokenizer tokenizer, LoadModelTokenizer(flags.model.path, 0));
    QUORUM_ASSIGN(const Texts texts, ReadTexts(flags.texts, *tokenizer.tokenizer, flags.topics == "first-word"));
    QUORUM_ASSIGN(const LoadedModel loaded, LoadTextModel(flags.model, flags.model.path, flags.window));
    const std::int32_t window = TextWindow(flags.window, *loaded.model);
    QUORUM_TRY(Observe(flags, *loaded.model, *tokenizer.tokenizer, texts, window, found));
    report = ReportOf(found.head, *found.insight, text_of);
    if (flags.ablate) {
      const auto sample = engine::SampleWindows(texts.texts, window, flags.ablate_tokens);
      QUORUM_ASSIGN(auto ablated, Ablate(*loaded.model, sample, std::ssize(texts.topics), window));
      report["ablation_tokens"] =
          std::accumulate(sample.begin(), sample.end(), std::size_t{0},
                          [](std::size_t n, const engine::TopicText& text) { return n + text.tokens.size(); });
      report["ablation"] = AblationReport(std::move(ablated));
    }
  }
  if (before) {
    QUORUM_ASSIGN(report["drift"], DriftReport(*before, SpreadOf("this", *found.insight)));
  }
  if (!flags.html.empty()) QUORUM_TRY(WritePage(flags.html, report, flags.replace));
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
      "The text runs in windows of --ctx tokens. Counts are exact. REAP is the mean of weight times length of "
      "the expert's output over the tokens that visited it (Lasby et al. 2025); ablation masks each expert in "
      "turn and ranks by what the text's loss gains. --compare tells how far routing moved since another log, "
      "report (--json) or saved answer of GET /v1/experts.\n"
      "A log is JSON lines. The first is {\"quorum_expert_log\": 1, \"model\": NAME, \"top_k\": K, \"experts\": "
      "[experts of each layer, 0: dense], \"topics\": [NAME, ...], \"share\": what part of all tokens it has, if not "
      "1}, "
      "each other a token: \"t\" and \"s\" its id and text (a "
      "server leaves them out without --expert-log-text), \"topic\" counted from 0, \"loss\" its -log p in nats; then "
      "lists with an entry for each layer: \"e\" its experts, ascending, \"w\" their weights, \"n\" lengths of their "
      "outputs (not from a server), \"m\" the margin of the choice in logits. null stands for what there is not.");
  AddModelFlags(*command, flags->model, {.required = false, .context = false});
  AddWindowFlag(*command, flags->window);
  auto* texts = command->add_option("--text", flags->texts, "UTF-8 text files, each a topic")->check(CLI::ExistingFile);
  command->add_option("--topics", flags->topics, "What a topic is: file, or first-word: what a line begins with")
      ->check(CLI::IsMember({"file", "first-word"}))
      ->capture_default_str();
  auto* from =
      command
          ->add_option("--from", flags->from, "Read this log (--log, or serve --expert-log) instead of running a model")
          ->check(CLI::ExistingFile)
          ->excludes(texts);
  command->add_option("--log", flags->log, "Write what each token visited, a JSON line each")
      ->type_name("FILE")
      ->excludes(from);
  command->add_flag("--ablate", flags->ablate, "Mask every expert in turn (a pass over the sample each)")
      ->excludes(from);
  command
      ->add_option("--ablate-tokens", flags->ablate_tokens,
                   "Tokens of the sample, whole windows from all over the text")
      ->check(AtLeast(1))
      ->capture_default_str();
  command->add_option("--compare", flags->compare, "Earlier log, report or /v1/experts answer: show the drift since")
      ->check(CLI::ExistingFile);
  command->add_option("--html", flags->html, "Write a page with plots")->type_name("FILE");
  command->add_flag("--force", flags->replace, "Write over existing files");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, command, &action] {
    if (flags->from.empty()) {
      if (flags->model.path.empty() || flags->texts.empty()) {
        throw CLI::RequiredError("MODEL (or --demo) with --text, or --from LOG,");
      }
    } else {
      Refuse(
          *command,
          {"MODEL", "--demo", "--threads", "--numa", "--ctx", "--weights", "--float-gemm", "--kv", "--act", "--topics"},
          "has no effect with --from, which runs no model");
    }
    if (!flags->ablate) Refuse(*command, {"--ablate-tokens"}, "has no effect without --ablate");
    if (flags->log.empty() && flags->html.empty())
      Refuse(*command, {"--force"}, "has no effect without --log or --html");
    action = [flags] {
      CatchInterrupts();
      return Exit(Experts(*flags));
    };
  });
}

}  // namespace quorum::cli
