// The peak loop of AVX-512 VNNI: vpdpbusd on whole registers.
#include <immintrin.h>

#include "engine/kernels/kernel_impl.h"
#include "engine/kernels/peak_loop.h"

#ifdef QUORUM_EMULATED_AVX512
#define QUORUM_KEEP(a, b)
#else
#define QUORUM_KEEP(a, b) __asm__ volatile("" : "+v"(a), "+v"(b))
#endif

namespace quorum::engine::avx512 {
namespace {

struct DpbusdUnit {
  using Vector = __m512i;
  static constexpr int64_t kOperations = 64 * 2;
  static inline __attribute__((always_inline)) Vector Zero() { return _mm512_setzero_si512(); }
  inline __attribute__((always_inline)) void Step(Vector& sum) {
    sum = _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi8(-1));
    QUORUM_KEEP(sum, w);  // the next product is another one for the compiler
  }
  Vector w = _mm512_set1_epi8(1);
};

}  // namespace

int64_t PeakLoop(int64_t iterations) { return RunPeakLoop<DpbusdUnit>(iterations); }

}  // namespace quorum::engine::avx512
