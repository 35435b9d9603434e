#include "cli/eval_tasks.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/eval_report.h"
#include "cli/eval_stepper.h"
#include "cli/long_work.h"
#include "engine/base/mapped_file.h"
#include "engine/eval_task.h"
#include "engine/load_tokenizer.h"
#include "engine/logit_compare.h"

namespace quorum::cli {
namespace {

using Json = nlohmann::ordered_json;
using Tokens = std::vector<tok::TokenId>;

struct Outcome {
  bool right = false;
  bool right_by_length = false;  // of choices: by the mean instead of the sum of log-probabilities
  Json detail;
};

class TaskRunner {
 public:
  TaskRunner(Stepper& stepper, const tok::Tokenizer& tokenizer, std::int32_t context)
      : stepper_(stepper),
        tokenizer_(tokenizer),
        context_(static_cast<std::size_t>(context)),
        logits_(kScoredRows * stepper.vocab()) {}

  Result<Outcome> Run(const engine::EvalTask& task) { return task.choices.empty() ? Write(task) : Choose(task); }

 private:
  Status Fits(const Tokens& tokens, std::size_t more) const {
    if (tokens.empty()) return InvalidArgument("has an empty prompt");
    if (tokens.size() + more <= context_) return {};
    return InvalidArgument(fmt::format("needs {} tokens, --ctx allows {}", tokens.size() + more, context_));
  }

  /// Computes tokens [first, tokens.size()); the last one's logits are in the first row afterwards.
  Status Feed(const Tokens& tokens, std::size_t first) {
    for (std::size_t at = first; at < tokens.size(); at += kScoredRows) {
      QUORUM_TRY(stepper_.Step(tokens, at, std::min<std::size_t>(kScoredRows, tokens.size() - at), true, logits_));
    }
    return {};
  }

  Result<Outcome> Choose(const engine::EvalTask& task) {
    QUORUM_ASSIGN(const Tokens prompt, tokenizer_.Encode(task.prompt, {}));
    std::vector<double> sums, means;
    for (const std::string& choice : task.choices) {
      // Together, as the text would be: the last token of the prompt may join with the first of the choice.
      QUORUM_ASSIGN(const Tokens all, tokenizer_.Encode(task.prompt + choice, {}));
      QUORUM_TRY(Fits(all, 0));
      std::size_t same = 0;
      while (same < prompt.size() && same < all.size() && prompt[same] == all[same]) ++same;
      same = std::min(same, all.size() - 1);
      if (same == 0) return InvalidArgument("has an empty prompt");
      double sum = 0;
      for (std::size_t at = 0; at + 1 < all.size(); at += kScoredRows) {
        const std::size_t rows = std::min<std::size_t>(kScoredRows, all.size() - 1 - at);
        QUORUM_TRY(stepper_.Step(all, at, rows, false, logits_));
        for (std::size_t i = 0; i < rows; ++i) {
          if (at + i + 1 < same) continue;
          const std::span<const float> row = std::span(logits_).subspan(i * stepper_.vocab(), stepper_.vocab());
          sum += static_cast<double>(row[static_cast<std::size_t>(all[at + i + 1])]) - engine::LogSumExp(row);
        }
      }
      sums.push_back(sum);
      means.push_back(sum / static_cast<double>(choice.size()));  // by bytes, as lm-evaluation-harness' acc_norm
    }
    const auto best = [](const std::vector<double>& values) {
      return static_cast<std::size_t>(std::ranges::max_element(values) - values.begin());
    };
    return Outcome{
        best(sums) == task.answer, best(means) == task.answer, {{"chosen", best(sums)}, {"log_probabilities", sums}}};
  }

