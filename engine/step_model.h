// What the scheduler needs of a model: run one mixed batch. Tests drive the scheduler with a fake.
#pragma once

#include <cstdint>
#include <span>

#include "engine/base/result.h"
#include "tokenizer/tokenizer.h"

namespace quorum::engine {

/// Tokens per KV page, and the block of positions in which attention walks the cache (DESIGN 4.5).
inline constexpr std::int32_t kPageTokens = 64;

/// One sequence's slice of a step: `tokens` stand at positions pos, pos+1, ... Keys and values of all earlier
/// positions are in `pages` already; this step writes those of its own tokens there.
struct StepSlice {
  std::span<const tok::TokenId> tokens;
  std::int32_t pos = 0;
  std::span<const std::int32_t> pages;  // page ids; covers at least pos + tokens.size() positions
  std::int32_t first_logits = 0;        // logits are wanted for tokens[first_logits ...]; == size(): none
};

/// A decoder with its weights and KV cache. One caller at a time.
class StepModel {
 public:
  virtual ~StepModel() = default;
  virtual std::int32_t vocab_size() const = 0;
  virtual std::int32_t context_length() const = 0;  // positions that the model and its KV cache allow one sequence
  virtual std::int32_t num_pages() const = 0;       // KV pages in the cache
  virtual std::int32_t max_step_tokens() const = 0; // rows of one step
  virtual std::int32_t max_step_logits() const = 0; // rows of logits of one step

  /// Computes one step. `logits` gets one row of vocab_size() floats for each token asked for, slices in order.
  /// Bits of a row depend only on that sequence's tokens (DESIGN 1.1).
  virtual Status Step(std::span<const StepSlice> slices, std::span<float> logits) = 0;
};

}  // namespace quorum::engine
