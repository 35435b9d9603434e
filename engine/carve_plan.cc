#include "engine/carve_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "engine/base/check.h"
#include "engine/text_run.h"

namespace quorum::engine {
namespace {

constexpr std::int64_t kActivePart = 8;  // 1 of so many neurons is active in a token
constexpr int kRounds = 8;               // of clustering
constexpr double kRidge = 1e-2;          // times the mean of the diagonal
constexpr std::int64_t kFewTokens = 64;

using Doubles = std::vector<double>;

/// (n, tokens): 1 where the neuron is among the strongest of the token.
std::vector<std::uint8_t> Active(std::span<const float> parts, std::size_t tokens, std::size_t n) {
  std::vector<std::uint8_t> active(n * tokens);
  const std::size_t count = std::max<std::size_t>(1, n / static_cast<std::size_t>(kActivePart));
  std::vector<std::uint32_t> order(n);
  for (std::size_t t = 0; t < tokens; ++t) {
    const float* row = parts.data() + t * n;
    std::iota(order.begin(), order.end(), 0U);
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                      [&](std::uint32_t a, std::uint32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
    for (std::size_t i = 0; i < count; ++i) active[order[i] * tokens + t] = 1;
  }
  return active;
}

/// Equal clusters of `neurons` by their rows of `active`: k-means with cosine similarity whose assignment fills every
/// cluster, the most alike pairs first.
std::vector<std::vector<std::int32_t>> Cluster(const std::vector<std::uint8_t>& active, std::size_t tokens,
                                               const std::vector<std::int32_t>& neurons, std::size_t clusters) {
  const std::size_t size = neurons.size() / clusters;
  const auto row = [&](std::size_t i) { return active.data() + static_cast<std::size_t>(neurons[i]) * tokens; };
  Doubles length(neurons.size());
  for (std::size_t i = 0; i < neurons.size(); ++i)
    length[i] = std::sqrt(std::accumulate(row(i), row(i) + tokens, 0.0) + 1e-9);
  // Seeds: the busiest neuron, then always the one that is least like those before.
  std::vector<std::size_t> seeds = {
      static_cast<std::size_t>(std::max_element(length.begin(), length.end()) - length.begin())};
  Doubles nearest(neurons.size(), -1.0);
  while (seeds.size() < clusters) {
    for (std::size_t i = 0; i < neurons.size(); ++i) {
      double both = 0;
      for (std::size_t t = 0; t < tokens; ++t) both += row(i)[t] & row(seeds.back())[t];
      nearest[i] = std::max(nearest[i], both / (length[i] * length[seeds.back()]));
    }
    // Of those that hardly ever act none is a seed, unless there are no others.
    std::size_t best = 0;
    double worth = -2;
    for (std::size_t i = 0; i < neurons.size(); ++i) {
      if (std::count(seeds.begin(), seeds.end(), i) > 0) continue;
      const double value = (1 - nearest[i]) * length[i];
      if (value > worth) std::tie(worth, best) = std::pair(value, i);
    }
    seeds.push_back(best);
  }
  std::vector<Doubles> centres(clusters, Doubles(tokens));
  for (std::size_t c = 0; c < clusters; ++c) std::copy_n(row(seeds[c]), tokens, centres[c].begin());
  std::vector<std::size_t> of(neurons.size());
  struct Pair {
    double value;
    std::uint32_t neuron, cluster;
  };
  for (int round = 0; round < kRounds; ++round) {
    std::vector<Pair> pairs;
    for (std::size_t c = 0; c < clusters; ++c) {
      const double centre =
          std::sqrt(std::inner_product(centres[c].begin(), centres[c].end(), centres[c].begin(), 1e-12));
      for (std::size_t i = 0; i < neurons.size(); ++i) {
        double both = 0;
        for (std::size_t t = 0; t < tokens; ++t) both += row(i)[t] * centres[c][t];
        pairs.push_back({both / (length[i] * centre), static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(c)});
      }
    }
    std::stable_sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.value > b.value; });
    const std::vector<std::size_t> before = of;
    std::vector<std::size_t> filled(clusters);
    std::vector<bool> placed(neurons.size());
    for (const Pair& pair : pairs) {
      if (placed[pair.neuron] || filled[pair.cluster] == size) continue;
      placed[pair.neuron] = true;
      of[pair.neuron] = pair.cluster;
      ++filled[pair.cluster];
    }
    if (round > 0 && of == before) break;
    for (Doubles& centre : centres) std::fill(centre.begin(), centre.end(), 0.0);
    for (std::size_t i = 0; i < neurons.size(); ++i) {
      for (std::size_t t = 0; t < tokens; ++t) centres[of[i]][t] += row(i)[t] / length[i];
    }
  }
  std::vector<std::vector<std::int32_t>> out(clusters);
  for (std::size_t i = 0; i < neurons.size(); ++i) out[of[i]].push_back(neurons[i]);
  return out;
}

/// Solves A x = b for each column of b (n, columns) in place, A (n, n) symmetric and positive, by Cholesky; A is
/// destroyed.
void Solve(Doubles& a, std::size_t n, Doubles& b, std::size_t columns) {
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t i = j; i < n; ++i) {
      double sum = a[i * n + j];
      for (std::size_t p = 0; p < j; ++p) sum -= a[i * n + p] * a[j * n + p];
      a[i * n + j] = i == j ? std::sqrt(std::max(sum, 1e-30)) : sum / a[j * n + j];
    }
  }
  for (std::size_t c = 0; c < columns; ++c) {
    for (std::size_t i = 0; i < n; ++i) {
      double sum = b[i * columns + c];
      for (std::size_t p = 0; p < i; ++p) sum -= a[i * n + p] * b[p * columns + c];
      b[i * columns + c] = sum / a[i * n + i];
    }
    for (std::size_t i = n; i-- > 0;) {
      double sum = b[i * columns + c];
      for (std::size_t p = i + 1; p < n; ++p) sum -= a[p * n + i] * b[p * columns + c];
      b[i * columns + c] = sum / a[i * n + i];
    }
  }
}

