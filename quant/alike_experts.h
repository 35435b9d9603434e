// Which experts of a layer are so alike that they may become one.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/result.h"
#include "quant/expert_surgery.h"
#include "quant/gguf.h"

namespace quorum::quant {

/// The layer's experts in `count` clusters of alike ones, equally many in each of its groups: agglomerative clustering
/// by average linkage of 1 - cosine of all their weights. The same with any number of threads; clusters ascend by their
/// lowest expert within their group. Errors: kInvalidArgument (no such layer; a count that is no multiple of the
/// groups), kUnsupported (a type without weights).
Result<std::vector<std::vector<std::int32_t>>> GroupAlike(const GgufFile& file, const ExpertLayer& layer,
                                                          std::int32_t count, int threads = 1);

}  // namespace quorum::quant
