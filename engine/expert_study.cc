#include "engine/expert_study.h"

#include <algorithm>
#include <cmath>

namespace quorum::engine {
namespace {

/// Sums of losses by topic.
struct TopicLoss {
  std::vector<double> sum;
  std::vector<std::int64_t> scored;
};

Result<TopicLoss> LossOf(Model& model, std::span<const TopicText> texts, std::int32_t topics, const TextRun& run) {
  TopicLoss loss{std::vector<double>(static_cast<std::size_t>(topics)),
                 std::vector<std::int64_t>(static_cast<std::size_t>(topics))};
  for (const TopicText& text : texts) {
    QUORUM_ASSIGN(const std::vector<float> losses, TextLosses(model, text.tokens, run));
    for (std::size_t i = 0; i < losses.size(); ++i) {
      if (std::isnan(losses[i])) continue;
      loss.sum[static_cast<std::size_t>(text.topics[i])] += static_cast<double>(losses[i]);
      ++loss.scored[static_cast<std::size_t>(text.topics[i])];
    }
  }
  return loss;
}

}  // namespace

Status RouteTexts(Model& model, std::span<const TopicText> texts, std::int32_t window, const ExpertOptions* experts,
                  const std::function<Status(const RoutedToken&)>& each) {
  RoutedToken token;
  token.layers.resize(model.experts().experts.size());
  const TextRun run{.window = window, .experts = experts, .trace = true, .parts = {.norms = true}};
  for (const TopicText& text : texts) {
    const auto visit = [&](const TextRows& rows) -> Status {
      for (std::size_t i = 0; i < rows.losses.size(); ++i) {
        const std::size_t at = static_cast<std::size_t>(rows.first) + i;
        token.token = text.tokens[at];
        token.topic = text.topics[at];
        token.loss = rows.losses[i];
        for (std::size_t layer = 0; layer < token.layers.size(); ++layer) {
          token.layers[layer] = rows.trace->At(static_cast<std::int32_t>(layer), static_cast<std::int64_t>(i));
        }
        if (Status status = each(token); !status.ok()) return status;
      }
      return {};
    };
    QUORUM_TRY(RunText(model, text.tokens, run, visit));
  }
  return {};
}

Result<std::vector<Ablated>> AblateExperts(Model& model, std::span<const TopicText> texts, std::int32_t topics,
                                           std::int32_t window,
                                           const std::function<bool(std::int64_t done, std::int64_t total)>& progress) {
  const ExpertShape shape = model.experts();
  std::int64_t total = 0;
  for (const std::int32_t experts : shape.experts) total += experts > 1 ? experts : 0;
  QUORUM_ASSIGN(const TopicLoss base, LossOf(model, texts, topics, {.window = window}));
  std::vector<Ablated> all;
  for (std::int32_t layer = 0; layer < std::ssize(shape.experts); ++layer) {
    const std::int32_t experts = shape.experts[static_cast<std::size_t>(layer)];
    for (std::int32_t expert = 0; expert < experts && experts > 1; ++expert) {
      if (progress && !progress(std::ssize(all), total)) return Error{ErrorCode::kCancelled, "cancelled", {}, {}};
      QUORUM_ASSIGN(const ExpertOptions options, ResolveExperts({.masked = {{layer, expert}}}, shape));
      QUORUM_ASSIGN(const TopicLoss without, LossOf(model, texts, topics, {.window = window, .experts = &options}));
      Ablated ablated{layer, expert, 0, std::vector<double>(static_cast<std::size_t>(topics))};
      double difference = 0;
      std::int64_t scored = 0;
      for (std::size_t topic = 0; topic < without.sum.size(); ++topic) {
        const double change = without.sum[topic] - base.sum[topic];
        difference += change;
        scored += base.scored[topic];
        if (base.scored[topic] > 0) ablated.by_topic[topic] = change / static_cast<double>(base.scored[topic]);
      }
      if (scored > 0) ablated.increase = difference / static_cast<double>(scored);
      all.push_back(std::move(ablated));
    }
  }
  if (progress) progress(total, total);
  return all;
}

std::vector<TopicText> SampleWindows(std::span<const TopicText> texts, std::int32_t window, std::int64_t budget) {
  std::int64_t windows = 0;
  for (const TopicText& text : texts) windows += (std::ssize(text.tokens) + window - 1) / window;
  const std::int64_t wanted = std::clamp<std::int64_t>(budget / window, 1, std::max<std::int64_t>(windows, 1));
  std::vector<TopicText> sample;
  std::int64_t at = 0;  // windows seen; those that cross a multiple of windows / wanted are taken
  for (const TopicText& text : texts) {
    for (std::int64_t start = 0; start < std::ssize(text.tokens); start += window, ++at) {
      if (at * wanted / windows == (at - 1) * wanted / windows && at > 0) continue;
      const std::int64_t end = std::min<std::int64_t>(start + window, std::ssize(text.tokens));
      sample.push_back({{text.tokens.begin() + start, text.tokens.begin() + end},
                        {text.topics.begin() + start, text.topics.begin() + end}});
    }
  }
  return sample;
}

}  // namespace quorum::engine
