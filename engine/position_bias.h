// Relative position bias (Raffel et al. 2020, T5): a learned number for each head and bucket of distances, added to the
// scores of attention. Expanded once into a table by distance, which the attention kernels read in vectors.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model_spec.h"

namespace quorum::engine {

/// The bucket of `distance` = position of the key - position of the query. Half of the buckets stand for single
/// distances, the others grow logarithmically up to max_distance. `bidirectional`: half of all buckets is for keys
/// behind the query; else keys behind the query count as distance 0.
std::int32_t RelativeBucket(const RelativeBiasSpec& spec, bool bidirectional, std::int64_t distance);

class PositionBias {
 public:
  /// `weights`: (buckets, heads) row-major. REQUIRES: a spec that CheckSpec accepts, with buckets.
  PositionBias(const RelativeBiasSpec& spec, bool bidirectional, std::int32_t heads, std::span<const float> weights);

  /// Entry d for distance d in [-(reach + kPageTokens), reach + kPageTokens); constant from reach on, both ways
  /// (AttendPageArgs::bias).
  const float* OfHead(std::int64_t head) const { return table_.data() + head * 2 * half_ + half_; }
  std::int64_t reach() const { return reach_; }

 private:
  std::int64_t reach_;
  std::int64_t half_;         // reach + kPageTokens
  std::vector<float> table_;  // (heads, 2 * half)
};

}  // namespace quorum::engine
