// What a step has to move and to compute at least: bytes of weights and of the KV cache, and operations. `quorum bench`
// divides them by the time taken and compares that with the roof (roof.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/model_spec.h"
#include "engine/moe_router.h"
#include "engine/weights.h"

namespace quorum::engine {

/// Bytes as packed, and weights, of some matrices.
struct MatrixCost {
  std::int64_t bytes = 0;
  std::int64_t weights = 0;

  void Add(const PackedView& view);
};

/// The matrices of a model by when they are needed.
struct WeightCosts {
  MatrixCost always;                // every step, each row: attention, routers, dense and shared networks
  MatrixCost encoder;               // the same for the rows of a source
  MatrixCost output;                // steps with logits, each row of them
  std::vector<MatrixCost> experts;  // (all_layers, max_experts), as ExpertStats::tokens

  WeightCosts(const ModelSpec& spec, const Weights& weights);
};

struct StepCost {
  std::int64_t bytes = 0;
  std::int64_t operations = 0;  // two a multiplication
};

/// One sequence's part in a step.
struct CostRows {
  std::int64_t pos = 0;   // positions before
  std::int64_t rows = 0;  // tokens
  std::int64_t logits = 0;
};

/// Bytes of the cache that a sequence's rows read in all layers: whole pages, as far as a layer's window reaches.
std::int64_t CacheBytes(const ModelSpec& spec, const KvShape& cache, const CostRows& sequence);

/// The cost of a step of decoder rows. `visits`: tokens of each expert in this step (ExpertStats::tokens' difference).
/// Each expert that was visited is read once; so is each sequence's cache, in whole pages, as far as a layer's window
/// reaches.
StepCost CostOf(const ModelSpec& spec, const WeightCosts& weights, const KvShape& cache,
                std::span<const CostRows> sequences, std::span<const std::uint64_t> visits);

}  // namespace quorum::engine
