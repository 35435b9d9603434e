// The peak loop of AVX2: vpmaddubsw and the addition that every one of them needs (gemm_parts_avx2.h).
#include <immintrin.h>

#include "engine/kernels/kernel_impl.h"

namespace quorum::engine::avx2 {

int64_t PeakLoop(int64_t iterations) {
  // Named sums: g++ keeps an array of them in memory.
  __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  __m256i w = _mm256_set1_epi8(1);
  const __m256i a = _mm256_set1_epi8(-1);
  const auto step = [&](__m256i& sum) __attribute__((always_inline)) {
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, a));
    __asm__ volatile("" : "+x"(sum), "+x"(w));  // the next product is another one for the compiler
  };
  for (int64_t i = 0; i < iterations; ++i) {
    step(s0);
    step(s1);
    step(s2);
    step(s3);
    step(s4);
    step(s5);
    step(s6);
    step(s7);
  }
  return iterations * 8 * 32 * 2;
}

}  // namespace quorum::engine::avx2
