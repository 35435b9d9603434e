// The router: which experts a token visits and with what weight, and exact counts of that.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/kernels/kernel_table.h"
#include "engine/model_spec.h"

namespace quorum::engine {

/// What one request changes about one layer's routing.
struct RouteLimits {
  std::int32_t top_k = 0;                // 0: spec.top_k
  float min_weight = 0;                  // see ExpertRequest
  const std::uint8_t* masked = nullptr;  // (experts) 1: as if the expert did not exist; at least one is 0
};

/// Chooses spec.top_k experts of one token from its router logits (destroyed) and writes their ids, ascending, and
/// weights; returns how many (always spec.top_k without `limits`). Highest logits win, ties go to the lower id; logits
/// that are not numbers still give valid, distinct ids. With groups, the best spec.top_groups of them are chosen first.
/// `choice_bias` (experts), or null, is added to the scores that experts and groups are chosen by, not to the weights.
/// With `renormalize` (and scale 1) the weights sum to exactly 1; with one expert the weight is 1.
std::int32_t RouteToken(const KernelTable& kernels, const RouterSpec& spec, const float* choice_bias,
                        std::span<float> logits, std::int32_t* ids, float* weights, const RouteLimits& limits = {});

/// 1 / (1 + exp(-x)) by the kernels' own exp.
float Sigmoid(const KernelTable& kernels, float x);

/// Tokens and gate mass of every (layer, expert) since the start.
struct ExpertStats {
  std::int32_t layers = 0;
  std::int32_t experts = 0;           // the most that a layer has
  std::vector<std::uint64_t> tokens;  // (layers, experts)
  std::vector<double> gate_mass;      // (layers, experts), sum of the weights
  std::vector<std::uint64_t> steps;   // (layers, experts), in which some token went there
};

/// Counted by one thread, readable by any other at any time.
class ExpertCounters {
 public:
  ExpertCounters(std::int32_t layers, std::int32_t experts);

  /// Once a step for each expert that has tokens.
  void Count(std::int32_t layer, std::int32_t expert, std::uint64_t tokens, double gate_mass);
  ExpertStats Read() const;

 private:
  struct Cell {
    std::atomic<std::uint64_t> tokens{0};
    std::atomic<double> gate_mass{0};
    std::atomic<std::uint64_t> steps{0};
  };
  std::int32_t layers_;
  std::int32_t experts_;
  std::unique_ptr<Cell[]> cells_;
};

}  // namespace quorum::engine
