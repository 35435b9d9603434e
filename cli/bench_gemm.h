// `quorum bench --gemm`: the products of experts beside oneDNN's int8 product of the same shape.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/result.h"
#include "engine/model.h"

namespace quorum::cli {

/// Billions of operations a second, two a multiplication, on one thread.
struct GemmRow {
  std::int64_t rows = 0;  // of activations
  double own = 0;
  double yardstick = 0;
};

/// A network's first product: rows of d_model times gate and up, or up alone where there is no gate.
struct GemmTable {
  double bits = 0;  // of a weight as packed, with its scales
  std::int64_t n = 0, k = 0;
  std::int64_t experts = 0;    // so many matrices take turns, as they do for a batch of tokens
  std::string implementation;  // oneDNN's
  std::vector<GemmRow> rows;
};

/// Measures both in turns, the best of some rounds each; a second or two a row. Activations are quantized once, and the
/// yardstick's results stay int32: neither side is timed on what the other does not do.
/// Errors: kInvalidArgument where the weights are floats, kUnsupported where oneDNN has no int8 product here.
Result<GemmTable> MeasureGemm(const engine::Model& model, const std::vector<std::int64_t>& rows);

void PrintGemm(const GemmTable& table, double operations_per_second);
nlohmann::ordered_json ToJson(const GemmTable& table, double operations_per_second);

}  // namespace quorum::cli
