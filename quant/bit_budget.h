// Spends a budget of bytes on the matrices where it lowers the error most.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "quant/encode.h"
#include "quant/imatrix.h"
#include "quant/quantize_model.h"

namespace quorum::quant {

struct BudgetOptions {
  std::vector<Encoding> types;                                          // to choose from
  bool by_expert = false;                                               // experts of a layer may get different types
  std::function<bool(std::int64_t done, std::int64_t total)> progress;  // may be null; false: stop
};

/// What each type would cost one matrix, or one stack of experts or one expert of it.
struct BudgetUnit {
  std::string name;
  std::int64_t expert = -1;  // -1: the whole tensor
  struct Price {
    Encoding encoding;
    std::uint64_t bytes = 0;
    double error = 0;
  };
  std::vector<Price> prices;  // ascending bytes, falling error, each step a worse bargain than the last
};

/// Measures every matrix that the plan quantizes and no rule of it speaks of. The error is that of the matrix' products
/// relative to these products (columns weighed by the importance matrix where it has them), on rows spread over the
/// matrix; experts count by the share of a layer's tokens that visited them, and one that no token visited as the
/// average one. Errors: kCancelled.
Result<std::vector<BudgetUnit>> MeasureUnits(const std::vector<SourceTensor>& sources, const QuantizeOptions& options,
                                             const BudgetOptions& budget);

/// The rules that give each unit a type so that the sum of errors is least for at most `bytes` in all: starting from
/// the smallest, the steps with the largest gain a byte are taken while they fit. Errors: kInvalidArgument when even
/// the smallest types need more, naming how much.
Result<std::vector<PlanRule>> SpendBytes(const std::vector<BudgetUnit>& units, std::uint64_t bytes);

}  // namespace quorum::quant
