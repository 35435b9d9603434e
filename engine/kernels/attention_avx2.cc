// Attention over KV pages on AVX2 without VNNI.
#include "engine/kernels/kernel_impl.h"
#include "engine/kernels/vmath_v16_avx2.h"

#include "engine/kernels/attention_ops.h"

namespace quorum::engine::avx2 {
namespace {

/// a + b in a's register. In assembly because g++ 12 otherwise copies the accumulators from register to register in
/// every round of the loop, and spills one.
QUORUM_KERNEL_INLINE __m256i AddTo(__m256i a, __m256i b) {
  __asm__("vpaddd %1, %0, %0" : "+x"(a) : "x"(b));
  return a;
}

/// 16 bytes, signed or not, as 16 bits each.
template <bool is_signed>
QUORUM_KERNEL_INLINE __m256i Widen(__m128i bytes) {
  return is_signed ? _mm256_cvtepi8_epi16(bytes) : _mm256_cvtepu8_epi16(bytes);
}

struct Tiles {
  using V = V16;
  // MADDUBS would saturate: 255 * 127 * 2 is beyond 16 bits.
  using Query = int16_t;
  using Weight = int16_t;
  static constexpr int kRows = 4;
  static constexpr int kCols = 1;  // 4 x 1 vectors of two registers: 8 accumulators

  static QUORUM_KERNEL_INLINE void StoreWeights(V v, Weight* w) {
    const __m256i low = _mm256_set1_epi32(0xff);
    const __m256i words = _mm256_packus_epi32(_mm256_and_si256(_mm256_castps_si256(v.lo), low),
                                              _mm256_and_si256(_mm256_castps_si256(v.hi), low));
    _mm256_store_si256(reinterpret_cast<__m256i*>(w), _mm256_permute4x64_epi64(words, 0xd8));
  }

  /// sum[r] = eight lanes' sums over `quads` of four products each: x[r][4 * i + j] times byte 4 * lane + j of line i.
  /// MADD joins the products of a quad in pairs; the pairs are joined at the end.
  template <int R, bool is_signed>
  static QUORUM_KERNEL_INLINE void SumQuads(const int16_t* x, int64_t ld_x, const void* lines, int64_t line_bytes,
                                            int64_t quads, __m256i (&sum)[size_t{R}]) {
    __m256i acc[size_t{R}][2];
    for (int r = 0; r < R; ++r) acc[r][0] = acc[r][1] = _mm256_setzero_si256();
    for (int64_t i = 0; i < quads; ++i) {
      const auto* line = reinterpret_cast<const __m128i*>(static_cast<const int8_t*>(lines) + i * line_bytes);
      const __m256i first = Widen<is_signed>(_mm_load_si128(line));
      const __m256i second = Widen<is_signed>(_mm_load_si128(line + 1));
      for (int r = 0; r < R; ++r) {
        int64_t quad = 0;
        memcpy(&quad, x + r * ld_x + 4 * i, sizeof quad);
        const __m256i factors = _mm256_set1_epi64x(quad);
        acc[r][0] = AddTo(acc[r][0], _mm256_madd_epi16(first, factors));
        acc[r][1] = AddTo(acc[r][1], _mm256_madd_epi16(second, factors));
      }
    }
    // lanes 0 1 4 5 | 2 3 6 7
    for (int r = 0; r < R; ++r) sum[r] = _mm256_permute4x64_epi64(_mm256_hadd_epi32(acc[r][0], acc[r][1]), 0xd8);
  }

  /// 8 tokens from `token` on.
  template <int R>
  static QUORUM_KERNEL_INLINE void ScoreColumns(const int16_t* q, int64_t ld_q, const int32_t* start, const uint8_t* k,
                                                int64_t dim, int64_t token, int32_t* s) {
    __m256i sum[size_t{R}];
    SumQuads<R, false>(q, ld_q, k + 4 * token, 4 * kTokens, dim / 4, sum);
    for (int r = 0; r < R; ++r) {
      _mm256_store_si256(reinterpret_cast<__m256i*>(s + r * kTokens + token),
                         _mm256_add_epi32(sum[r], _mm256_set1_epi32(start[r])));
    }
  }

  template <int R>
  static QUORUM_KERNEL_INLINE void ScoreTile(const int16_t* q, int64_t ld_q, const int32_t* start, const uint8_t* k,
                                             int64_t dim, Ahead& ahead, int32_t* s) {
    for (int64_t token = 0; token < kTokens; token += 16) {
      ScoreColumns<R>(q, ld_q, start, k, dim, token, s);
      ScoreColumns<R>(q, ld_q, start, k, dim, token + 8, s);
      ahead.Ask(1);
    }
  }

  /// 8 output dimensions from `d` on.
  template <int R>
  static QUORUM_KERNEL_INLINE void MixColumns(const Weight* w, const int8_t* v, int64_t dv, int64_t d,
                                              const float* alpha, const float* scale, float* o) {
    __m256i sum[size_t{R}];
    SumQuads<R, true>(w, kTokens, v + 4 * d, 4 * dv, kTokens / 4, sum);
    for (int r = 0; r < R; ++r) {
      float* dst = o + r * dv + d;
      const __m256 kept = _mm256_mul_ps(_mm256_loadu_ps(dst), _mm256_set1_ps(alpha[r]));
      _mm256_storeu_ps(dst, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[r]), _mm256_set1_ps(scale[r]), kept));
    }
  }

  template <int R>
  static QUORUM_KERNEL_INLINE void MixTile(const Weight* w, const int8_t* v, int64_t dv, const float* alpha,
                                           const float* scale, Ahead& ahead, float* o) {
    for (int64_t d = 0; d < dv; d += 16) {
      MixColumns<R>(w, v, dv, d, alpha, scale, o);
      MixColumns<R>(w, v, dv, d + 8, alpha, scale, o);
      ahead.Ask(1);
    }
  }
};

}  // namespace

void AttendPage(const AttendPageArgs& args) { AttendPages<Tiles>(args); }

}  // namespace quorum::engine::avx2
