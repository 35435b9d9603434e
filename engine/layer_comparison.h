// How two models drift apart from layer to layer while they read the same rows.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/base/result.h"
#include "engine/model.h"

namespace quorum::engine {

struct LayerDifference {
  /// |x - y| / |x| of the stream behind the layer over all rows compared, Euclidean, x the reference's.
  double error = 0;
  /// Share of the rows that visit another set of experts than the reference's; nothing where the layer has none.
  std::optional<double> other_experts;
};

class LayerComparison {
 public:
  /// Watches both from now on until it goes; they must outlive it. Errors: kInvalidArgument for models of different
  /// width, depth or numbers of experts.
  static Result<LayerComparison> Create(Model& reference, Model& other);
  /// Whether Create takes models of these kinds.
  static Status CheckComparable(const ModelSpec& reference, const ModelSpec& other);
  LayerComparison(LayerComparison&&) noexcept;
  LayerComparison& operator=(LayerComparison&&) noexcept;
  ~LayerComparison();

  /// Adds what the last step of each, both of the same rows, has shown. Behind the last layer these are the rows with
  /// logits.
  void Compare();

  /// One a layer.
  std::vector<LayerDifference> Differences() const;

 private:
  struct State;
  explicit LayerComparison(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace quorum::engine
