// AVX-VNNI's product on AVX2, for hosts that lack the instruction. Included in front of every *_avxvnni.cc of
// engine/kernels (CMakeLists.txt beside this file).
#pragma once

#include <immintrin.h>

namespace quorum_emulated {

/// sum += the products of four neighbouring bytes, unsigned times signed, in each int32 lane; wraps as VPDPBUSD does.
static inline __m256i DpBusd256(__m256i sum, __m256i a, __m256i b) {
  const __m256i a_even = _mm256_and_si256(a, _mm256_set1_epi16(0xff));
  const __m256i b_even = _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8);
  const __m256i even = _mm256_madd_epi16(a_even, b_even);
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
  return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}

}  // namespace quorum_emulated

#define _mm256_dpbusd_avx_epi32(sum, a, b) quorum_emulated::DpBusd256(sum, a, b)
