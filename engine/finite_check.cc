#include "engine/finite_check.h"

#include <optional>
#include <vector>

#include <fmt/format.h>

#include "engine/activation_tap.h"
#include "quant/encode.h"

namespace quorum::engine {
namespace {

/// The first layer whose stream is not finite.
class FirstBadLayer final : public ActivationTap {
 public:
  void Rows(TapPoint point, std::int32_t layer, std::int32_t /*part*/, const TapRows& rows) override {
    for (std::int64_t i = 0; point == TapPoint::kResidual && !found && i < rows.count; ++i) {
      if (!quant::AllFinite(rows.Row(i), rows.cols)) found = layer;
    }
  }
  void Choices(std::int32_t /*layer*/, const std::int32_t* /*ids*/, const std::int32_t* /*counts*/,
               std::int64_t /*stride*/, std::int64_t /*rows*/) override {}

  std::optional<std::int32_t> found;
};

}  // namespace

Status CheckFinite(Model& model, const StepSlice& slice, std::span<const float> logits) {
  const auto vocab = static_cast<std::size_t>(model.vocab_size());
  std::size_t row = 0;
  while (row * vocab < logits.size() && quant::AllFinite(logits.data() + row * vocab, model.vocab_size())) ++row;
  if (row * vocab >= logits.size()) return {};
  FirstBadLayer tap;
  model.SetTap(&tap);
  StepSlice again = slice;
  again.trace = nullptr;
  std::vector<float> unused(logits.size());
  const Status status = model.Step({&again, 1}, unused);
  model.SetTap(nullptr);
  QUORUM_TRY(status);
  return DataLoss(fmt::format("the logits at position {} of the text's window are not finite numbers: {}",
                              slice.pos + slice.first_logits + static_cast<std::int32_t>(row),
                              tap.found ? fmt::format("NaN or infinity comes up in layer {}", *tap.found)
                                        : "all layers are right, so it is the last norm or the output matrix"));
}

}  // namespace quorum::engine
