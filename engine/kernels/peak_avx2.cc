// What AVX2 can do at most: loads, and vpmaddubsw and the addition that every one of them needs (products_avx2.h).
#include <immintrin.h>

#include "engine/kernels/kernel_impl.h"
#include "engine/kernels/peak_loop.h"

namespace quorum::engine::avx2 {
namespace {

struct MaddUbsUnit {
  using Vector = __m256i;
  static constexpr int64_t kSums = 8;
  static constexpr int64_t kOperations = 32 * 2;
  static inline __attribute__((always_inline)) Vector Zero() { return _mm256_setzero_si256(); }
  inline __attribute__((always_inline)) void Step(Vector& sum) {
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, _mm256_set1_epi8(-1)));
    __asm__ volatile("" : "+x"(sum), "+x"(w));  // the next product is another one for the compiler
  }
  Vector w = _mm256_set1_epi8(1);
};

struct Line {
  static inline __attribute__((always_inline)) Line Load(const uint8_t* from) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))};
  }
  inline __attribute__((always_inline)) Line operator^(const Line& other) const {
    return {_mm256_xor_si256(v, other.v)};
  }

  __m256i v;
};

}  // namespace

int64_t PeakLoop(int64_t iterations) { return RunPeakLoop<MaddUbsUnit>(iterations); }

uint64_t ReadLoop(const uint8_t* from, int64_t bytes) { return RunReadLoop<Line>(from, bytes); }

}  // namespace quorum::engine::avx2
