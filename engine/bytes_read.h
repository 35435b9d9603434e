// How many bytes of weights and of the KV cache steps read from memory: each matrix once a step, an expert's where a
// token went to it, each sequence's cache in whole pages. With the time that steps took, the bandwidth that was used.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <utility>

#include "engine/kv_cache.h"
#include "engine/model_spec.h"
#include "engine/moe_router.h"
#include "engine/step_cost.h"
#include "engine/step_model.h"

namespace quorum::engine {

/// Since the start.
struct BytesRead {
  std::int64_t weights = 0;
  std::int64_t cache = 0;
};

/// Counted by the thread that runs steps, readable by any other.
class BytesReadCounter {
 public:
  explicit BytesReadCounter(WeightCosts costs) : costs_(std::move(costs)) {}

  /// A step of a model of `spec` with such a cache.
  void CountStep(const ModelSpec& spec, const KvShape& cache, std::span<const StepSlice> slices);

  /// `experts`: the counters of the same steps.
  BytesRead Read(const ExpertStats& experts) const;

 private:
  const WeightCosts costs_;
  std::atomic<std::int64_t> weights_{0};  // without experts
  std::atomic<std::int64_t> cache_{0};
};

}  // namespace quorum::engine
