// What can be done at most without vector instructions.
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

uint64_t ReadLoop(const uint8_t* from, int64_t bytes) {
  uint64_t result = 0;
  for (int64_t at = 0; at < bytes; at += 8) {
    uint64_t word;
    __builtin_memcpy(&word, from + at, sizeof word);
    result ^= word;
  }
  return result;
}

}  // namespace quorum::engine::scalar
