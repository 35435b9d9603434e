// Router rows from what texts of different domains look like inside a model: the centroids of what its networks read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/result.h"
#include "engine/expert_study.h"
#include "engine/model.h"

namespace quorum::engine {

/// What one layer's networks read of the texts of each domain, on average.
struct DomainView {
  std::vector<std::vector<float>> centroids;  // by domain (k)
  /// With experts: means over the domain's tokens of the highest router logit, and of the lowest among those that are
  /// chosen.
  std::vector<double> top, least;
};

/// One view a layer. `domains`: one text each. `routers`: of each layer the model's router (experts, k); empty for a
/// dense model. Errors: those of RunText; kInvalidArgument for an empty text.
Result<std::vector<DomainView>> ViewDomains(Model& model, std::span<const TopicText> domains, std::int32_t window,
                                            const std::vector<std::vector<float>>& routers);

/// Rows (rows, k) of the least norm whose product with centroid d is targets[row][d] (nearly: with a ridge, so that
/// domains that hardly differ do not make rows explode).
std::vector<float> RowsFor(const std::vector<std::vector<float>>& centroids,
                           const std::vector<std::vector<double>>& targets);

/// The rows of new experts, the i-th for domain 1 + i; domain 0 is the model's own. Of a dense model first the row of
/// its own network. With experts there are already, a new one's logit lies above the highest in its own domain and
/// below the chosen ones' in the others.
std::vector<float> DomainRows(const DomainView& view, bool dense);

}  // namespace quorum::engine
