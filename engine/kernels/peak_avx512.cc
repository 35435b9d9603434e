// What AVX-512 VNNI can do at most: loads, and vpdpbusd on whole registers.
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
  static constexpr int64_t kSums = 16;
  static constexpr int64_t kOperations = 64 * 2;
  static inline __attribute__((always_inline)) Vector Zero() { return _mm512_setzero_si512(); }
  inline __attribute__((always_inline)) void Step(Vector& sum) {
    sum = _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi8(-1));
    QUORUM_KEEP(sum, w);  // the next product is another one for the compiler
  }
  Vector w = _mm512_set1_epi8(1);
};

struct Line {
  static inline __attribute__((always_inline)) Line Load(const uint8_t* from) { return {_mm512_loadu_si512(from)}; }
  inline __attribute__((always_inline)) Line operator^(const Line& other) const {
    return {_mm512_xor_si512(v, other.v)};
  }

  __m512i v;
};

}  // namespace

int64_t PeakLoop(int64_t iterations) { return RunPeakLoop<DpbusdUnit>(iterations); }

uint64_t ReadLoop(const uint8_t* from, int64_t bytes) { return RunReadLoop<Line>(from, bytes); }

}  // namespace quorum::engine::avx512
