// What the router and the experts did with each row of a slice, for those who ask: `quorum experts`, pruning, carving.
// Nothing of it is computed otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "engine/expert_options.h"

namespace quorum::engine {

/// Which measures a trace takes. Choices, weights and margins always.
struct TraceParts {
  bool norms = false;   // sizes of the experts' outputs
  bool inputs = false;  // what routers and networks read
  bool hidden = false;  // hidden units of the networks
  std::int64_t d_model = 0, ff = 0;  // row lengths of `inputs` and `hidden`
};

/// Filled by a step for the rows of one slice, from row 0 on. The same bits whatever else is in the step, with any number of
/// threads. Reused from step to step: what a step does not write keeps its old values.
class ExpertTrace {
 public:
  /// Room for `rows` rows that visit up to `visits` experts in each layer.
  ExpertTrace(const ExpertShape& shape, std::int32_t visits, std::int64_t rows, const TraceParts& parts = {});

  std::int32_t layers() const { return layers_; }
  std::int32_t visits() const { return visits_; }
  std::int64_t rows() const { return rows_; }
  const TraceParts& parts() const { return parts_; }

  /// One row in one layer. Dense layers have no experts, and visit 0 of `hidden` is their network's.
  struct Visits {
    std::span<const std::int32_t> experts;  // ascending
    std::span<const float> weights;         // as the outputs were multiplied
    std::span<const float> norms;           // Euclidean length of each expert's output before that; empty: not taken
    /// How sure the choice was: the lowest router logit of those chosen minus the highest of those not, before any soft-cap;
    /// negative where a bias or groups overrule logits, infinite where there was no other.
    float margin = std::numeric_limits<float>::infinity();
  };
  Visits At(std::int32_t layer, std::int64_t row) const;
  /// (d_model), normed; empty: not taken.
  std::span<const float> Input(std::int32_t layer, std::int64_t row) const;
  /// (ff of the network) of the row's visit; empty: not taken.
  std::span<const float> Hidden(std::int32_t layer, std::int64_t row, std::int32_t visit) const;

  // For the forward pass. `count` experts were chosen with the router's `logits` (all experts; masked ones left out by `masked`).
  void SetChoice(std::int32_t layer, std::int64_t row, std::span<const std::int32_t> experts,
                 std::span<const float> weights, std::span<const float> logits, const std::uint8_t* masked);
  void SetNorm(std::int32_t layer, std::int64_t row, std::int32_t expert, float norm);
  void SetInput(std::int32_t layer, std::int64_t row, const float* input);
  /// Columns [col, col + n) of the hidden units of `expert` (any, in a dense layer).
  void SetHidden(std::int32_t layer, std::int64_t row, std::int32_t expert, std::int64_t col, const float* hidden,
                 std::int64_t n);

 private:
  std::size_t Cell(std::int32_t layer, std::int64_t row) const {
    return static_cast<std::size_t>(row) * static_cast<std::size_t>(layers_) + static_cast<std::size_t>(layer);
  }
  /// Which of the row's visits is that expert's; -1: none.
  std::int32_t VisitOf(std::int32_t layer, std::int64_t row, std::int32_t expert) const;

  std::int32_t layers_;
  std::int32_t visits_;
  std::int64_t rows_;
  TraceParts parts_;
  std::vector<std::int32_t> count_;     // (rows, layers)
  std::vector<float> margin_;           // (rows, layers)
  std::vector<std::int32_t> experts_;   // (rows, layers, visits)
  std::vector<float> weights_, norms_;  // (rows, layers, visits)
  std::vector<float> inputs_;           // (rows, layers, d_model)
  std::vector<float> hidden_;           // (rows, layers, visits, ff)
};

}  // namespace quorum::engine
