// GET /v1/experts: which experts the router has chosen since the start.
#pragma once

#include "engine/moe_router.h"
#include "server/api_context.h"

namespace quorum::server {

/// {"object": "experts", "layers", "experts", "experts_per_token", "tokens": by layer and expert, "gate_mass":
/// likewise, "entropy": by layer, in bits, "balance": by layer, the busiest expert's tokens over the mean}. Layers
/// without experts have only zeros, and null for what they have no figure of. A dense model has "layers": 0.
HttpResponse HandleExperts(const ApiContext& context, HttpRequest& http);

/// How evenly a layer's tokens are spread.
struct LayerSpread {
  double entropy = 0;  // bits; log2(experts) at most
  double balance = 0;  // the busiest expert's share times the number of experts; 1 is even
  bool any = false;    // whether it has routed a token
};
LayerSpread SpreadOf(const engine::ExpertStats& stats, std::int32_t layer);

}  // namespace quorum::server
