#include "engine/step_cost.h"

#include <algorithm>

#include "engine/base/check.h"

namespace quorum::engine {
namespace {

void Add(MatrixCost& to, const NetworkWeights& network) {
  for (const PackedView* view : {&network.gate, &network.up, &network.down}) to.Add(*view);
}

}  // namespace

void MatrixCost::Add(const PackedView& view) {
  if (view.n == 0) return;
  bytes += (view.n + kPanelRows - 1) / kPanelRows * PanelBytes(view.format, view.k);
  weights += view.n * view.k;
}

WeightCosts::WeightCosts(const ModelSpec& spec, const Weights& packed) {
  const auto stride = static_cast<std::size_t>(spec.max_experts());
  experts.resize(static_cast<std::size_t>(spec.all_layers()) * stride);
  const auto add_stack = [&](const std::vector<LayerSpec>& specs, const std::vector<LayerWeights>& layers,
                             std::size_t first, MatrixCost& to) {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const LayerWeights& layer = layers[i];
      for (const PackedView* view :
           {&layer.q, &layer.k, &layer.v, &layer.output, &layer.latent.q_down, &layer.latent.kv_down, &layer.cross.q,
            &layer.cross.output, &layer.router, &layer.shared_gate}) {
        to.Add(*view);
      }
      for (const auto* heads : {&layer.latent.k_up, &layer.latent.v_up}) {
        for (const PackedView& view : *heads) to.Add(view);
      }
      for (std::size_t n = 0; n < layer.networks.size(); ++n) {
        const bool routed = static_cast<std::int32_t>(n) < specs[i].experts;
        Add(routed ? experts[(first + i) * stride + n] : to, layer.networks[n]);
      }
    }
  };
  add_stack(spec.layers, packed.layers(), 0, always);
  add_stack(spec.encoder, packed.encoder(), spec.layers.size(), encoder);
  output.Add(packed.output());
}

std::int64_t CacheBytes(const ModelSpec& spec, const KvShape& cache, const CostRows& sequence) {
  const std::int64_t page_of_layer = KvCache::BytesPerPage(cache) / std::max(cache.layers, 1);
  const std::int64_t end = (sequence.pos + sequence.rows + kPageTokens - 1) / kPageTokens;
  std::int64_t pages = 0;
  for (const LayerSpec& layer : spec.layers) {
    const std::int64_t first = layer.window > 0 ? std::max<std::int64_t>(sequence.pos - layer.window + 1, 0) : 0;
    pages += end - first / kPageTokens;
  }
  return pages * page_of_layer;
}

StepCost CostOf(const ModelSpec& spec, const WeightCosts& weights, const KvShape& cache,
                std::span<const CostRows> sequences, std::span<const std::uint64_t> visits) {
  QUORUM_CHECK(visits.size() == weights.experts.size());
  StepCost cost;
  std::int64_t rows = 0, logits = 0;
  for (const CostRows& sequence : sequences) {
    rows += sequence.rows;
    logits += sequence.logits;
  }
  cost.bytes += weights.always.bytes + (logits > 0 ? weights.output.bytes : 0);
  cost.operations += 2 * (weights.always.weights * rows + weights.output.weights * logits);
  for (std::size_t e = 0; e < visits.size(); ++e) {
    if (visits[e] == 0) continue;
    cost.bytes += weights.experts[e].bytes;
    cost.operations += 2 * weights.experts[e].weights * static_cast<std::int64_t>(visits[e]);
  }
  const std::int64_t score_and_mix = cache.head_dim_k + cache.head_dim_v;
  for (const CostRows& sequence : sequences) {
    const std::int64_t end = sequence.pos + sequence.rows;
    cost.bytes += CacheBytes(spec, cache, sequence);
    for (const LayerSpec& layer : spec.layers) {
      for (std::int64_t pos = sequence.pos; pos < end; ++pos) {
        const std::int64_t seen = layer.window > 0 ? std::min<std::int64_t>(pos + 1, layer.window) : pos + 1;
        cost.operations += 2 * seen * spec.attention.heads * score_and_mix;
      }
    }
  }
  return cost;
}

}  // namespace quorum::engine
