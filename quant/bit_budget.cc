#include "quant/bit_budget.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <queue>
#include <utility>

#include "quant/workers.h"

namespace quorum::quant {
namespace {

constexpr std::int64_t kSampled = 1 << 17;  // weights of a matrix that are tried

struct Job {
  const SourceTensor* source;
  std::int64_t expert;       // -1: all
  std::int64_t first, rows;  // in the source
  std::int64_t matrix_rows;  // of one matrix of the stack
  double share;              // of the layer's tokens
};

/// Tokens that visited each expert, as parts of 1; empty where nothing is known.
std::vector<double> Shares(const SourceTensor& source, std::int64_t experts, const ImportanceMatrix* importance) {
  const ImportanceEntry* entry = importance == nullptr ? nullptr : importance->Find(source.name);
  if (entry == nullptr || std::ssize(entry->counts) != experts) return {};
  double sum = 0;
  for (const float count : entry->counts) sum += static_cast<double>(count);
  if (!(sum > 0)) return {};
  std::vector<double> shares;
  for (const float count : entry->counts) {
    shares.push_back(count > 0.0F ? static_cast<double>(count) / sum : 1.0 / static_cast<double>(experts));
  }
  return shares;
}

/// Relative error of rows spread over the job's with each of `types`.
std::vector<double> Try(const Job& job, const std::vector<Encoding>& types, const ImportanceMatrix* importance) {
  const std::int64_t cols = job.source->dims[0];
  const std::int64_t tried = std::clamp<std::int64_t>(kSampled / cols, std::min<std::int64_t>(job.rows, 4), job.rows);
  std::vector<double> errors(types.size(), 0.0);
  double squares = 0;
  std::vector<float> row(static_cast<std::size_t>(cols)), again(row.size()), means;
  std::vector<std::byte> made;
  std::int64_t known = -1;
  for (std::int64_t i = 0; i < tried; ++i) {
    const std::int64_t at = job.first + i * job.rows / tried;
    job.source->read(at, 1, row.data());
    if (!AllFinite(row.data(), cols)) continue;  // QuantizeTensors says so
    if (importance != nullptr && at / job.matrix_rows != known) {
      known = at / job.matrix_rows;
      means = importance->Means(job.source->name, known, cols);
    }
    const float* weights = means.empty() ? nullptr : means.data();
    const auto weight = [&](std::size_t c) { return weights == nullptr ? 1.0 : static_cast<double>(weights[c]); };
    for (std::size_t c = 0; c < row.size(); ++c) {
      squares += weight(c) * static_cast<double>(row[c]) * static_cast<double>(row[c]);
    }
    for (std::size_t t = 0; t < types.size(); ++t) {
      made.resize(static_cast<std::size_t>(BytesOf(types[t].type, cols)));
      Encode(types[t], row.data(), weights, made.data(), cols);
      Dequantize(types[t].type, made.data(), again.data(), cols);
      for (std::size_t c = 0; c < row.size(); ++c) {
        const double error = static_cast<double>(row[c]) - static_cast<double>(again[c]);
        errors[t] += weight(c) * error * error;
      }
    }
  }
  for (double& error : errors) error = squares > 0 ? error / squares : 0.0;
  return errors;
}

/// Leaves what a buyer with any budget may want: the lower convex hull.
void KeepBargains(std::vector<BudgetUnit::Price>& prices) {
  std::sort(prices.begin(), prices.end(),
            [](const auto& a, const auto& b) { return a.bytes != b.bytes ? a.bytes < b.bytes : a.error < b.error; });
  std::vector<BudgetUnit::Price> kept;
  const auto gain = [](const BudgetUnit::Price& a, const BudgetUnit::Price& b) {
    return (a.error - b.error) / static_cast<double>(b.bytes - a.bytes);
  };
  for (const BudgetUnit::Price& price : prices) {
    if (!kept.empty() && (price.bytes == kept.back().bytes || price.error >= kept.back().error)) continue;
    while (kept.size() > 1 && gain(kept.back(), price) >= gain(kept[kept.size() - 2], kept.back())) kept.pop_back();
    kept.push_back(price);
  }
  prices = std::move(kept);
}

}  // namespace

Result<std::vector<BudgetUnit>> MeasureUnits(const std::vector<SourceTensor>& sources, const QuantizeOptions& options,
                                             const BudgetOptions& budget) {
  bool tied = true;
  for (const SourceTensor& source : sources) tied = tied && source.name != "output.weight";
  std::vector<Job> jobs;
  for (const SourceTensor& source : sources) {
    if (!source.read || !options.plan.Choose(source.name, source.dims.size(), tied, -1)) continue;
    const auto covers = [&](const PlanRule& rule) { return rule.Covers(source.name); };
    if (std::ranges::any_of(options.plan.rules, covers)) continue;
    const std::int64_t matrices = source.dims.size() > 2 ? source.dims[2] : 1;
    const std::int64_t rows = source.rows() / std::max<std::int64_t>(matrices, 1);
    if (rows == 0 || source.dims[0] == 0) continue;
    const bool stack = matrices > 1 && source.name.find("_exps.") != std::string::npos;
    if (!stack || !budget.by_expert) {
      jobs.push_back({&source, -1, 0, source.rows(), rows, 1.0});
      continue;
    }
    const std::vector<double> shares = Shares(source, matrices, options.importance);
    for (std::int64_t e = 0; e < matrices; ++e) {
      const double share = shares.empty() ? 1.0 / static_cast<double>(matrices) : shares[static_cast<std::size_t>(e)];
      jobs.push_back({&source, e, e * rows, rows, rows, share});
    }
  }
  std::vector<BudgetUnit> units(jobs.size());
  std::atomic<std::int64_t> done{0};
  std::atomic<bool> stopped{false};
  std::mutex telling;
  ForEach(options.threads, std::ssize(jobs), [&](std::int64_t i) {
    if (stopped) return;
    const Job& job = jobs[static_cast<std::size_t>(i)];
    std::vector<Encoding> types;
    for (const Encoding& type : budget.types) {
      const Encoding fitting = FitToRow(type, job.source->dims[0]);
      if (std::ranges::find(types, fitting) == types.end()) types.push_back(fitting);
    }
    const std::vector<double> errors = Try(job, types, options.importance);
    BudgetUnit& unit = units[static_cast<std::size_t>(i)];
    unit.name = job.source->name;
    unit.expert = job.expert;
    for (std::size_t t = 0; t < types.size(); ++t) {
      const auto bytes = static_cast<std::uint64_t>(BytesOf(types[t].type, job.rows * job.source->dims[0]));
      unit.prices.push_back({types[t], bytes, errors[t] * job.share});
    }
    KeepBargains(unit.prices);
    const std::int64_t count = ++done;
    if (!budget.progress) return;
    const std::lock_guard lock(telling);
    if (!budget.progress(count, std::ssize(jobs))) stopped = true;
  });
  if (stopped) return Error{ErrorCode::kCancelled, "measuring was interrupted", {}, {}};
  return units;
}

Result<std::vector<PlanRule>> SpendBytes(const std::vector<BudgetUnit>& units, std::uint64_t bytes) {
  std::uint64_t spent = 0;
  struct Step {
    double gain;  // a byte
    std::size_t unit, to;
    bool operator<(const Step& other) const { return gain != other.gain ? gain < other.gain : unit > other.unit; }
  };
  std::priority_queue<Step> steps;
  const auto offer = [&](std::size_t unit, std::size_t to) {
    const auto& prices = units[unit].prices;
    if (to >= prices.size()) return;
    const double cost = static_cast<double>(prices[to].bytes - prices[to - 1].bytes);
    steps.push({(prices[to - 1].error - prices[to].error) / cost, unit, to});
  };
  std::vector<std::size_t> chosen(units.size(), 0);
  for (std::size_t i = 0; i < units.size(); ++i) {
    spent += units[i].prices.front().bytes;
    offer(i, 1);
  }
  if (spent > bytes) {
    return InvalidArgument("the smallest types need " + std::to_string(spent) + " bytes for the matrices, there are " +
                           std::to_string(bytes));
  }
  while (!steps.empty()) {
    const Step step = steps.top();
    steps.pop();
    const auto& prices = units[step.unit].prices;
    const std::uint64_t cost = prices[step.to].bytes - prices[step.to - 1].bytes;
    if (cost > bytes - spent) continue;  // a smaller one may still fit
    spent += cost;
    chosen[step.unit] = step.to;
    offer(step.unit, step.to + 1);
  }
  std::vector<PlanRule> rules;
  for (std::size_t i = 0; i < units.size(); ++i) {
    PlanRule rule;
    rule.pattern = units[i].name;
    if (units[i].expert >= 0) rule.experts.emplace_back(units[i].expert, units[i].expert);
    rule.encoding = units[i].prices[chosen[i]].encoding;
    // Experts that follow each other with one type are one rule.
    if (!rules.empty() && units[i].expert > 0 && rules.back().pattern == rule.pattern &&
        rules.back().encoding == rule.encoding && rules.back().experts.back().second + 1 == units[i].expert) {
      rules.back().experts.back().second = units[i].expert;
      continue;
    }
    rules.push_back(std::move(rule));
  }
  return rules;
}

}  // namespace quorum::quant
