// How two models' predictions differ: sums over positions, with confidence intervals.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace quorum::engine {

/// A mean over positions and the half width of its 95 % interval, taking positions as independent; of fewer than two
/// not a number, for nothing tells it.
struct MeanInterval {
  double mean = 0;
  double half_width = std::numeric_limits<double>::quiet_NaN();

  double low() const { return mean - half_width; }
  double high() const { return mean + half_width; }
};

MeanInterval MeanOf(std::span<const double> values);

/// A part of a number of trials and the ends of its 95 % interval (Wilson 1927), which has some width also at 0 and 1.
struct Proportion {
  double fraction = 0;
  double low = 0, high = 1;
};

/// REQUIRES: `successes` <= `trials`.
Proportion ProportionOf(std::int64_t successes, std::int64_t trials);

/// The value that a fraction `p` of `values` do not exceed; 0 for none.
double Quantile(std::vector<double> values, double p);

/// What one position's logits say against those of a reference.
struct PositionDifference {
  double kl = 0;          // of the model from the reference, in nats: sum of p_ref (log p_ref - log p)
  bool same_top = false;  // the arg-max is the same token
};

/// Rows of `vocab` logits. REQUIRES: equal sizes above 0. What is not finite makes the KL divergence not finite.
PositionDifference Compare(std::span<const float> reference, std::span<const float> model);

/// log of the sum of exp, in double precision.
double LogSumExp(std::span<const float> logits);

/// Sums over all positions that were scored.
struct LogitReport {
  std::int64_t positions = 0;
  MeanInterval kl;
  double kl_median = 0, kl_p99 = 0, kl_max = 0;
  Proportion same_top;
  MeanInterval loss_difference;  // model's -log p of the text's tokens minus the reference's
};

/// REQUIRES: `losses` and `reference_losses` are as long as `differences`.
LogitReport Summarize(std::span<const PositionDifference> differences, std::span<const double> losses,
                      std::span<const double> reference_losses);

}  // namespace quorum::engine
