#include "engine/layer_comparison.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/activation_tap.h"
#include "engine/base/check.h"

namespace quorum::engine {
namespace {

/// What the last step has shown of each layer.
class Recorder final : public ActivationTap {
 public:
  struct Layer {
    std::vector<float> stream;                       // (rows, d_model)
    std::vector<std::vector<std::int32_t>> experts;  // of each row; empty in dense layers
  };

  explicit Recorder(std::size_t count) : layers(count) {}

  void Rows(TapPoint point, std::int32_t layer, std::int32_t /*part*/, const TapRows& rows) override {
    if (point != TapPoint::kResidual) return;
    std::vector<float>& to = layers[static_cast<std::size_t>(layer)].stream;
    to.clear();
    for (std::int64_t i = 0; i < rows.count; ++i) to.insert(to.end(), rows.Row(i), rows.Row(i) + rows.cols);
  }

  void Choices(std::int32_t layer, const std::int32_t* ids, const std::int32_t* counts, std::int64_t stride,
               std::int64_t rows) override {
    auto& to = layers[static_cast<std::size_t>(layer)].experts;
    to.resize(static_cast<std::size_t>(rows));
    for (std::int64_t i = 0; i < rows; ++i) {
      to[static_cast<std::size_t>(i)].assign(ids + i * stride, ids + i * stride + counts[i]);
    }
  }

  std::vector<Layer> layers;
};

/// Over all rows so far.
struct Sum {
  double squares = 0, error = 0;
  std::int64_t routed = 0, elsewhere = 0;
};

bool SameExperts(const ModelSpec& a, const ModelSpec& b) {
  return std::ranges::equal(a.layers, b.layers,
                            [](const LayerSpec& x, const LayerSpec& y) { return x.experts == y.experts; });
}

}  // namespace

struct LayerComparison::State {
  State(Model& x, Model& y, std::size_t layers) : models{&x, &y}, reference(layers), other(layers), sums(layers) {
    x.SetTap(&reference);
    y.SetTap(&other);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    for (Model* model : models) model->SetTap(nullptr);
  }

  Model* models[2];
  Recorder reference, other;
  std::vector<Sum> sums;
};

LayerComparison::LayerComparison(std::unique_ptr<State> state) : state_(std::move(state)) {}
LayerComparison::LayerComparison(LayerComparison&&) noexcept = default;
LayerComparison& LayerComparison::operator=(LayerComparison&&) noexcept = default;
LayerComparison::~LayerComparison() = default;

Status LayerComparison::CheckComparable(const ModelSpec& a, const ModelSpec& b) {
  if (a.d_model != b.d_model || !SameExperts(a, b)) {
    return InvalidArgument(
        "only layers of models with the same width, number of layers and experts in each can be compared");
  }
  return {};
}

Result<LayerComparison> LayerComparison::Create(Model& reference, Model& other) {
  QUORUM_TRY(CheckComparable(reference.spec(), other.spec()));
  return LayerComparison(std::make_unique<State>(reference, other, reference.spec().layers.size()));
}

void LayerComparison::Compare() {
  for (std::size_t i = 0; i < state_->sums.size(); ++i) {
    const Recorder::Layer& x = state_->reference.layers[i];
    const Recorder::Layer& y = state_->other.layers[i];
    QUORUM_CHECK(x.stream.size() == y.stream.size() && x.experts.size() == y.experts.size());
    Sum& sum = state_->sums[i];
    for (std::size_t c = 0; c < x.stream.size(); ++c) {
      const double value = static_cast<double>(x.stream[c]);
      const double error = value - static_cast<double>(y.stream[c]);
      sum.squares += value * value;
      sum.error += error * error;
    }
    sum.routed += std::ssize(x.experts);
    for (std::size_t row = 0; row < x.experts.size(); ++row) sum.elsewhere += x.experts[row] == y.experts[row] ? 0 : 1;
  }
}

std::vector<LayerDifference> LayerComparison::Differences() const {
  std::vector<LayerDifference> out;
  for (const Sum& sum : state_->sums) {
    LayerDifference& layer = out.emplace_back();
    if (sum.squares > 0) layer.error = std::sqrt(sum.error / sum.squares);
    if (sum.routed > 0) layer.other_experts = static_cast<double>(sum.elsewhere) / static_cast<double>(sum.routed);
  }
  return out;
}

}  // namespace quorum::engine
