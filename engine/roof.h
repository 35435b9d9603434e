// What this machine can do at most, measured: the roof that speeds are compared with (Williams et al. 2009).
#pragma once

#include <cstdint>

#include "engine/base/result.h"
#include "engine/kernels/kernel_table.h"
#include "engine/thread_pool.h"

namespace quorum::engine {

struct Roof {
  double bytes_per_second = 0;       // all threads reading memory that lies in no cache
  double operations_per_second = 0;  // all threads multiplying int8 in registers; two operations a multiplication
};

/// Takes about a second and, for that time, `buffer_bytes` of memory, which should be several times the last cache.
/// Errors: kInternal when the memory is refused.
Result<Roof> MeasureRoof(const KernelTable& kernels, ThreadPool& pool, std::int64_t buffer_bytes);

}  // namespace quorum::engine
