// The pieces of the weights' arena and how threads fill them from the file.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/base/result.h"
#include "engine/model_tensors.h"
#include "engine/thread_pool.h"
#include "quant/dtype.h"

namespace quorum::engine {

enum class PackKind : std::uint8_t { kMatrix, kTransposed, kGateUp, kFloatMatrix, kFloats, kCopy };

/// One piece of the arena and where it comes from.
struct PackJob {
  PackKind kind;
  const TensorRef* src;
  const TensorRef* second;  // kGateUp: up
  std::int64_t offset;      // in the arena
};

/// The type in which a matrix that is stored the other way round is packed. Block formats run along the rows that the
/// file has, so their values become floats, unrounded.
quant::DType TransposedType(quant::DType type);

/// Told of file bytes that are not needed any more; its error ends the packing.
using PackReleaseFn = std::function<Status(std::span<const std::byte>)>;
/// Told of the file bytes packed so far and in all; false ends the packing.
using PackProgressFn = std::function<bool(std::int64_t, std::int64_t)>;

/// Fills `arena` with all threads of `pool`. `release` and `progress` are called on this thread every few megabytes;
/// both may be null. Returns which jobs' rows were ExactRows, all of them: those are in their type's ExactFormatOf, the
/// others in its PackFormatOf. Errors: kCancelled, those of `release` and of packing.
Result<std::vector<bool>> RunPackJobs(const std::vector<PackJob>& jobs, std::uint8_t* arena, ThreadPool& pool,
                                      const PackReleaseFn& release, const PackProgressFn& progress);

}  // namespace quorum::engine
