// Guesses the next tokens of a text that repeats itself, and knows for each request whether guessing pays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/cost_model.h"
#include "tokenizer/tokenizer.h"

namespace quorum::engine {

/// Prompt lookup decoding (Saxena 2023): what followed the last three tokens the last time that they stood together.
class PromptLookup {
 public:
  static constexpr std::size_t kGram = 3;

  /// Up to `most` tokens that may follow `tokens`. `tokens` is the same sequence at each call, perhaps longer.
  std::span<const tok::TokenId> Guess(std::span<const tok::TokenId> tokens, std::int32_t most);

 private:
  std::unordered_map<std::uint64_t, std::size_t> followers_;  // hash of a gram -> the position behind its last place
  std::size_t indexed_ = kGram;                               // followers before this position are in the map
};

/// Decides how many guesses one request should try: as many as the seconds that they are expected to save exceed those
/// that they cost, by the request's own rate of right guesses and the measured cost of further rows.
class DraftGate {
 public:
  /// `decoding`: sequences that share the step, whose work without guesses is `step`; `pos`: where this one stands.
  std::int32_t Choose(std::int32_t most, std::int32_t decoding, const StepWork& step, std::int64_t pos,
                      const CostModel& cost);
  void Learn(std::int32_t drafted, std::int32_t accepted);
  double rate() const { return right_ / tried_; }

 private:
  // Guesses after the first wrong one are not judged. The start is a prior of one half.
  double right_ = 1;
  double tried_ = 2;
  std::int32_t idle_ = 0;  // chances that were let go since the last guess
};

}  // namespace quorum::engine