/// W (columns, k) with x W' near y for rows x of `x` (tokens, k) and y of `y` (tokens, columns): ridge regression, in
/// whichever of the two dimensions is smaller.
std::vector<float> Regress(std::span<const float> x, std::size_t tokens, std::size_t k, const Doubles& y,
                           std::size_t columns) {
  const bool by_token = tokens < k;
  const std::size_t n = std::min(tokens, k);
  Doubles gram(n * n);
  if (by_token) {
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j <= i; ++j) {
        double sum = 0;
        for (std::size_t p = 0; p < k; ++p)
          sum += static_cast<double>(x[i * k + p]) * static_cast<double>(x[j * k + p]);
        gram[i * n + j] = gram[j * n + i] = sum;
      }
    }
  } else {
    for (std::size_t t = 0; t < tokens; ++t) {
      const float* row = x.data() + t * k;
      for (std::size_t i = 0; i < k; ++i) {
        const auto xi = static_cast<double>(row[i]);
        for (std::size_t j = 0; j <= i; ++j) gram[i * n + j] += xi * static_cast<double>(row[j]);
      }
    }
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < i; ++j) gram[j * n + i] = gram[i * n + j];
    }
  }
  double trace = 0;
  for (std::size_t i = 0; i < n; ++i) trace += gram[i * n + i];
  for (std::size_t i = 0; i < n; ++i) gram[i * n + i] += kRidge * trace / static_cast<double>(n) + 1e-12;
  Doubles right(n * columns);
  if (by_token) {
    right = y;
  } else {
    for (std::size_t t = 0; t < tokens; ++t) {
      for (std::size_t i = 0; i < k; ++i) {
        for (std::size_t c = 0; c < columns; ++c)
          right[i * columns + c] += static_cast<double>(x[t * k + i]) * y[t * columns + c];
      }
    }
  }
  Solve(gram, n, right, columns);
  std::vector<float> w(columns * k);
  for (std::size_t c = 0; c < columns; ++c) {
    for (std::size_t i = 0; i < k; ++i) {
      double value = by_token ? 0 : right[i * columns + c];
      for (std::size_t t = 0; by_token && t < tokens; ++t)
        value += static_cast<double>(x[t * k + i]) * right[t * columns + c];
      w[c * k + i] = static_cast<float>(value);
    }
  }
  return w;
}

}  // namespace

