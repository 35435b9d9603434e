#include "engine/text_run.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "engine/finite_check.h"

namespace quorum::engine {

Status RunText(Model& model, std::span<const tok::TokenId> tokens, const TextRun& run,
               const std::function<Status(const TextRows&)>& each) {
  if (model.decoder_start()) return Unsupported("an encoder-decoder has no loss of a text by itself");
  if (run.window < 2 || run.window > model.context_length()) {
    return InvalidArgument(
        fmt::format("windows of {} tokens; this model takes 2 to {}", run.window, model.context_length()));
  }
  const ExpertShape shape = model.experts();
  std::optional<ExpertTrace> trace;
  if (run.trace) {
    TraceParts parts = run.parts;
    parts.d_model = model.spec().d_model;
    parts.ff = model.spec().max_ff();
    trace.emplace(shape, run.experts != nullptr ? run.experts->top_k : std::min(shape.top_k, shape.most()), kTextRows,
                  parts);
  }
  const std::int64_t vocab = model.vocab_size();
  std::vector<float> logits(static_cast<std::size_t>(kTextRows * vocab));
  std::vector<std::int32_t> pages(static_cast<std::size_t>((run.window + kPageTokens - 1) / kPageTokens));
  std::iota(pages.begin(), pages.end(), 0);
  std::vector<float> losses(kTextRows);
  for (std::int64_t start = 0; start < std::ssize(tokens); start += run.window) {
    const auto window =
        tokens.subspan(static_cast<std::size_t>(start),
                       std::min(static_cast<std::size_t>(run.window), tokens.size() - static_cast<std::size_t>(start)));
    float next = std::numeric_limits<float>::quiet_NaN();  // of the first token of the coming rows
    for (std::int64_t pos = 0; pos < std::ssize(window); pos += kTextRows) {
      const std::int64_t rows = std::min<std::int64_t>(kTextRows, std::ssize(window) - pos);
      const StepSlice slice{.tokens = window.subspan(static_cast<std::size_t>(pos), static_cast<std::size_t>(rows)),
                            .pos = static_cast<std::int32_t>(pos),
                            .pages = pages,
                            .first_logits = 0,
                            .experts = run.experts,
                            .trace = trace ? &*trace : nullptr};
      const auto wanted = std::span(logits).first(static_cast<std::size_t>(rows * vocab));
      QUORUM_TRY(model.Step({&slice, 1}, wanted));
      QUORUM_TRY(CheckFinite(model, slice, wanted));
      for (std::int64_t i = 0; i < rows; ++i) {
        losses[static_cast<std::size_t>(i)] = next;
        if (pos + i + 1 == std::ssize(window)) break;
        const float* row = logits.data() + i * vocab;
        const auto wanted_logit = static_cast<double>(row[window[static_cast<std::size_t>(pos + i + 1)]]);
        next = static_cast<float>(model.kernels().log_sum_exp(row, vocab) - wanted_logit);
      }
      QUORUM_TRY(
          each({start + pos, std::span(losses).first(static_cast<std::size_t>(rows)), trace ? &*trace : nullptr}));
    }
  }
  return {};
}

Result<std::vector<float>> TextLosses(Model& model, std::span<const tok::TokenId> tokens, const TextRun& run) {
  std::vector<float> losses;
  losses.reserve(tokens.size());
  QUORUM_TRY(RunText(model, tokens, run, [&](const TextRows& rows) -> Status {
    losses.insert(losses.end(), rows.losses.begin(), rows.losses.end());
    return {};
  }));
  return losses;
}

double MeanLoss(std::span<const float> losses) {
  double sum = 0;
  std::int64_t count = 0;
  for (const float loss : losses) {
    if (std::isnan(loss)) continue;
    sum += static_cast<double>(loss);
    ++count;
  }
  return count == 0 ? std::numeric_limits<double>::quiet_NaN() : sum / static_cast<double>(count);
}

}  // namespace quorum::engine
