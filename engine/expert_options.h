// What one request may change about the router (DESIGN 1.3), and what its tokens did there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/result.h"

namespace quorum::engine {

/// The routers of a model.
struct ExpertShape {
  std::int32_t top_k = 0;             // experts that a token visits by default
  std::vector<std::int32_t> experts;  // of each layer; 0: a dense layer

  std::int32_t most() const;  // experts of the layer that has the most; 0: a dense model
};

/// As a request states it. The defaults change nothing.
struct ExpertRequest {
  struct Masked {
    std::int32_t layer = -1;  // -1: in every layer that has the expert
    std::int32_t expert = 0;
  };
  std::int32_t top_k = 0;  // experts a token; 0: the model's own number
  bool dense = false;      // every expert, however many there are
  float min_weight = 0;    // of what was chosen, experts with a smaller weight are left out; the best one stays
  std::vector<Masked> masked = {};  // experts that do not exist for this request
  bool report = false;              // count what this request's tokens visited
  bool trace = false;               // and say it of each generated token
};

/// The same against one model, as the router reads it. Two requests with equal options compute equal keys and values.
struct ExpertOptions {
  std::int32_t top_k = 0;  // at most the experts of the largest layer
  float min_weight = 0;
  std::int32_t experts = 0;               // row length of `masked`
  std::vector<std::uint8_t> masked = {};  // (layers, experts); empty: none

  /// The mask of one layer, or null.
  const std::uint8_t* MaskOf(std::int32_t layer) const {
    return masked.empty() ? nullptr : masked.data() + std::ptrdiff_t{layer} * experts;
  }
  /// What tells these options from others, byte for byte; empty where they are the model's own.
  std::string Lineage(const ExpertShape& shape) const;
};

/// Checks a request against the model. Errors: kInvalidArgument with the field ("moe.top_k") as param.
Result<ExpertOptions> ResolveExperts(const ExpertRequest& request, const ExpertShape& shape);

/// Tokens and gate mass that one request's computed tokens gave to each (layer, expert). Sums are of whole numbers, so
/// that they do not depend on how the tokens were cut into steps.
struct ExpertTally {
  static constexpr double kMassUnit = 0x1p-32;

  ExpertTally() = default;
  explicit ExpertTally(const ExpertShape& shape);

  void Count(std::int32_t layer, std::int32_t expert, float weight);

  std::int32_t experts = 0;           // row length
  std::int64_t rows = 0;              // tokens that were computed
  std::vector<std::uint64_t> tokens;  // (layers, experts)
  std::vector<std::int64_t> mass;     // (layers, experts) sum of the weights, in units of kMassUnit
};

}  // namespace quorum::engine
