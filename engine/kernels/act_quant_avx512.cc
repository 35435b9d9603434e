// Quantizes activations with AVX-512; the plain form is act_quant_scalar.cc.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/act_quant.h"
#include "engine/kernels/kernel_impl.h"
#include "engine/kernels/pack_layout.h"

namespace quorum::engine::avx512 {
namespace {

// Halves are joined by hand: g++ 12's _mm512_reduce_* trip a false warning.
uint32_t ReduceMax(__m512i v) {
  __m256i x = _mm256_max_epu32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  __m128i y = _mm_max_epu32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  y = _mm_max_epu32(y, _mm_shuffle_epi32(y, 0x4E));
  y = _mm_max_epu32(y, _mm_shuffle_epi32(y, 0xB1));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(y));
}

// Sum of 16 codes in -127..127.
int32_t SumCodes(__m128i codes) {
  const __m256i wide = _mm256_cvtepi8_epi16(codes);
  const __m256i pairs = _mm256_madd_epi16(wide, _mm256_set1_epi16(1));
  __m128i x = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4E));
  x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0xB1));
  return _mm_cvtsi128_si32(x);
}

/// Dword 4 * j + h of the result is dword 4 * h + j.
__m512i Transposed(__m512i v) {
  return _mm512_permutexvar_epi32(_mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0), v);
}

/// Codes of 64 columns, as bytes. `keep`: all of them, or zeros.
__m512i Codes64(const float* x, __m512 inverse, __mmask16 keep) {
  __m512i codes[4];
  for (int i = 0; i < 4; ++i) {
    codes[i] = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(_mm512_loadu_ps(x + 16 * i), inverse));
  }
  // Packing goes by quarters of 16 bytes: the four of each become the columns of one dword each, and are put in order.
  const __m512i packed =
      _mm512_packs_epi16(_mm512_packs_epi32(codes[0], codes[1]), _mm512_packs_epi32(codes[2], codes[3]));
  return Transposed(packed);
}

/// A whole block of 256 columns: codes, and the sums of each 16.
void QuantizeBlock(const float* x, __m512 inverse, __mmask16 keep, int8_t* q, int32_t* sum) {
  __m512i fours[4];  // sums of four columns; four of them are a quarter of the vector
  for (int i = 0; i < 4; ++i) {
    const __m512i codes = Codes64(x + 64 * i, inverse, keep);
    _mm512_storeu_si512(q + 64 * i, codes);
    fours[i] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), codes);
  }
  const __m512i a =
      _mm512_add_epi32(_mm512_unpacklo_epi32(fours[0], fours[1]), _mm512_unpackhi_epi32(fours[0], fours[1]));
  const __m512i b =
      _mm512_add_epi32(_mm512_unpacklo_epi32(fours[2], fours[3]), _mm512_unpackhi_epi32(fours[2], fours[3]));
  // Dword j of quarter h: columns 64 * j + 16 * h.
  const __m512i sums = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  _mm512_storeu_si512(sum, Transposed(sums));
}

}  // namespace

void QuantizeRow(const float* x, int64_t k, int64_t block, int8_t* q, float* scale, int32_t* sum) {
  const __m512i abs_mask = _mm512_set1_epi32(static_cast<int>(kAbsMask));
  for (int64_t begin = 0; begin < k; begin += block) {
    const int64_t end = begin + block < k ? begin + block : k;
    __m512i max = _mm512_setzero_si512();
    for (int64_t c = begin; c < end; c += 16) {
      max = _mm512_max_epu32(max, _mm512_and_si512(_mm512_loadu_si512(x + c), abs_mask));
    }
    const uint32_t max_bits = ReduceMax(max);
    float amax;
    __builtin_memcpy(&amax, &max_bits, sizeof amax);
    const bool zero = max_bits < kTinyBits;
    const bool zero_codes = zero || max_bits >= kInfBits;
    *scale++ = zero ? 0.0F : amax / 127.0F;
    const __m512 inverse = _mm512_set1_ps(zero_codes ? 0.0F : 127.0F / amax);
    // Masks make the codes of a block that is not finite zero, whatever its values times 0 are.
    const __mmask16 keep = zero_codes ? 0 : 0xFFFF;
    if (end - begin == kBlock) {
      QuantizeBlock(x + begin, inverse, keep, q + begin, sum);
      sum += kBlock / kSumColumns;
      continue;
    }
    for (int64_t c = begin; c < end; c += kSumColumns) {
      const __m512i codes = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(_mm512_loadu_ps(x + c), inverse));
      const __m128i bytes = _mm512_cvtepi32_epi8(codes);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(q + c), bytes);
      *sum++ = SumCodes(bytes);
    }
  }
}

}  // namespace quorum::engine::avx512
