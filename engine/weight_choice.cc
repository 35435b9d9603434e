#include "engine/weight_choice.h"

#include <optional>

#include "engine/base/log.h"
#include "engine/tensor_views.h"

namespace quorum::engine {
namespace {

using quant::DType;

class Chooser {
 public:
  explicit Chooser(WeightChoice choice) : choice_(choice) {}

  void Apply(TensorRef& matrix, DType q4 = DType::kQ4_0) {
    if (matrix.rows == 0) return;  // a gate that networks do not have
    const std::optional<DType> wanted = Wanted(matrix, q4);
    if (!wanted || *wanted == matrix.type) return;
    if (matrix.cols % quant::Info(*wanted).block != 0) {
      ++odd_;
      return;
    }
    if (choice_ == WeightChoice::kAuto) ++smaller_;
    matrix = ConvertedTo(matrix, *wanted);
  }

  void Apply(NetworkTensors& network) {
    Apply(network.gate);
    Apply(network.up);
    Apply(network.down);
  }

  void Apply(LayerTensors& layer) {
    for (TensorRef* matrix : {&layer.q, &layer.k, &layer.v, &layer.output}) Apply(*matrix);
    if (layer.latent) {
      if (layer.latent->q_down) Apply(*layer.latent->q_down);
      Apply(layer.latent->kv_down);
      for (TensorRef& v_up : layer.latent->v_up) Apply(v_up);
      // A matrix that is stored the other way round is packed in floats.
      for (TensorRef& k_up : layer.latent->k_up) {
        if (!layer.latent->k_up_transposed || choice_ == WeightChoice::kF32) Apply(k_up);
      }
    }
    if (layer.cross) {
      for (TensorRef* matrix : {&layer.cross->q, &layer.cross->k, &layer.cross->v, &layer.cross->output})
        Apply(*matrix);
    }
    for (NetworkTensors& network : layer.networks) Apply(network);
    if (layer.shared) Apply(*layer.shared);
  }

  void Report() const {
    if (smaller_ > 0) {
      Log(LogLevel::kWarn,
          "{} matrices are in a type that no kernel multiplies with and are rounded to Q8_0; --weights bf16 or f32 "
          "keeps more",
          smaller_);
    }
    if (odd_ > 0) {
      Log(LogLevel::kWarn, "{} matrices stay in floats, because their rows are no multiple of 32 columns", odd_);
    }
  }

 private:
  std::optional<DType> Wanted(const TensorRef& matrix, DType q4) const {
    const bool unquantized = IsUnquantized(matrix.type);
    switch (choice_) {
      case WeightChoice::kAuto: return matrix.source != nullptr ? matrix.source->Smaller() : std::nullopt;
      case WeightChoice::kF32: return DType::kF32;
      case WeightChoice::kBf16: return DType::kBF16;
      case WeightChoice::kQ8: return unquantized ? std::optional(DType::kQ8_0) : std::nullopt;
      case WeightChoice::kQ4: return unquantized ? std::optional(q4) : std::nullopt;
    }
    return {};
  }

  WeightChoice choice_;
  std::int64_t smaller_ = 0;
  std::int64_t odd_ = 0;
};

}  // namespace

ModelTensors ChooseWeights(const ModelTensors& tensors, WeightChoice choice) {
  ModelTensors chosen = tensors;
  Chooser chooser(choice);
  chooser.Apply(chosen.embedding, DType::kQ8_0);
  if (chosen.output) chooser.Apply(*chosen.output, DType::kQ8_0);
  for (LayerTensors& layer : chosen.layers) chooser.Apply(layer);
  for (LayerTensors& layer : chosen.encoder) chooser.Apply(layer);
  chooser.Report();
  return chosen;
}

}  // namespace quorum::engine
