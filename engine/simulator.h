// The scheduler without a model: a cost model says how long each step takes, and thousands of requests play in seconds.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/cost_model.h"
#include "engine/scheduler.h"

namespace quorum::engine {

/// One request of a trace.
struct SimRequest {
  double at = 0;            // seconds from the start
  std::int32_t prompt = 1;  // tokens
  std::int32_t reply = 1;   // tokens
  std::int32_t priority = 0;
  std::int32_t prefix = -1;        // requests of one prefix begin with the same tokens; -1: none
  std::int32_t prefix_tokens = 0;  // as many of them
  double cancel_after = -1;        // seconds after `at`; negative: stays to the end
};

struct SimOptions {
  SchedulerLimits limits;
  ExpertShape experts;
  CostModel::Weights cost{};  // the machine: true seconds of what a step does
  double noise = 0;           // relative; each step takes up to so much more, evenly spread
  std::uint64_t seed = 1;
  std::int32_t max_queue = 1 << 30;
};

struct SimOutcome {
  enum class End { kDone, kCancelled, kRefused };
  End end = End::kDone;
  double first_token = -1;  // seconds after arrival; negative: never
  double finish = 0;        // seconds after arrival
  double longest_gap = 0;   // between two tokens
  double alone = 0;         // what it takes on an idle machine with an empty cache
  std::int32_t cached = 0;  // prompt tokens from the prefix cache
  std::int32_t generated = 0;
};

struct SimResult {
  std::vector<SimOutcome> outcomes;  // in the order of the trace
  std::vector<double> gaps;          // all times between two tokens of one reply
  double seconds = 0;                // simulated
  double longest_step = 0;
  std::int64_t steps = 0;
  std::int64_t computed_tokens = 0;
  std::int64_t preemptions = 0;
  std::int32_t pages_left = 0;  // referenced at the end; anything but 0 is a leak

  std::int64_t generated_tokens() const;
  /// Jain's index of the requests' speeds relative to running alone: 1 is perfectly even, 1/n all for one.
  double fairness() const;
};

/// Plays a trace sorted by arrival. The scheduler sees a cost model of its own, which learns from the steps as the
/// engine's does. Deterministic. REQUIRES: each request's tokens fit the pages.
SimResult Simulate(std::span<const SimRequest> trace, const SimOptions& options);

/// The value below which a share `q` of `values` lies; 0 for none. Reorders its argument.
double Percentile(std::vector<double>& values, double q);

}  // namespace quorum::engine
