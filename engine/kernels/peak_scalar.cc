// The peak loop without vector instructions.
#include "engine/kernels/kernel_impl.h"

namespace quorum::engine::scalar {

int64_t PeakLoop(int64_t iterations) {
  int32_t sum[8] = {};
  int32_t a = 3;
  for (int64_t i = 0; i < iterations; ++i) {
    for (int32_t& s : sum) s += a * static_cast<int32_t>(i & 127);
    __asm__ volatile("" : "+r"(a), "+m"(sum));  // keeps the loop
  }
  return iterations * 8 * 2;
}

}  // namespace quorum::engine::scalar
