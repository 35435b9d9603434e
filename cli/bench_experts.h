// quorum bench --expert-counters: what counting, reporting and logging the experts costs a decoding step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/result.h"
#include "engine/model.h"

namespace quorum::cli {

/// What is watched on top of the case before; all are compared with nothing being watched.
struct WatchCost {
  std::string watched;
  double share = 0;          // median of the paired differences over the step's time; 0.01: 1 % slower
  double low = 0, high = 0;  // 95 % interval of that median
};

struct WatchTable {
  std::int32_t batch = 0, steps = 0;
  double step_seconds = 0;  // median, nothing watched
  std::vector<WatchCost> costs;
};

/// Decodes `steps` tokens in `batch` sequences, each step once in every case, one right after the other in changing
/// order: the very same work, with the experts' weights as warm. Errors: kInvalidArgument for a dense model; Step's.
Result<WatchTable> MeasureWatching(engine::Model& model, std::int32_t batch, std::int32_t steps);

void PrintWatching(const WatchTable& table);
nlohmann::ordered_json ToJson(const WatchTable& table);

}  // namespace quorum::cli
