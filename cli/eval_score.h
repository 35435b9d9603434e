// Texts through a model for `quorum eval`: losses, and differences from a reference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cli/eval_flags.h"
#include "cli/eval_stepper.h"
#include "engine/layer_comparison.h"
#include "engine/logit_compare.h"
#include "engine/logit_file.h"

namespace quorum::cli {

/// What is to be predicted.
struct Text {
  std::vector<tok::TokenId> tokens;
  std::int32_t window = 0;
  std::size_t skip = 0;  // rows of a window that are not scored
};

/// Reads and tokenizes --text. Errors: kInvalidArgument for what is no UTF-8 or too short.
Result<Text> ReadText(const EvalFlags& flags);

struct Scores {
  std::vector<double> losses;
  std::optional<engine::LogitReport> difference;
  double seconds = 0;  // in the model itself
};

/// Where the reference's logits come from: a model that runs beside, or a file.
struct ReferenceLogits {
  Stepper* model = nullptr;
  const engine::LogitReader* file = nullptr;
  std::int64_t next = 0;  // row of the file

  bool any() const { return model != nullptr || file != nullptr; }
  Status Rows(std::span<const tok::TokenId> window, std::size_t first, std::size_t rows, std::size_t vocab,
              std::span<float> out);
};

/// Every token but each window's first is predicted from those before it in the window. With `layers`, of the two
/// models, these are compared too. Errors: those of Stepper::Step.
Result<Scores> Score(Stepper& stepper, const Text& text, ReferenceLogits reference, engine::LogitWriter* save,
                     engine::LayerComparison* layers = nullptr);

}  // namespace quorum::cli
