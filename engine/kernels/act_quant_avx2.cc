// Quantizes activations with AVX2; the plain form is act_quant_scalar.cc.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/act_quant.h"
#include "engine/kernels/kernel_impl.h"

namespace quorum::engine::avx2 {
namespace {

uint32_t ReduceMax(__m256i v) {
  __m128i x = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  x = _mm_max_epu32(x, _mm_shuffle_epi32(x, 0x4E));
  x = _mm_max_epu32(x, _mm_shuffle_epi32(x, 0xB1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(x));
}

int32_t ReduceAdd(__m256i v) {
  __m128i x = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4E));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0xB1));
  return _mm_cvtsi128_si32(x);
}

}  // namespace

void QuantizeRow(const float* x, int64_t k, int64_t block, int8_t* q, float* scale, int32_t* sum) {
  const __m256i abs_mask = _mm256_set1_epi32(static_cast<int>(kAbsMask));
  for (int64_t begin = 0; begin < k; begin += block) {
    const int64_t end = begin + block < k ? begin + block : k;
    __m256i max = _mm256_setzero_si256();
    for (int64_t c = begin; c < end; c += 8) {
      const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + c));
      max = _mm256_max_epu32(max, _mm256_and_si256(bits, abs_mask));
    }
    const uint32_t max_bits = ReduceMax(max);
    float amax;
    __builtin_memcpy(&amax, &max_bits, sizeof amax);
    const bool zero = max_bits < kTinyBits;
    const bool zero_codes = zero || max_bits >= kInfBits;
    *scale++ = zero ? 0.0F : amax / 127.0F;
    const __m256 inverse = _mm256_set1_ps(zero_codes ? 0.0F : 127.0F / amax);
    // The mask makes the codes of a block that is not finite zero, whatever its values times 0 are.
    const __m256i keep = _mm256_set1_epi32(zero_codes ? 0 : -1);
    for (int64_t c = begin; c < end; c += kSumColumns) {
      const __m256i low = _mm256_and_si256(keep, _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + c), inverse)));
      const __m256i high =
          _mm256_and_si256(keep, _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + c + 8), inverse)));
      // Codes fit int8, so packing does not saturate; the permutation undoes its interleaving of 128-bit halves.
      const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xD8);
      const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(q + c), bytes);
      *sum++ = ReduceAdd(_mm256_add_epi32(low, high));
    }
  }
}

}  // namespace quorum::engine::avx2
