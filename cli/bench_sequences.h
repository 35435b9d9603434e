// Sequences of made-up tokens for `quorum bench`: they are computed without scheduler, tokenizer and sampler.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/base/result.h"
#include "engine/model.h"

namespace quorum::cli {

/// Sequences with pages of their own and made-up tokens. Speed does not depend on which tokens they are, except that
/// a MoE's routing spreads as it would for varied text, so each sequence gets its own. With an encoder-decoder model, a
/// prompt is a source, and what is decoded follows it (or a source of one page, where there is no prompt).
class BenchSequences {
 public:
  BenchSequences(engine::Model& model, std::int32_t count, std::int32_t length, std::int32_t chunk);

  /// Computes `n` tokens of every sequence in chunks; only the last one's logits are computed, as a server would.
  Status Prefill(std::int32_t n);
  /// Computes one token of every sequence, with logits.
  Status Decode();
  /// Takes the last decoded token of every sequence back: the next Decode computes the same again.
  void StepBack();

  /// From now on decoding counts each sequence's experts, as a request's report does, or traces them.
  void Watch(bool tally, bool trace);

  /// From now on every step's cost is added up. Asks the model for its counters in each step, so it is not for timing.
  void CountCost();
  /// Zero for encoder-decoder models.
  const engine::StepCost& cost() const { return cost_; }

 private:
  struct Sequence {
    std::vector<std::int32_t> pages, source_pages;
    std::int32_t pos = 0;
    std::int32_t source = 0;
    engine::ExpertTally tally;
    std::optional<engine::ExpertTrace> trace;
  };

  Status Encode(std::int32_t n);
  Status Step(std::span<const engine::StepSlice> slices, std::size_t logits);
  tok::TokenId TokenAt(std::size_t sequence, std::int32_t pos) const;
  bool encodes() const { return model_.decoder_start().has_value(); }

  engine::Model& model_;
  std::int32_t chunk_;
  std::vector<float> logits_;
  std::vector<Sequence> sequences_;
  bool tally_ = false, trace_ = false;
  std::optional<engine::WeightCosts> costs_;
  engine::StepCost cost_;
};

}  // namespace quorum::cli
