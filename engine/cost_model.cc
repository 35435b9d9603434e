#include "engine/cost_model.h"

#include <algorithm>
#include <cmath>

namespace quorum::engine {
namespace {

constexpr double kFewRows = 16;
constexpr double kForget = 0.995;  // weight of a step after one more: the last few hundred count
constexpr double kMarginStep = 0.05;
constexpr double kMarginQuantile = 0.98;
constexpr double kLargestMargin = 3.0;

}  // namespace

CostModel::CostModel(const ExpertShape& shape) : experts_(shape.most()) {
  if (experts_ > 0) untouched_ = 1.0 - std::min(1.0, shape.top_k / experts_);
}

CostModel::CostModel(const ExpertShape& shape, const Weights& weights) : CostModel(shape) {
  weights_ = weights;
  margin_ = 1;
  most_rows_ = std::int64_t{1} << 40;
  observed_ = 1 << 20;
}

double CostModel::DistinctExperts(std::int64_t rows) const {
  return experts_ * (1.0 - std::pow(untouched_, static_cast<double>(rows)));
}

CostModel::Weights CostModel::Features(const StepWork& work) const {
  const auto rows = static_cast<double>(work.rows);
  return {1.0,
          std::min(rows, kFewRows),
          std::max(rows - kFewRows, 0.0),
          DistinctExperts(work.rows),
          static_cast<double>(work.context),
          static_cast<double>(work.logits)};
}

double CostModel::Predict(const StepWork& work) const {
  const Weights x = Features(work);
  double seconds = 0;
  for (std::size_t i = 0; i < kFeatures; ++i) seconds += weights_[i] * x[i];
  return seconds;
}

void CostModel::Observe(const StepWork& work, double seconds) {
  if (!(seconds > 0) || work.rows <= 0) return;
  if (ready()) {
    // The quantile by stochastic approximation (Robbins and Monro 1951), on the logarithm.
    const double predicted = Predict(work);
    const bool beyond = predicted <= 0 || seconds > predicted * margin_;
    margin_ *= std::exp(kMarginStep * (beyond ? kMarginQuantile : kMarginQuantile - 1));
    margin_ = std::clamp(margin_, 1.0, kLargestMargin);
  }
  Weights x = Features(work);
  for (double& value : x) value /= seconds;  // the target is then 1: errors are relative
  for (std::size_t i = 0; i < kFeatures; ++i) {
    for (std::size_t j = 0; j < kFeatures; ++j) normal_[i][j] = normal_[i][j] * kForget + x[i] * x[j];
    right_[i] = right_[i] * kForget + x[i];
  }
  most_rows_ = std::max(most_rows_, work.rows);
  ++observed_;
  Solve();
}

/// Non-negative least squares by coordinate descent from the last solution.
void CostModel::Solve() {
  constexpr int kSweeps = 60;
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (std::size_t i = 0; i < kFeatures; ++i) {
      const double diagonal = normal_[i][i];
      if (diagonal <= 0) continue;
      double rest = right_[i];
      for (std::size_t j = 0; j < kFeatures; ++j) {
        if (j != i) rest -= normal_[i][j] * weights_[j];
      }
      // A touch of shrinking towards the last value keeps what is not determined from wandering.
      weights_[i] = std::max(0.0, (rest + 1e-6 * diagonal * weights_[i]) / (diagonal * (1 + 1e-6)));
    }
  }
}

}  // namespace quorum::engine