  Result<Outcome> Write(const engine::EvalTask& task) {
    QUORUM_ASSIGN(Tokens tokens, tokenizer_.Encode(task.prompt, {}));
    QUORUM_TRY(Fits(tokens, 1));
    std::string text;
    std::size_t first = 0;
    for (std::int32_t i = 0; i < task.max_tokens && tokens.size() < context_; ++i) {
      QUORUM_TRY(Feed(tokens, first));
      first = tokens.size();
      const auto row = std::span(logits_).first(stepper_.vocab());
      const auto token = static_cast<tok::TokenId>(std::ranges::max_element(row) - row.begin());
      if (tokenizer_.IsEndOfGeneration(token)) break;
      tokens.push_back(token);
      text += tokenizer_.TokenBytes(token);
      const std::size_t begin = text.find_first_not_of(" \t\r\n");
      if (begin != std::string::npos && text.find('\n', begin) != std::string::npos) break;  // its first line is whole
    }
    const bool right = engine::MatchesAnswer(text, task.text);
    return Outcome{right, right, {{"text", text}}};
  }

  Stepper& stepper_;
  const tok::Tokenizer& tokenizer_;
  std::size_t context_;
  std::vector<float> logits_;
};

}  // namespace

Status EvalTasks(const EvalFlags& flags, const engine::ExpertRequest& experts) {
  const std::string& path = flags.tasks;
  const std::int32_t context = flags.window;
  QUORUM_ASSIGN(const MappedFile file, MappedFile::Open(path));
  const auto tasks = engine::ParseEvalTasks({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
  if (!tasks.ok()) return InvalidArgument(path + ": " + tasks.error().message);
  QUORUM_ASSIGN(const engine::LoadedTokenizer tokenizer, LoadModelTokenizer(flags.model.path, 0));
  QUORUM_ASSIGN(Stepper stepper, Stepper::Load(flags.model, context, experts));
  TaskRunner runner(stepper, *tokenizer.tokenizer, context);
  std::int64_t right = 0, with_choices = 0, by_length = 0;
  Json rows = Json::array();
  for (std::size_t i = 0; i < tasks->size(); ++i) {
    const engine::EvalTask& task = (*tasks)[i];
    if (!ShowCount("tasks", static_cast<std::int64_t>(i), std::ssize(*tasks))) return Interrupted();
    const auto outcome = runner.Run(task);
    if (!outcome.ok() && outcome.error().code == ErrorCode::kCancelled) return Interrupted();
    if (!outcome.ok()) {
      return Error{outcome.error().code, fmt::format("{}: task {}: {}", path, i + 1, outcome.error().message), {}, {}};
    }
    right += outcome->right ? 1 : 0;
    if (!task.choices.empty()) {
      ++with_choices;
      by_length += outcome->right_by_length ? 1 : 0;
    }
    Json row = {{"task", i + 1}, {"right", outcome->right}};
    if (!task.id.empty()) row["id"] = task.id;
    row.update(outcome->detail);
    rows.push_back(std::move(row));
  }
  ShowCount("tasks", std::ssize(*tasks), std::ssize(*tasks));
  const engine::Proportion accuracy = engine::ProportionOf(right, std::ssize(*tasks));
  const engine::Proportion normalized = engine::ProportionOf(by_length, with_choices);
  if (flags.json) {
    Json out = {{"model", flags.model.Name()},
                {"tasks_file", path},
                {"tasks", tasks->size()},
                {"accuracy", accuracy.fraction},
                {"accuracy_ci95_low", accuracy.low},
                {"accuracy_ci95_high", accuracy.high}};
    if (with_choices > 0) {
      out["tasks_with_choices"] = with_choices;
      out["accuracy_by_length"] = normalized.fraction;
      out["accuracy_by_length_ci95_low"] = normalized.low;
      out["accuracy_by_length_ci95_high"] = normalized.high;
    }
    out.update(Settings(flags, stepper));
    out["results"] = std::move(rows);
    fmt::print("{}\n", out.dump(2, ' ', false, Json::error_handler_t::replace));
    return {};
  }
  fmt::print("{}{} tasks, solved {}\n", SettingsText(flags), tasks->size(), Percent(accuracy));
  if (with_choices > 0) {
    fmt::print("  the {} with choices by log-probability a byte: {}\n", with_choices, Percent(normalized));
  }
  return {};
}

}  // namespace quorum::cli