quant::CarvedLayer CarveLayer(std::span<const float> inputs, std::span<const float> parts, std::int64_t tokens,
                              int experts, std::int64_t expert_size) {
  const auto count = static_cast<std::size_t>(tokens);
  const std::size_t n = parts.size() / count;
  const std::vector<std::uint8_t> active = Active(parts, count, n);
  Doubles strength(n);
  std::vector<std::int64_t> rate(n);
  for (std::size_t i = 0; i < n; ++i)
    rate[i] = std::accumulate(active.begin() + static_cast<std::ptrdiff_t>(i * count),
                              active.begin() + static_cast<std::ptrdiff_t>((i + 1) * count), std::int64_t{0});
  for (std::size_t t = 0; t < count; ++t) {
    for (std::size_t i = 0; i < n; ++i) strength[i] += static_cast<double>(parts[t * n + i]);
  }
  std::vector<std::int32_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    const auto i = static_cast<std::size_t>(a), j = static_cast<std::size_t>(b);
    return rate[i] != rate[j] ? rate[i] > rate[j] : strength[i] > strength[j];
  });
  const auto routed = static_cast<std::size_t>(experts) * static_cast<std::size_t>(expert_size);
  QUORUM_CHECK(routed < n);
  quant::CarvedLayer layer;
  layer.shared.assign(order.begin(), order.end() - static_cast<std::ptrdiff_t>(routed));
  std::sort(layer.shared.begin(), layer.shared.end());
  std::vector<std::int32_t> rest(order.end() - static_cast<std::ptrdiff_t>(routed), order.end());
  std::sort(rest.begin(), rest.end());
  layer.experts = Cluster(active, count, rest, static_cast<std::size_t>(experts));
  // What is to be predicted: how much of the output each part makes, as the root of its energy.
  Doubles energy(count * static_cast<std::size_t>(experts));
  for (std::size_t t = 0; t < count; ++t) {
    for (std::size_t e = 0; e < layer.experts.size(); ++e) {
      double sum = 0;
      for (const std::int32_t neuron : layer.experts[e]) {
        const auto part = static_cast<double>(parts[t * n + static_cast<std::size_t>(neuron)]);
        sum += part * part;
      }
      energy[t * layer.experts.size() + e] = std::sqrt(sum);
    }
  }
  layer.router = Regress(inputs, count, inputs.size() / count, energy, layer.experts.size());
  return layer;
}

Result<std::vector<quant::CarvedLayer>> PlanCarving(
    Model& model, std::span<const TopicText> texts, const std::vector<std::vector<float>>& reach,
    const CarveRequest& request, const std::function<bool(std::int64_t done, std::int64_t total)>& progress) {
  const ModelSpec& spec = model.spec();
  std::int64_t tokens = 0;
  for (const TopicText& text : texts) tokens += std::ssize(text.tokens);
  if (tokens < kFewTokens)
    return InvalidArgument(fmt::format("{} tokens of text; at least {} are needed to see which neurons work together",
                                       tokens, kFewTokens));
  if (spec.has_experts()) return InvalidArgument("the model has experts already");
  std::int64_t width = spec.d_model;
  for (const LayerSpec& layer : spec.layers) {
    if (quant::CarvedSize(layer.ff, request.experts, request.shared) == 0) {
      return InvalidArgument(fmt::format(
          "networks of {} neurons cannot be carved into {} experts of at least 32 and a shared part of {:.0f} %",
          layer.ff, request.experts, request.shared * 100));
    }
    width = std::max<std::int64_t>(width, spec.d_model + layer.ff);
  }
  const std::int64_t layers = std::ssize(spec.layers);
  const std::int64_t at_once = std::clamp<std::int64_t>(request.memory / (tokens * width * 4), 1, layers);
  std::vector<quant::CarvedLayer> plan;
  for (std::int64_t first = 0; first < layers; first += at_once) {
    const std::int64_t count = std::min(at_once, layers - first);
    std::vector<std::vector<float>> inputs(static_cast<std::size_t>(count)), parts(static_cast<std::size_t>(count));
    const TextRun run{.window = request.window, .trace = true, .parts = {.inputs = true, .hidden = true}};
    for (const TopicText& text : texts) {
      QUORUM_TRY(RunText(model, text.tokens, run, [&](const TextRows& rows) -> Status {
        for (std::int64_t i = 0; i < std::ssize(rows.losses); ++i) {
          for (std::int64_t j = 0; j < count; ++j) {
            const auto layer = static_cast<std::int32_t>(first + j);
            const auto in = rows.trace->Input(layer, i);
            const auto hidden = rows.trace->Hidden(layer, i, 0);
            const std::vector<float>& of_layer = reach[static_cast<std::size_t>(layer)];
            inputs[static_cast<std::size_t>(j)].insert(inputs[static_cast<std::size_t>(j)].end(), in.begin(), in.end());
            for (std::size_t n = 0; n < of_layer.size(); ++n)
              parts[static_cast<std::size_t>(j)].push_back(std::abs(hidden[n]) * of_layer[n]);
          }
        }
        return {};
      }));
    }
    for (std::int64_t j = 0; j < count; ++j) {
      if (progress && !progress(first + j, layers)) return Error{ErrorCode::kCancelled, "cancelled", {}, {}};
      const std::int64_t size =
          quant::CarvedSize(spec.layers[static_cast<std::size_t>(first + j)].ff, request.experts, request.shared);
      plan.push_back(CarveLayer(inputs[static_cast<std::size_t>(j)], parts[static_cast<std::size_t>(j)], tokens,
                                request.experts, size));
    }
  }
  if (progress) progress(layers, layers);
  return plan;
}

}  // namespace quorum::engine
