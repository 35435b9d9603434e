// How long a step will take, learned from the steps that were run.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/expert_options.h"

namespace quorum::engine {

/// What one step has to do.
struct StepWork {
  std::int64_t rows = 0;     // tokens
  std::int64_t context = 0;  // positions that they attend to, all together
  std::int64_t logits = 0;   // rows of logits

  void Add(std::int64_t tokens, std::int64_t pos, std::int64_t logit_rows) {
    rows += tokens;
    context += tokens * pos + tokens * (tokens + 1) / 2;
    logits += logit_rows;
  }
};

/// A non-negative linear model over what costs time: a constant, rows (the first few apart: while weights stream from
/// memory they are nearly free), expected distinct experts, attended positions and rows of logits. It is fitted to
/// relative errors by recursive least squares with forgetting, so that it follows a machine that becomes slower or
/// faster. Single-threaded.
class CostModel {
 public:
  static constexpr std::size_t kFeatures = 6;
  using Weights =
      std::array<double, kFeatures>;  // seconds per: step, few row, further row, expert, position, logits row

  explicit CostModel(const ExpertShape& shape);

  /// A model that knows already; it forgets nothing until it is told.
  CostModel(const ExpertShape& shape, const Weights& weights);

  /// Learns that `work` took `seconds`.
  void Observe(const StepWork& work, double seconds);

  /// The expected time in seconds; grows with each part of `work`.
  double Predict(const StepWork& work) const;

  /// A time within which about 98 % of such steps stay: Predict times what recent steps took beyond it.
  double PredictSafe(const StepWork& work) const { return Predict(work) * margin_; }

  /// Rows up to which predictions rest on steps that were seen; a little beyond them is safe to try.
  std::int64_t trusted_rows() const { return 2 * most_rows_ + 16; }
  bool ready() const { return observed_ >= 4; }
  const Weights& weights() const { return weights_; }
  double margin() const { return margin_; }

  /// Experts of a layer that `rows` tokens are expected to visit, were the router to choose evenly.
  double DistinctExperts(std::int64_t rows) const;

 private:
  Weights Features(const StepWork& work) const;
  void Solve();

  double experts_;        // of the largest layer; 0: dense
  double untouched_ = 1;  // chance that one token leaves an expert alone
  Weights weights_{};
  std::array<Weights, kFeatures> normal_{};  // sum of x x' over relative features, with forgetting
  Weights right_{};                          // sum of x
  double margin_ = 1.3;
  std::int64_t most_rows_ = 0;
  std::int64_t observed_ = 0;
};

}  // namespace quorum::engine
