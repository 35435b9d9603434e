#include "cli/eval_score.h"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "cli/long_work.h"
#include "cli/text_files.h"
#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "engine/load_tokenizer.h"

namespace quorum::cli {
namespace {

/// What llama-perplexity scores: the second half of each whole window, whose first token is BOS where the model has
/// one.
Result<Text> LikeLlamaPerplexity(const EvalFlags& flags, const tok::Tokenizer& tokenizer, Text text) {
  QUORUM_ASSIGN(const std::vector<tok::TokenId> trial, tokenizer.Encode("a", {.add_special = true}));
  const bool bos = tokenizer.bos() && !trial.empty() && trial.front() == *tokenizer.bos();
  if (bos) text.tokens.insert(text.tokens.begin(), *tokenizer.bos());
  const auto window = static_cast<std::size_t>(text.window);
  text.tokens.resize(text.tokens.size() / window * window);
  if (text.tokens.empty()) {
    return InvalidArgument(fmt::format("{} has fewer tokens than a window of {}", flags.text, window));
  }
  for (std::size_t at = 0; bos && at < text.tokens.size(); at += window) text.tokens[at] = *tokenizer.bos();
  text.skip = window / 2;
  return text;
}

}  // namespace

Result<Text> ReadText(const EvalFlags& flags) {
  QUORUM_ASSIGN(const MappedFile text, MappedFile::Open(flags.text));
  QUORUM_ASSIGN(const engine::LoadedTokenizer loaded, LoadModelTokenizer(flags.model.path, 0));
  const std::string_view bytes(reinterpret_cast<const char*>(text.bytes().data()), text.bytes().size());
  QUORUM_TRY(CheckUtf8(flags.text, bytes));
  std::int64_t lost = 0;
  Text out{.tokens = {}, .window = flags.window};
  QUORUM_ASSIGN(out.tokens, loaded.tokenizer->Encode(bytes, {.bytes_without_token = &lost}));
  if (lost > 0)
    Log(LogLevel::kWarn, "{}: {} bytes have no token in this vocabulary and are left out", flags.text, lost);
  if (out.tokens.size() < 2) return InvalidArgument(flags.text + " has fewer than two tokens");
  return flags.like_llama ? LikeLlamaPerplexity(flags, *loaded.tokenizer, std::move(out)) : std::move(out);
}

Status ReferenceLogits::Rows(std::span<const tok::TokenId> window, std::size_t first, std::size_t rows,
                             std::size_t vocab, std::span<float> out) {
  if (model != nullptr) return model->Step(window, first, rows, false, out);
  for (std::size_t i = 0; i < rows; ++i) file->Row(next++, out.subspan(i * vocab, vocab));
  return {};
}

Result<Scores> Score(Stepper& stepper, const Text& text, ReferenceLogits reference, engine::LogitWriter* save,
                     engine::LayerComparison* layers) {
  const std::size_t vocab = stepper.vocab();
  std::vector<float> logits(kScoredRows * vocab);
  std::vector<float> other(reference.any() ? logits.size() : 0);
  Scores scores;
  std::vector<engine::PositionDifference> differences;
  std::vector<double> reference_losses;
  const std::span<const tok::TokenId> all(text.tokens);
  for (std::size_t start = 0; start + 1 < all.size(); start += static_cast<std::size_t>(text.window)) {
    const auto window = all.subspan(start, std::min(static_cast<std::size_t>(text.window), all.size() - start));
    for (std::size_t first = 0; first + 1 < window.size(); first += kScoredRows) {
      const std::size_t rows = std::min<std::size_t>(kScoredRows, window.size() - 1 - first);
      const auto begin = std::chrono::steady_clock::now();
      QUORUM_TRY(stepper.Step(window, first, rows, false, logits));
      scores.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (reference.any()) QUORUM_TRY(reference.Rows(window, first, rows, vocab, other));
      if (layers != nullptr) layers->Compare();
      const std::size_t skipped = first >= text.skip ? 0 : std::min(rows, text.skip - first);
      const std::size_t at = scores.losses.size();
      scores.losses.resize(at + rows - skipped);
      if (reference.any()) {
        differences.resize(scores.losses.size());
        reference_losses.resize(scores.losses.size());
      }
      stepper.pool().ParallelFor(static_cast<std::int64_t>(rows - skipped), [&](std::int64_t task, int) {
        const std::size_t to = at + static_cast<std::size_t>(task);
        const std::size_t i = skipped + static_cast<std::size_t>(task);
        const auto token = static_cast<std::size_t>(window[first + i + 1]);
        const std::span<const float> row = std::span(logits).subspan(i * vocab, vocab);
        scores.losses[to] = engine::LogSumExp(row) - static_cast<double>(row[token]);
        if (!reference.any()) return;
        const std::span<const float> wanted = std::span(other).subspan(i * vocab, vocab);
        differences[to] = engine::Compare(wanted, row);
        reference_losses[to] = engine::LogSumExp(wanted) - static_cast<double>(wanted[token]);
      });
      if (!ShowCount("tokens", static_cast<std::int64_t>(start + first + rows) + 1, std::ssize(all)))
        return Interrupted();
      for (std::size_t i = 0; save != nullptr && i < rows; ++i) {
        QUORUM_TRY(save->Add(std::span(logits).subspan(i * vocab, vocab)));
      }
    }
  }
  if (reference.any()) scores.difference = engine::Summarize(differences, scores.losses, reference_losses);
  return scores;
}

}  // namespace quorum::cli
