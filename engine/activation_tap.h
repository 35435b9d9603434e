// For who wants to see what matrices are multiplied with, where rows go, and the stream between layers: calibration and
// the comparison of models. Without one a step pays a comparison with null in each of these places.
#pragma once

#include <cstdint>

namespace quorum::engine {

/// Where in a layer rows are read.
enum class TapPoint : std::uint8_t {
  kResidual,         // the stream behind the layer; with as many rows as are computed, behind the last as are wanted
  kAttentionInput,   // of Q, K and V; of what makes latents
  kQueryLatent,      // latent attention: normed, what queries are made of
  kLatent,           // normed, what keys and values are made of
  kQueryHead,        // a head's unrotated part of the query, which its matrix brings to the latent space
  kMixedHead,        // a head's mix of latents, which its matrix makes a value of
  kAttentionOutput,  // of the output matrix
  kFfnInput,         // of gate and up
  kFfnHidden,        // of down
};

/// `count` rows of `cols` floats; row i stands at ids[i], or without ids at i, places being `ld` floats apart.
struct TapRows {
  const float* x = nullptr;
  std::int64_t cols = 0;
  std::int64_t ld = 0;
  std::int64_t count = 0;
  const std::int32_t* ids = nullptr;

  const float* Row(std::int64_t i) const { return x + (ids == nullptr ? i : std::int64_t{ids[i]}) * ld; }
};

/// Called on the thread that runs the step, between its phases.
class ActivationTap {
 public:
  static constexpr std::int32_t kWhole = -1;   // a dense network, or all of a layer
  static constexpr std::int32_t kShared = -2;  // the shared expert

  virtual ~ActivationTap() = default;

  /// `part`: an expert, a head, or one of the constants. Of what matrices read only what they read in floats is shown.
  virtual void Rows(TapPoint point, std::int32_t layer, std::int32_t part, const TapRows& rows) = 0;

  /// Row i of `rows` visits experts ids[i * stride ... + counts[i]), ascending.
  virtual void Choices(std::int32_t layer, const std::int32_t* ids, const std::int32_t* counts, std::int64_t stride,
                       std::int64_t rows) = 0;
};

}  // namespace quorum::engine
