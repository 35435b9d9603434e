#include "engine/expert_options.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace quorum::engine {
namespace {

std::string Text(std::int64_t number) { return std::to_string(number); }

}  // namespace

std::int32_t ExpertShape::most() const {
  return experts.empty() ? 0 : *std::max_element(experts.begin(), experts.end());
}

std::string ExpertOptions::Lineage(const ExpertShape& shape) const {
  if (top_k == shape.top_k && min_weight == 0 && masked.empty()) return {};
  std::string bytes(sizeof top_k + sizeof min_weight, '\0');
  std::memcpy(bytes.data(), &top_k, sizeof top_k);
  std::memcpy(bytes.data() + sizeof top_k, &min_weight, sizeof min_weight);
  bytes.append(masked.begin(), masked.end());
  return bytes;
}

Result<ExpertOptions> ResolveExperts(const ExpertRequest& request, const ExpertShape& shape) {
  const std::int32_t most = shape.most();
  ExpertOptions options{shape.top_k, 0, most, {}};
  const bool asks = request.top_k != 0 || request.dense || request.min_weight != 0 || !request.masked.empty();
  if (most == 0) {
    if (asks || request.report) return InvalidArgument("This model is dense: it has no experts to choose from.", "moe");
    return options;
  }
  if (request.top_k < 0 || request.top_k > most) {
    return InvalidArgument("moe.top_k is " + Text(request.top_k) + ", but a token may visit 1 to " + Text(most) +
                               " experts of this model.",
                           "moe.top_k");
  }
  if (request.dense && request.top_k != 0) {
    return InvalidArgument("moe.dense means all experts; moe.top_k contradicts it.", "moe.top_k");
  }
  if (!(request.min_weight >= 0 && request.min_weight < 1)) {
    return InvalidArgument("moe.min_weight must be at least 0 and below 1.", "moe.min_weight");
  }
  if (request.top_k > 0) options.top_k = request.top_k;
  if (request.dense) options.top_k = most;
  options.min_weight = request.min_weight;
  if (request.masked.empty()) return options;

  const auto layers = static_cast<std::int32_t>(shape.experts.size());
  options.masked.assign(static_cast<std::size_t>(layers) * static_cast<std::size_t>(most), 0);
  for (const auto& [layer, expert] : request.masked) {
    const bool known = layer < 0 ? layer == -1 : layer < layers;
    const std::int32_t count = !known ? 0 : layer == -1 ? most : shape.experts[static_cast<std::size_t>(layer)];
    if (expert < 0 || expert >= count) {
      return InvalidArgument("moe.mask names expert " + Text(expert) + (layer == -1 ? "" : " of layer " + Text(layer)) +
                                 ", which this model does not have.",
                             "moe.mask");
    }
    for (std::int32_t at = std::max(layer, 0); at < (layer == -1 ? layers : layer + 1); ++at) {
      if (expert < shape.experts[static_cast<std::size_t>(at)]) {
        options
            .masked[static_cast<std::size_t>(at) * static_cast<std::size_t>(most) + static_cast<std::size_t>(expert)] =
            1;
      }
    }
  }
  for (std::int32_t layer = 0; layer < layers; ++layer) {
    const std::int32_t count = shape.experts[static_cast<std::size_t>(layer)];
    const std::uint8_t* mask = options.MaskOf(layer);
    if (count > 0 && std::count(mask, mask + count, 1) == count) {
      return InvalidArgument("moe.mask leaves layer " + Text(layer) + " without any expert.", "moe.mask");
    }
  }
  return options;
}

ExpertTally::ExpertTally(const ExpertShape& shape)
    : experts(shape.most()), tokens(shape.experts.size() * static_cast<std::size_t>(experts)), mass(tokens.size()) {}

void ExpertTally::Count(std::int32_t layer, std::int32_t expert, float weight) {
  const std::size_t at =
      static_cast<std::size_t>(layer) * static_cast<std::size_t>(experts) + static_cast<std::size_t>(expert);
  ++tokens[at];
  // A weight that is no number counts as nothing; sums of 2^31 tokens fit.
  if (std::isfinite(weight)) mass[at] += std::llrint(std::clamp(static_cast<double>(weight), -1e3, 1e3) / kMassUnit);
}

}  // namespace quorum::engine
