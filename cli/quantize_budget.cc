#include "cli/quantize_budget.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "cli/long_work.h"
#include "engine/base/units.h"
#include "quant/bit_budget.h"

namespace quorum::cli {

Result<std::uint64_t> ParseBytes(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  std::string unit(end);
  if (!unit.empty() && (unit.back() == 'B' || unit.back() == 'b')) unit.pop_back();
  double factor = 0;
  for (const auto& [name, size] : {std::pair<const char*, double>{"", 1.0},
                                   {"K", 1e3},
                                   {"M", 1e6},
                                   {"G", 1e9},
                                   {"T", 1e12},
                                   {"Ki", 1024.0},
                                   {"Mi", 1048576.0},
                                   {"Gi", 1073741824.0},
                                   {"k", 1e3}}) {
    if (unit == name) factor = size;
  }
  const double bytes = value * factor;
  if (!(bytes >= 1 && bytes < 1e18)) return InvalidArgument("'" + text + "' is no size like 900M, 4.5GB or 800MiB");
  return static_cast<std::uint64_t>(bytes);
}

Status SpendBudget(const QuantizeFlags& flags, const std::vector<quant::SourceTensor>& sources,
                   const quant::GgufWriter& writer, quant::QuantizeOptions& options) {
  quant::BudgetOptions budget;
  for (const std::string& name : flags.target_types) {
    const auto type = quant::FindEncoding(name);
    if (!type)
      return InvalidArgument("--target-types: '" + name + "' is not known; there are " + quant::EncodingNames());
    budget.types.push_back(*type);
  }
  budget.by_expert = flags.by_expert;
  budget.progress = [](std::int64_t done, std::int64_t total) { return ShowCount("measuring: matrices", done, total); };
  QUORUM_ASSIGN(const auto units, quant::MeasureUnits(sources, options, budget));
  std::uint64_t target = 0;  // of the file
  if (!flags.target_size.empty()) {
    QUORUM_ASSIGN(target, ParseBytes(flags.target_size));
  }
  const std::vector<quant::PlanRule> own = options.plan.rules;
  // What all else takes is known once there are rules; longer ones make a longer file, so once more where it is too
  // long.
  std::uint64_t bytes = 0;
  for (const quant::BudgetUnit& unit : units) bytes += unit.prices.front().bytes;
  for (int attempt = 0; attempt < 8; ++attempt) {
    QUORUM_ASSIGN(const std::vector<quant::PlanRule> rules, quant::SpendBytes(units, bytes));
    options.plan.rules = own;
    options.plan.rules.insert(options.plan.rules.end(), rules.begin(), rules.end());
    QUORUM_ASSIGN(const quant::PlannedSize size, quant::SizeOf(writer, sources, options));
    const auto wanted =
        target > 0 ? static_cast<double>(target) : flags.target_bits * static_cast<double>(size.elements) / 8.0;
    const auto has = static_cast<double>(target > 0 ? size.file_bytes : size.tensor_bytes);
    if (attempt > 0 && has <= wanted) return {};
    if (attempt == 0 && has > wanted) {
      return InvalidArgument(
          target > 0
              ? fmt::format("--target-size {} cannot be met: with the smallest of --target-types everywhere the "
                            "file has {}",
                            flags.target_size, FormatBytes(size.file_bytes))
              : fmt::format("--target-bpw {} cannot be met: with the smallest of --target-types everywhere it is "
                            "{:.3f}",
                            flags.target_bits, 8 * has / static_cast<double>(size.elements)));
    }
    // The first attempt has the smallest types: what is left is for better ones.
    bytes = static_cast<std::uint64_t>(std::max(0.0, std::floor(wanted - has) + static_cast<double>(bytes)));
  }
  return InvalidArgument("no plan meets the target");
}

}  // namespace quorum::cli
