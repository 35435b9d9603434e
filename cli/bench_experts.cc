#include "cli/bench_experts.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "cli/bench_sequences.h"

namespace quorum::cli {
namespace {

constexpr std::array<const char*, 4> kCases = {"nothing", "counters", "counters and each request's report",
                                               "counters and each token's trace"};

/// Median and its 95 % interval, from order statistics.
WatchCost CostOf(std::string watched, std::vector<double> shares) {
  std::sort(shares.begin(), shares.end());
  const auto n = static_cast<double>(shares.size());
  const auto at = [&](double rank) {
    return shares[static_cast<std::size_t>(std::clamp(std::floor(rank), 0.0, n - 1))];
  };
  const double half = 1.96 * std::sqrt(n) / 2;
  return {std::move(watched), at(n / 2), at(n / 2 - half), at(n / 2 + half)};
}

}  // namespace

Result<WatchTable> MeasureWatching(engine::Model& model, std::int32_t batch, std::int32_t steps) {
  if (!model.spec().has_experts()) return InvalidArgument("the model is dense: there are no experts to count");
  using Clock = std::chrono::steady_clock;
  BenchSequences sequences(model, batch, steps, 1);
  for (int warm_up = 0; warm_up < 4; ++warm_up) {
    QUORUM_TRY(sequences.Decode());
    sequences.StepBack();
  }
  std::array<std::vector<double>, kCases.size()> seconds;
  for (std::int32_t step = 0; step < steps; ++step) {
    for (std::size_t i = 0; i < kCases.size(); ++i) {
      // Every case follows every other one equally often.
      const std::size_t turn = static_cast<std::size_t>(step);
      const std::size_t which =
          ((turn / kCases.size()) % 2 == 0 ? i + turn : 2 * kCases.size() - i + turn) % kCases.size();
      model.CountExperts(which > 0);
      sequences.Watch(which == 2, which == 3);
      const auto start = Clock::now();
      QUORUM_TRY(sequences.Decode());
      seconds[which].push_back(std::chrono::duration<double>(Clock::now() - start).count());
      if (i + 1 < kCases.size()) sequences.StepBack();
    }
  }
  model.CountExperts(true);
  WatchTable table{batch, steps, 0, {}};
  for (std::size_t which = 1; which < kCases.size(); ++which) {
    std::vector<double> shares;
    for (std::size_t i = 0; i < seconds[which].size(); ++i) shares.push_back(seconds[which][i] / seconds[0][i] - 1);
    table.costs.push_back(CostOf(kCases[which], std::move(shares)));
  }
  std::nth_element(seconds[0].begin(), seconds[0].begin() + steps / 2, seconds[0].end());
  table.step_seconds = seconds[0][static_cast<std::size_t>(steps / 2)];
  return table;
}

void PrintWatching(const WatchTable& table) {
  fmt::print("{} sequences, {} steps of {:.3f} ms with nothing watched\n\n", table.batch, table.steps,
             table.step_seconds * 1e3);
  fmt::print("| watched | step | 95 % interval |\n|---|---:|---:|\n");
  for (const WatchCost& cost : table.costs) {
    fmt::print("| {} | {:+.2f} % | {:+.2f} to {:+.2f} % |\n", cost.watched, 100 * cost.share, 100 * cost.low,
               100 * cost.high);
  }
}

nlohmann::ordered_json ToJson(const WatchTable& table) {
  nlohmann::ordered_json costs = nlohmann::ordered_json::array();
  for (const WatchCost& cost : table.costs) {
    costs.push_back({{"watched", cost.watched}, {"share", cost.share}, {"low", cost.low}, {"high", cost.high}});
  }
  return {{"n_seq", table.batch},
          {"steps", table.steps},
          {"step_seconds", table.step_seconds},
          {"costs", std::move(costs)}};
}

}  // namespace quorum::cli
