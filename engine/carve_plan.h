// Which neurons of a dense network are used together: the plan of carving it into a shared and routed parts (Pei et al.
// 2025, "CMoE", arXiv:2502.04416), and routers that tell which parts a token needs.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/base/result.h"
#include "engine/expert_study.h"
#include "engine/model.h"
#include "quant/carve.h"

namespace quorum::engine {

struct CarveRequest {
  int experts = 8;
  double shared = 0.25;       // at least this part of the neurons is for every token
  std::int32_t window = 512;  // tokens
  std::int64_t memory =
      std::int64_t{1} << 30;  // bytes for activations: more layers at a time, fewer passes over the texts
};

/// Runs `texts` through the dense `model` and plans every layer. A neuron's part in a token is |activation| times its
/// `reach` (of its layer; quant::NeuronReach). In each token the strongest eighth counts as active; the neurons that
/// are active most often are shared, and the others are clustered by which tokens they are active in, in equal
/// clusters. The router is a ridge regression from what the network reads to the strength of each cluster.
/// Deterministic. Errors: kInvalidArgument (fewer than 64 tokens, or networks that are too small for so many experts);
/// those of RunText; kCancelled from `progress`, which may be null.
Result<std::vector<quant::CarvedLayer>> PlanCarving(
    Model& model, std::span<const TopicText> texts, const std::vector<std::vector<float>>& reach,
    const CarveRequest& request, const std::function<bool(std::int64_t done, std::int64_t total)>& progress);

/// The plan of one layer from the activations of some tokens. `inputs` (tokens, k), `parts` (tokens, n): |activation| *
/// reach.
quant::CarvedLayer CarveLayer(std::span<const float> inputs, std::span<const float> parts, std::int64_t tokens,
                              int experts, std::int64_t expert_size);

}  // namespace quorum::engine
