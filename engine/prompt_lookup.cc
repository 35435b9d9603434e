#include "engine/prompt_lookup.h"

#include <algorithm>

namespace quorum::engine {
namespace {

constexpr double kMemory = 0.9;      // of the rate, per guess
constexpr double kMustSave = 1.05;   // times the cost
constexpr std::int32_t kRetry = 64;  // a gate that has closed tries a guess after so many chances

std::uint64_t HashOf(std::span<const tok::TokenId> gram) {
  std::uint64_t hash = 0;
  for (const tok::TokenId token : gram) hash = (hash ^ static_cast<std::uint32_t>(token)) * 0x9E3779B97F4A7C15U;
  return hash;
}

}  // namespace

std::span<const tok::TokenId> PromptLookup::Guess(std::span<const tok::TokenId> tokens, std::int32_t most) {
  if (tokens.size() <= kGram || most <= 0) return {};
  for (; indexed_ < tokens.size(); ++indexed_) {
    followers_[HashOf(tokens.subspan(indexed_ - kGram, kGram))] = indexed_;
  }
  const std::span<const tok::TokenId> end = tokens.last(kGram);
  const auto found = followers_.find(HashOf(end));
  if (found == followers_.end()) return {};
  const std::size_t at = found->second;
  if (!std::equal(end.begin(), end.end(), tokens.begin() + static_cast<std::ptrdiff_t>(at - kGram))) return {};
  return tokens.subspan(at, std::min(static_cast<std::size_t>(most), tokens.size() - at));
}

std::int32_t DraftGate::Choose(std::int32_t most, std::int32_t decoding, const StepWork& step, std::int64_t pos,
                               const CostModel& cost) {
  if (most <= 0 || !cost.ready()) return 0;
  const double base = cost.Predict(step);
  std::int32_t best = 0;
  double best_gain = 0;
  double chance = 1;
  double expected = 0;
  for (std::int32_t draft = 1; draft <= most; ++draft) {
    chance *= rate();
    expected += chance;
    StepWork more = step;
    more.Add(draft, pos, draft);
    // A right guess saves this sequence's part of a step.
    const double gain = expected * base / std::max(decoding, 1) - kMustSave * (cost.Predict(more) - base);
    if (gain > best_gain) {
      best = draft;
      best_gain = gain;
    }
  }
  if (best == 0 && ++idle_ >= kRetry) best = 1;
  if (best > 0) idle_ = 0;
  return best;
}

void DraftGate::Learn(std::int32_t drafted, std::int32_t accepted) {
  for (std::int32_t i = 0; i < std::min(drafted, accepted + 1); ++i) {
    tried_ = tried_ * kMemory + 1;
    right_ = right_ * kMemory + (i < accepted ? 1 : 0);
  }
}

}  // namespace quorum::engine
