#include "server/expert_handler.h"

#include <algorithm>
#include <cmath>

namespace quorum::server {

LayerSpread SpreadOf(const engine::ExpertStats& stats, std::int32_t layer) {
  LayerSpread spread;
  const auto experts = static_cast<std::size_t>(stats.experts);
  const std::uint64_t* tokens = stats.tokens.data() + static_cast<std::size_t>(layer) * experts;
  double total = 0, most = 0;
  for (std::size_t e = 0; e < experts; ++e) {
    total += static_cast<double>(tokens[e]);
    most = std::max(most, static_cast<double>(tokens[e]));
  }
  if (total == 0) return spread;
  spread.any = true;
  spread.balance = most * static_cast<double>(experts) / total;
  for (std::size_t e = 0; e < experts; ++e) {
    const double share = static_cast<double>(tokens[e]) / total;
    if (share > 0) spread.entropy -= share * std::log2(share);
  }
  return spread;
}

HttpResponse HandleExperts(const ApiContext& context, HttpRequest&) {
  engine::ExpertStats stats;
  if (context.model->expert_stats) stats = context.model->expert_stats();
  Json tokens = Json::array(), mass = Json::array(), entropy = Json::array(), balance = Json::array();
  for (std::int32_t layer = 0; layer < stats.layers; ++layer) {
    const auto begin = static_cast<std::ptrdiff_t>(layer) * stats.experts;
    tokens.push_back(std::vector(stats.tokens.begin() + begin, stats.tokens.begin() + begin + stats.experts));
    mass.push_back(std::vector(stats.gate_mass.begin() + begin, stats.gate_mass.begin() + begin + stats.experts));
    const LayerSpread spread = SpreadOf(stats, layer);
    entropy.push_back(spread.any ? Json(spread.entropy) : Json());
    balance.push_back(spread.any ? Json(spread.balance) : Json());
  }
  return JsonResponse({{"object", "experts"},
                       {"model", context.model->id},
                       {"layers", stats.layers},
                       {"experts", stats.experts},
                       {"experts_per_token", context.model->experts_per_token},
                       {"tokens", std::move(tokens)},
                       {"gate_mass", std::move(mass)},
                       {"entropy", std::move(entropy)},
                       {"balance", std::move(balance)}});
}

}  // namespace quorum::server
