#include "engine/expert_insight.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/check.h"

namespace quorum::engine {

ExpertInsight::ExpertInsight(const ExpertShape& shape, std::int32_t topics) : shape_(shape), width_(shape.most()) {
  const std::size_t cells = shape.experts.size() * static_cast<std::size_t>(width_);
  cells_.resize(cells);
  pairs_.resize(cells * static_cast<std::size_t>(width_));
  by_topic_.resize(cells * static_cast<std::size_t>(topics));
  topics_.resize(static_cast<std::size_t>(topics));
  visitors_.resize(cells);
}

void ExpertInsight::Add(const RoutedToken& token) {
  QUORUM_CHECK(token.layers.size() == shape_.experts.size());
  Topic& topic = topics_[static_cast<std::size_t>(token.topic)];
  ++topic.tokens;
  if (!std::isnan(token.loss)) {
    ++topic.scored;
    topic.loss += static_cast<double>(token.loss);
  }
  sequence_.push_back(token.token);
  topic_of_.push_back(token.topic);
  for (std::size_t layer = 0; layer < token.layers.size(); ++layer) {
    const ExpertTrace::Visits& visits = token.layers[layer];
    margins_.push_back(visits.margin);
    const auto at = static_cast<std::int32_t>(layer);
    has_norms_ &= visits.norms.size() == visits.experts.size();
    for (std::size_t i = 0; i < visits.experts.size(); ++i) {
      const std::size_t index = Index(at, visits.experts[i]);
      Cell& cell = cells_[index];
      ++cell.tokens;
      cell.mass += static_cast<double>(visits.weights[i]);
      if (i < visits.norms.size()) {
        cell.norm += static_cast<double>(visits.norms[i]);
        cell.reap += static_cast<double>(visits.weights[i]) * static_cast<double>(visits.norms[i]);
      }
      ++by_topic_[static_cast<std::size_t>(token.topic) * cells_.size() + index];
      if (token.token != kNoToken) ++visitors_[index][token.token];
      for (const std::int32_t other : visits.experts) {
        if (other != visits.experts[i])
          ++pairs_[index * static_cast<std::size_t>(width_) + static_cast<std::size_t>(other)];
      }
    }
  }
}

double ExpertInsight::TopicBits(std::int32_t layer) const {
  double all = 0;
  std::vector<double> of_topic(topics_.size(), 0.0);
  for (std::size_t topic = 0; topic < topics_.size(); ++topic) {
    for (std::int32_t e = 0; e < width_; ++e) {
      of_topic[topic] += static_cast<double>(OfTopic(static_cast<std::int32_t>(topic), layer, e));
    }
    all += of_topic[topic];
  }
  double bits = 0;
  for (std::size_t topic = 0; topic < topics_.size(); ++topic) {
    for (std::int32_t e = 0; e < width_; ++e) {
      const auto both = static_cast<double>(OfTopic(static_cast<std::int32_t>(topic), layer, e));
      if (both > 0)
        bits += both / all * std::log2(both * all / (of_topic[topic] * static_cast<double>(At(layer, e).tokens)));
    }
  }
  return std::max(bits, 0.0);
}

std::vector<std::vector<ExpertInsight::Favourite>> ExpertInsight::Favourites(std::int32_t layer,
                                                                             std::size_t count) const {
  std::unordered_map<tok::TokenId, double> in_layer;
  double all = 0;
  for (std::int32_t e = 0; e < width_; ++e) {
    for (const auto& [token, visits] : visitors_[Index(layer, e)]) {
      in_layer[token] += visits;
      all += visits;
    }
  }
  const auto worth = [](const Favourite& f) { return static_cast<double>(f.visits) * std::log(f.lift); };
  std::vector<std::vector<Favourite>> favourites(static_cast<std::size_t>(width_));
  for (std::int32_t e = 0; e < width_; ++e) {
    std::vector<Favourite>& own = favourites[static_cast<std::size_t>(e)];
    double tokens = 0;
    for (const auto& [token, visits] : visitors_[Index(layer, e)]) tokens += visits;
    for (const auto& [token, visits] : visitors_[Index(layer, e)]) {
      const double lift = visits / tokens / (in_layer[token] / all);
      if (lift > 1) own.push_back({token, visits, lift});
    }
    std::sort(own.begin(), own.end(), [&](const Favourite& a, const Favourite& b) {
      const double x = worth(a), y = worth(b);
      return x != y ? x > y : a.token < b.token;
    });
    if (own.size() > count) own.resize(count);
  }
  return favourites;
}

std::vector<float> ExpertInsight::Margins(std::int32_t layer) const {
  std::vector<float> margins;
  margins.reserve(sequence_.size());
  for (std::size_t i = static_cast<std::size_t>(layer); i < margins_.size(); i += shape_.experts.size()) {
    margins.push_back(margins_[i]);
  }
  return margins;
}

std::vector<ExpertInsight::Unsure> ExpertInsight::UnsureTokens(float bound, std::size_t count) const {
  std::vector<Unsure> unsure;
  const std::size_t layers = shape_.experts.size();
  for (std::size_t at = 0; at < sequence_.size(); ++at) {
    Unsure token{static_cast<std::int64_t>(at), 0, 0};
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const float margin = margins_[at * layers + layer];
      if (!(margin < bound)) continue;
      ++token.layers;
      token.mean_margin += margin;
    }
    if (token.layers == 0) continue;
    token.mean_margin /= static_cast<float>(token.layers);
    unsure.push_back(token);
  }
  std::stable_sort(unsure.begin(), unsure.end(), [](const Unsure& a, const Unsure& b) {
    return a.layers != b.layers ? a.layers > b.layers : a.mean_margin < b.mean_margin;
  });
  if (unsure.size() > count) unsure.resize(count);
  return unsure;
}

SpreadDistance CompareSpreads(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b) {
  QUORUM_CHECK(a.size() == b.size());
  const auto total = [](std::span<const std::uint64_t> x) {
    return static_cast<double>(std::accumulate(x.begin(), x.end(), std::uint64_t{0}));
  };
  const double na = total(a), nb = total(b);
  SpreadDistance distance;
  if (na == 0 || nb == 0) return distance;
  int used = 0;
  for (std::size_t e = 0; e < a.size(); ++e) {
    const double p = static_cast<double>(a[e]) / na, q = static_cast<double>(b[e]) / nb, m = (p + q) / 2;
    if (m > 0) ++used;
    if (p > 0) distance.divergence += 0.5 * p * std::log2(p / m);
    if (q > 0) distance.divergence += 0.5 * q * std::log2(q / m);
    distance.moved += 0.5 * std::abs(p - q);
  }
  distance.divergence = std::max(distance.divergence, 0.0);
  // To second order the divergence is sum (p - q)^2 / (8 m ln 2), and the variance of p - q is p (1 - p) (1/na + 1/nb).
  distance.noise = (used - 1) * (1 / na + 1 / nb) / (8 * std::log(2.0));
  return distance;
}

}  // namespace quorum::engine
