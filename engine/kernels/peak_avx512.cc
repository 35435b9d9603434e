// The peak loop of AVX-512 VNNI: vpdpbusd on whole registers.
#include <immintrin.h>

#include "engine/kernels/kernel_impl.h"

#ifdef QUORUM_EMULATED_AVX512
#define QUORUM_KEEP(a, b)
#else
#define QUORUM_KEEP(a, b) __asm__ volatile("" : "+v"(a), "+v"(b))
#endif

namespace quorum::engine::avx512 {

int64_t PeakLoop(int64_t iterations) {
  // Named sums: g++ keeps an array of them in memory.
  __m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  __m512i w = _mm512_set1_epi8(1);
  const __m512i a = _mm512_set1_epi8(-1);
  const auto step = [&](__m512i& sum) __attribute__((always_inline)) {
    sum = _mm512_dpbusd_epi32(sum, w, a);
    QUORUM_KEEP(sum, w);  // the next product is another one for the compiler
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
  return iterations * 8 * 64 * 2;
}

}  // namespace quorum::engine::avx512
