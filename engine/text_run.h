// A text through a model in windows: what every token costs, and what the router did with it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/base/result.h"
#include "engine/expert_options.h"
#include "engine/expert_trace.h"
#include "engine/model.h"
#include "tokenizer/tokenizer.h"

namespace quorum::engine {

/// Rows of a step of RunText: enough to use the kernels well, little memory. Load models with at least as many
/// max_step_tokens and max_step_logits.
inline constexpr std::int32_t kTextRows = 64;

struct TextRun {
  std::int32_t window = 512;               // tokens; windows do not overlap, and each begins without knowing the last
  const ExpertOptions* experts = nullptr;  // null: the model's own routing
  bool trace = false;                      // record routing
  TraceParts parts = {};                   // and these measures (row lengths are filled in)
};

/// What becomes of tokens [first, first + losses.size()).
struct TextRows {
  std::int64_t first = 0;
  /// -log p(token | those before it in the window), in nats; NaN for a window's first token.
  std::span<const float> losses;
  const ExpertTrace* trace = nullptr;  // row i is token first + i; null: not asked for
};

/// Runs `tokens` and calls `each` with all of them, in order. The model's own counters count them too.
/// Errors: kInvalidArgument for a window below 2 or beyond the model's context, or a model with an encoder; kDataLoss
/// for logits that are not finite; `each`'s own.
Status RunText(Model& model, std::span<const tok::TokenId> tokens, const TextRun& run,
               const std::function<Status(const TextRows&)>& each);

/// The losses of all tokens: RunText without anything else. NaN where there is none.
Result<std::vector<float>> TextLosses(Model& model, std::span<const tok::TokenId> tokens, const TextRun& run);

/// Mean of the losses that are numbers, in a fixed order; NaN without any.
double MeanLoss(std::span<const float> losses);

}  // namespace quorum::engine
