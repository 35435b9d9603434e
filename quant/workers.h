// Work shared out to a few threads that end with it: for converting, where a batch takes much longer than starting
// them.
#pragma once

#include <cstdint>
#include <functional>

namespace quorum::quant {

/// Calls `work(i)` for each i in [0, count), on up to `threads` threads, this one among them. Returns when all are
/// done.
void ForEach(int threads, std::int64_t count, const std::function<void(std::int64_t i)>& work);

}  // namespace quorum::quant
