#include "engine/logit_compare.h"

#include <algorithm>
#include <cmath>

#include "engine/base/check.h"

namespace quorum::engine {
namespace {

constexpr double kZ95 = 1.959963984540054;

}  // namespace

MeanInterval MeanOf(std::span<const double> values) {
  if (values.empty()) return {};
  const auto n = static_cast<double>(values.size());
  double sum = 0;
  for (const double v : values) sum += v;
  const double mean = sum / n;
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  if (values.size() == 1) return {mean};
  return {mean, kZ95 * std::sqrt(squares / (n - 1) / n)};
}

Proportion ProportionOf(std::int64_t successes, std::int64_t trials) {
  QUORUM_CHECK(successes >= 0 && successes <= trials);
  if (trials == 0) return {};
  const auto n = static_cast<double>(trials);
  const double p = static_cast<double>(successes) / n;
  constexpr double kSquare = kZ95 * kZ95;
  const double middle = (p + kSquare / (2 * n)) / (1 + kSquare / n);
  const double half = kZ95 / (1 + kSquare / n) * std::sqrt(p * (1 - p) / n + kSquare / (4 * n * n));
  return {p, std::clamp(middle - half, 0.0, p), std::clamp(middle + half, p, 1.0)};
}

double Quantile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  const auto last = static_cast<double>(values.size() - 1);
  const auto at = static_cast<std::ptrdiff_t>(std::ceil(std::clamp(p, 0.0, 1.0) * last));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

double LogSumExp(std::span<const float> logits) {
  const double most = static_cast<double>(*std::ranges::max_element(logits));
  double sum = 0;
  for (const float v : logits) sum += std::exp(static_cast<double>(v) - most);
  return most + std::log(sum);
}

PositionDifference Compare(std::span<const float> reference, std::span<const float> model) {
  QUORUM_CHECK(!reference.empty() && reference.size() == model.size());
  const double reference_total = LogSumExp(reference);
  const double model_total = LogSumExp(model);
  double kl = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double log_p = static_cast<double>(reference[i]) - reference_total;
    const double p = std::exp(log_p);
    if (p > 0) kl += p * (log_p - (static_cast<double>(model[i]) - model_total));
  }
  // Below zero by rounding alone.
  return {kl < 0 ? 0 : kl,
          std::ranges::max_element(reference) - reference.begin() == std::ranges::max_element(model) - model.begin()};
}

LogitReport Summarize(std::span<const PositionDifference> differences, std::span<const double> losses,
                      std::span<const double> reference_losses) {
  QUORUM_CHECK(losses.size() == differences.size() && reference_losses.size() == differences.size());
  LogitReport report;
  report.positions = std::ssize(differences);
  if (differences.empty()) return report;
  std::vector<double> kl, delta;
  std::int64_t same = 0;
  for (std::size_t i = 0; i < differences.size(); ++i) {
    kl.push_back(differences[i].kl);
    delta.push_back(losses[i] - reference_losses[i]);
    same += differences[i].same_top ? 1 : 0;
  }
  report.kl = MeanOf(kl);
  report.kl_median = Quantile(kl, 0.5);
  report.kl_p99 = Quantile(kl, 0.99);
  report.kl_max = Quantile(kl, 1.0);
  report.same_top = ProportionOf(same, report.positions);
  report.loss_difference = MeanOf(delta);
  return report;
}

}  // namespace quorum::engine
