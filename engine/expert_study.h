// What texts say about a model's experts: the routing of every token, and what the texts lose without each expert.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/base/result.h"
#include "engine/expert_insight.h"
#include "engine/model.h"
#include "engine/text_run.h"
#include "tokenizer/tokenizer.h"

namespace quorum::engine {

/// A text whose tokens belong to topics.
struct TopicText {
  std::vector<tok::TokenId> tokens;
  std::vector<std::int32_t> topics;  // of each token
};

/// Runs `texts` in windows and tells `each` of every token's visits, lengths of outputs included, in order. What a
/// token points to lives during the call. Errors: those of RunText; `each`'s own.
Status RouteTexts(Model& model, std::span<const TopicText> texts, std::int32_t window, const ExpertOptions* experts,
                  const std::function<Status(const RoutedToken&)>& each);

struct Ablated {
  std::int32_t layer = 0;
  std::int32_t expert = 0;
  double increase = 0;           // of the mean loss, in nats a token; negative: the text is better off without
  std::vector<double> by_topic;  // the same among the tokens of each topic; 0 for topics without scored tokens
};

/// Masks each expert of each layer that has another, in that order, and runs `texts` again: everything else stays as it
/// was. `progress` is told of passes done and in all; returning false ends it with kCancelled. May be null. Errors:
/// those of RunText.
Result<std::vector<Ablated>> AblateExperts(Model& model, std::span<const TopicText> texts, std::int32_t topics,
                                           std::int32_t window,
                                           const std::function<bool(std::int64_t done, std::int64_t total)>& progress);

/// About `budget` tokens of `texts`: whole windows, evenly spaced.
std::vector<TopicText> SampleWindows(std::span<const TopicText> texts, std::int32_t window, std::int64_t budget);

}  // namespace quorum::engine
