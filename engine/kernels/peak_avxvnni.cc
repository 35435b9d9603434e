// The peak loop of AVX-VNNI: vpdpbusd.
#include <immintrin.h>

#include "engine/kernels/kernel_impl.h"
#include "engine/kernels/peak_loop.h"

namespace quorum::engine::avxvnni {
namespace {

struct DpBusdUnit {
  using Vector = __m256i;
  static constexpr int64_t kSums = 12;
  static constexpr int64_t kOperations = 32 * 2;
  static inline __attribute__((always_inline)) Vector Zero() { return _mm256_setzero_si256(); }
  inline __attribute__((always_inline)) void Step(Vector& sum) {
    sum = _mm256_dpbusd_avx_epi32(sum, w, _mm256_set1_epi8(-1));
    __asm__ volatile("" : "+x"(sum), "+x"(w));  // the next product is another one for the compiler
  }
  Vector w = _mm256_set1_epi8(1);
};

}  // namespace

int64_t PeakLoop(int64_t iterations) { return RunPeakLoop<DpBusdUnit>(iterations); }

}  // namespace quorum::engine::avxvnni
