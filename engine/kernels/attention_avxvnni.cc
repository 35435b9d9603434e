// Attention over KV pages on AVX-VNNI.
#include "engine/kernels/kernel_impl.h"
#include "engine/kernels/vmath_v16_avx2.h"

#include "engine/kernels/attention_ops.h"

namespace quorum::engine::avxvnni {
namespace {

struct Tiles {
  using V = avx2::V16;
  using Query = int8_t;
  using Weight = uint8_t;
  static constexpr int kRows = 4;
  static constexpr int kCols = 1;  // 4 x 1 vectors of two registers: 8 accumulators

  static QUORUM_KERNEL_INLINE void StoreWeights(V v, Weight* w) { v.StoreLowBytes(w); }

  /// acc[h] += dot products of 4 bytes, unsigned times signed; `x` are those that all lanes share.
  template <bool lines_signed>
  static QUORUM_KERNEL_INLINE void AddDots(const __m256i (&line)[2], const void* x, __m256i (&acc)[2]) {
    int32_t quad = 0;
    memcpy(&quad, x, sizeof quad);
    const __m256i shared = _mm256_set1_epi32(quad);
    for (int h = 0; h < 2; ++h) {
      acc[h] = lines_signed ? _mm256_dpbusd_avx_epi32(acc[h], shared, line[h])
                            : _mm256_dpbusd_avx_epi32(acc[h], line[h], shared);
      __asm__("" : "+x"(acc[h]));  // or g++ 12 copies the accumulators from register to register
    }
  }

  /// acc[r] += 16 lanes' sums over `quads` of four products each: x[r][4 * i + j] times byte 4 * lane + j of line i.
  template <int R, bool lines_signed>
  static QUORUM_KERNEL_INLINE void SumQuads(const void* x, int64_t ld_x, const void* lines, int64_t line_bytes,
                                            int64_t quads, __m256i (&acc)[size_t{R}][2]) {
    for (int64_t i = 0; i < quads; ++i) {
      const auto* at = reinterpret_cast<const __m256i*>(static_cast<const int8_t*>(lines) + i * line_bytes);
      const __m256i line[2] = {_mm256_load_si256(at), _mm256_load_si256(at + 1)};
      for (int r = 0; r < R; ++r) {
        AddDots<lines_signed>(line, static_cast<const int8_t*>(x) + r * ld_x + 4 * i, acc[r]);
      }
    }
  }

  template <int R>
  static QUORUM_KERNEL_INLINE void ScoreTile(const int8_t* q, int64_t ld_q, const int32_t* start, const uint8_t* k,
                                             int64_t dim, Ahead& ahead, int32_t* s) {
    for (int64_t token = 0; token < kTokens; token += 16) {
      __m256i acc[size_t{R}][2];
      for (int r = 0; r < R; ++r) acc[r][0] = acc[r][1] = _mm256_set1_epi32(start[r]);
      SumQuads<R, false>(q, ld_q, k + 4 * token, 4 * kTokens, dim / 4, acc);
      for (int r = 0; r < R; ++r) {
        auto* to = reinterpret_cast<__m256i*>(s + r * kTokens + token);
        _mm256_store_si256(to, acc[r][0]);
        _mm256_store_si256(to + 1, acc[r][1]);
      }
      ahead.Ask(1);
    }
  }

  template <int R>
  static QUORUM_KERNEL_INLINE void MixTile(const Weight* w, const int8_t* v, int64_t dv, const float* alpha,
                                           const float* scale, Ahead& ahead, float* o) {
    for (int64_t d = 0; d < dv; d += 16) {
      __m256i acc[size_t{R}][2];
      for (int r = 0; r < R; ++r) acc[r][0] = acc[r][1] = _mm256_setzero_si256();
      SumQuads<R, true>(w, kTokens, v + 4 * d, 4 * dv, kTokens / 4, acc);
      for (int r = 0; r < R; ++r) {
        float* dst = o + r * dv + d;
        const V sum = {_mm256_cvtepi32_ps(acc[r][0]), _mm256_cvtepi32_ps(acc[r][1])};
        V::Fma(sum, V::Set(scale[r]), V::Load(dst) * V::Set(alpha[r])).Store(dst);
      }
      ahead.Ask(1);
    }
  }
};

}  // namespace

void AttendPage(const AttendPageArgs& args) { AttendPages<Tiles>(args); }

}  // namespace quorum::engine::avxvnni
