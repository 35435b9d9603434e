#include "engine/domain_router.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "engine/text_run.h"

namespace quorum::engine {
namespace {

constexpr double kMargin = 2.0;  // of a dense model's logits: own domain above, others below zero
constexpr double kLead = 1.0;    // of new experts' logits against those that are there
constexpr double kRidge = 1e-4;  // times the mean squared length of the centroids

}  // namespace

Result<std::vector<DomainView>> ViewDomains(Model& model, std::span<const TopicText> domains, std::int32_t window,
                                            const std::vector<std::vector<float>>& routers) {
  const auto layers = static_cast<std::size_t>(std::ssize(model.spec().layers));
  const auto k = static_cast<std::size_t>(model.spec().d_model);
  const auto top_k = static_cast<std::size_t>(std::max(model.spec().router.top_k, 1));
  std::vector<DomainView> views(layers);
  const TextRun run{.window = window, .trace = true, .parts = {.inputs = true}};
  for (const TopicText& domain : domains) {
    if (domain.tokens.empty()) return InvalidArgument("a domain's text is empty");
    std::vector<std::vector<double>> sums(layers, std::vector<double>(k));
    std::vector<double> top(layers), least(layers);
    QUORUM_TRY(RunText(model, domain.tokens, run, [&](const TextRows& rows) -> Status {
      std::vector<double> logits;
      for (std::int64_t row = 0; row < std::ssize(rows.losses); ++row) {
        for (std::size_t layer = 0; layer < layers; ++layer) {
          const std::span<const float> in = rows.trace->Input(static_cast<std::int32_t>(layer), row);
          for (std::size_t i = 0; i < k; ++i) sums[layer][i] += static_cast<double>(in[i]);
          if (routers.empty()) continue;
          logits.assign(routers[layer].size() / k, 0.0);
          for (std::size_t e = 0; e < logits.size(); ++e) {
            for (std::size_t i = 0; i < k; ++i)
              logits[e] += static_cast<double>(routers[layer][e * k + i]) * static_cast<double>(in[i]);
          }
          std::sort(logits.begin(), logits.end(), std::greater<>());
          top[layer] += logits.front();
          least[layer] += logits[std::min(top_k, logits.size()) - 1];
        }
      }
      return {};
    }));
    const auto tokens = static_cast<double>(domain.tokens.size());
    for (std::size_t layer = 0; layer < layers; ++layer) {
      std::vector<float>& centroid = views[layer].centroids.emplace_back();
      for (const double sum : sums[layer]) centroid.push_back(static_cast<float>(sum / tokens));
      views[layer].top.push_back(top[layer] / tokens);
      views[layer].least.push_back(least[layer] / tokens);
    }
  }
  return views;
}

std::vector<float> RowsFor(const std::vector<std::vector<float>>& centroids,
                           const std::vector<std::vector<double>>& targets) {
  // W = T (C C' + ridge)^-1 C, by Gauss-Jordan elimination: domains are few.
  const std::size_t n = centroids.size(), k = centroids.front().size();
  std::vector<std::vector<double>> gram(n, std::vector<double>(2 * n));
  double trace = 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t p = 0; p < k; ++p)
        gram[i][j] += static_cast<double>(centroids[i][p]) * static_cast<double>(centroids[j][p]);
    }
    trace += gram[i][i];
    gram[i][n + i] = 1;
  }
  for (std::size_t i = 0; i < n; ++i) gram[i][i] += kRidge * trace / static_cast<double>(n) + 1e-12;
  for (std::size_t column = 0; column < n; ++column) {
    std::size_t pivot = column;
    for (std::size_t i = column; i < n; ++i)
      pivot = std::abs(gram[i][column]) > std::abs(gram[pivot][column]) ? i : pivot;
    std::swap(gram[pivot], gram[column]);
    const double value = gram[column][column];
    for (double& x : gram[column]) x /= value;
    for (std::size_t i = 0; i < n; ++i) {
      const double factor = gram[i][column];
      for (std::size_t j = 0; i != column && j < 2 * n; ++j) gram[i][j] -= factor * gram[column][j];
    }
  }
  std::vector<float> rows;
  for (const std::vector<double>& target : targets) {
    std::vector<double> row(k);
    for (std::size_t i = 0; i < n; ++i) {
      double weight = 0;
      for (std::size_t j = 0; j < n; ++j) weight += target[j] * gram[j][n + i];
      for (std::size_t p = 0; p < k; ++p) row[p] += weight * static_cast<double>(centroids[i][p]);
    }
    for (const double x : row) rows.push_back(static_cast<float>(x));
  }
  return rows;
}

std::vector<float> DomainRows(const DomainView& view, bool dense) {
  std::vector<std::vector<double>> targets;
  const std::size_t domains = view.centroids.size();
  for (std::size_t own = dense ? 0 : 1; own < domains; ++own) {
    std::vector<double>& target = targets.emplace_back();
    for (std::size_t d = 0; d < domains; ++d) {
      if (dense) {
        target.push_back(d == own ? kMargin : -kMargin);
      } else {
        target.push_back(d == own ? view.top[d] + kLead : view.least[d] - kLead);
      }
    }
  }
  return RowsFor(view.centroids, targets);
}

}  // namespace quorum::engine
