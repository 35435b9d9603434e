#include "engine/position_bias.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/rope.h"
#include "engine/step_model.h"

namespace quorum::engine {

std::int32_t RelativeBucket(const RelativeBiasSpec& spec, bool bidirectional, std::int64_t distance) {
  const std::int32_t buckets = bidirectional ? spec.buckets / 2 : spec.buckets;
  const std::int32_t start = bidirectional && distance > 0 ? buckets : 0;
  const std::int64_t away = bidirectional ? std::max(distance, -distance) : std::max<std::int64_t>(-distance, 0);
  const std::int32_t exact = buckets / 2;
  if (away < exact) return start + static_cast<std::int32_t>(away);
  // In floats, as the reference implementation computes it: at a bucket's border the rounding decides.
  const auto log = [](float x) { return static_cast<float>(ExactLog(static_cast<double>(x))); };
  const float share = log(static_cast<float>(away) / static_cast<float>(exact)) /
                      log(static_cast<float>(spec.max_distance) / static_cast<float>(exact));
  const float grown = share * static_cast<float>(buckets - exact);
  return start + std::min(exact + static_cast<std::int32_t>(std::min(grown, 1e6F)), buckets - 1);
}

PositionBias::PositionBias(const RelativeBiasSpec& spec, bool bidirectional, std::int32_t heads,
                           std::span<const float> weights)
    : reach_(spec.max_distance), half_(reach_ + kPageTokens), table_(static_cast<std::size_t>(heads * 2 * half_)) {
  QUORUM_CHECK(std::ssize(weights) == std::int64_t{spec.buckets} * heads);
  for (std::int64_t d = -half_; d < half_; ++d) {
    const std::int64_t bucket = RelativeBucket(spec, bidirectional, std::clamp(d, -reach_, reach_));
    for (std::int64_t head = 0; head < heads; ++head) {
      table_[static_cast<std::size_t>(head * 2 * half_ + half_ + d)] =
          weights[static_cast<std::size_t>(bucket * heads + head)];
    }
  }
}

}  // namespace quorum::engine
