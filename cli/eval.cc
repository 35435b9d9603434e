// quorum eval: how well a model predicts a text.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_flags.h"
#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "engine/load_tokenizer.h"

namespace quorum::cli {
namespace {

// Rows of logits computed at once: enough to use the kernels well, little memory.
constexpr std::int32_t kScoredRows = 64;

struct EvalFlags {
  ModelFlags model;
  std::string text;
  std::int32_t window = 512;
  bool json = false;
};

/// Adds -log p(tokens[i] | tokens[0 .. i-1]) for each i >= 1 to `losses`.
Status ScoreWindow(engine::Model& model, std::span<const tok::TokenId> tokens, std::vector<double>& losses) {
  const auto vocab = static_cast<std::size_t>(model.vocab_size());
  std::vector<std::int32_t> pages((tokens.size() + engine::kPageTokens - 1) / engine::kPageTokens);
  std::iota(pages.begin(), pages.end(), 0);
  std::vector<float> logits(kScoredRows * vocab);
  // The last token is only predicted, never an input.
  for (std::size_t pos = 0; pos + 1 < tokens.size(); pos += kScoredRows) {
    const std::size_t rows = std::min<std::size_t>(kScoredRows, tokens.size() - 1 - pos);
    const engine::StepSlice slice{tokens.subspan(pos, rows), static_cast<std::int32_t>(pos), pages, 0};
    QUORUM_TRY(model.Step({&slice, 1}, std::span(logits).first(rows * vocab)));
    for (std::size_t i = 0; i < rows; ++i) {
      const float* row = logits.data() + i * vocab;
      const float total = model.kernels().log_sum_exp(row, static_cast<std::int64_t>(vocab));
      losses.push_back(static_cast<double>(total) - static_cast<double>(row[tokens[pos + i + 1]]));
    }
  }
  return {};
}

Status Eval(const EvalFlags& flags) {
  QUORUM_ASSIGN(const MappedFile text, MappedFile::Open(flags.text));
  QUORUM_ASSIGN(const engine::LoadedTokenizer loaded_tokenizer, LoadModelTokenizer(flags.model.path, 0));
  const std::string_view bytes(reinterpret_cast<const char*>(text.bytes().data()), text.bytes().size());
  std::int64_t lost = 0;
  QUORUM_ASSIGN(const std::vector<tok::TokenId> tokens,
                loaded_tokenizer.tokenizer->Encode(bytes, {.bytes_without_token = &lost}));
  if (lost > 0) Log(LogLevel::kWarn, "{}: {} bytes have no token in this vocabulary and are left out", flags.text, lost);
  if (tokens.size() < 2) return InvalidArgument(flags.text + " has fewer than two tokens");

  engine::LoadOptions options;
  options.context = flags.window;
  options.max_batch = 1;
  options.max_step_tokens = kScoredRows;
  options.max_step_logits = kScoredRows;
  QUORUM_ASSIGN(LoadedModel loaded, LoadModel(flags.model, options));
  if (loaded.model->decoder_start()) {
    return Unsupported(flags.model.path + " is an encoder-decoder: it has no perplexity of a text by itself");
  }

  std::vector<double> losses;
  for (std::size_t start = 0; start + 1 < tokens.size(); start += static_cast<std::size_t>(flags.window)) {
    const std::size_t size = std::min(static_cast<std::size_t>(flags.window), tokens.size() - start);
    QUORUM_TRY(ScoreWindow(*loaded.model, std::span(tokens).subspan(start, size), losses));
  }
  const auto count = static_cast<double>(losses.size());
  const double mean = std::accumulate(losses.begin(), losses.end(), 0.0) / count;
  double squares = 0;
  for (const double loss : losses) squares += (loss - mean) * (loss - mean);
  const double perplexity = std::exp(mean);
  const double error = perplexity * std::sqrt(squares / count / count);
  if (flags.json) {
    const nlohmann::ordered_json out = {{"model", flags.model.path},   {"text", flags.text},
                                        {"ctx", flags.window},         {"tokens", tokens.size()},
                                        {"scored", losses.size()},     {"perplexity", perplexity},
                                        {"perplexity_stderr", error},  {"mean_nll", mean},
                                        {"kernels", loaded.model->kernels().name}, {"kv", KvName(*loaded.model)}, {"act", ActivationsName(*loaded.model)}};
    fmt::print("{}\n", out.dump(2));
  } else {
    fmt::print("perplexity {:.4f} ± {:.4f}   ({} of {} tokens scored, windows of {})\n", perplexity, error,
               losses.size(), tokens.size(), flags.window);
  }
  return {};
}

}  // namespace

void AddEval(CLI::App& app, Action& action) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command = app.add_subcommand("eval", "Perplexity of a model on a text");
  command->footer("The text is cut into windows of --ctx tokens that do not overlap; every token but each window's first is\n"
                  "scored given those before it in the window. No BOS is added.");
  AddModelFlags(*command, flags->model);
  command->remove_option(command->get_option("--ctx"));
  command->add_option("--ctx", flags->window, "Tokens in a window")->check(CLI::Range(2, 1 << 20))->capture_default_str();
  command->add_option("--text", flags->text, "A UTF-8 text file")->required()->check(CLI::ExistingFile);
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, &action] {
    action = [flags] {
      const Status status = Eval(*flags);
      return status.ok() ? 0 : Fail(status.error());
    };
  });
}

}  // namespace quorum::cli
