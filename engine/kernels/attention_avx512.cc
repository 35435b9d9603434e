// Attention over KV pages on AVX-512 VNNI.
#include "engine/kernels/kernel_impl.h"
#include "engine/kernels/vmath_v16_avx512.h"

#include "engine/kernels/attention_ops.h"

namespace quorum::engine::avx512 {
namespace {

/// Four bytes as one dword.
QUORUM_KERNEL_INLINE __m512i Quad(const void* p) {
  int32_t quad = 0;
  memcpy(&quad, p, sizeof quad);
  return _mm512_set1_epi32(quad);
}

/// acc += dot products of 4 bytes, unsigned times signed. In assembly because g++ 12 copies the accumulators of the
/// intrinsic from register to register in every round of a loop (1.5 times slower).
QUORUM_KERNEL_INLINE __m512i AddDots(__m512i acc, __m512i unsigned_bytes, __m512i signed_bytes) {
#ifdef QUORUM_EMULATED_AVX512  // tests/emulated
  return _mm512_dpbusd_epi32(acc, unsigned_bytes, signed_bytes);
#else
  __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(unsigned_bytes), "v"(signed_bytes));
  return acc;
#endif
}

struct Tiles {
  using V = V16;
  using Query = int8_t;
  using Weight = uint8_t;
  static constexpr int kRows = 6;  // 6 x 4 accumulators, 4 vectors of K or V, a broadcast: 29 of 32 registers
  static constexpr int kCols = 4;

  static QUORUM_KERNEL_INLINE void StoreWeights(V v, Weight* w) { v.StoreLowBytes(w); }

  template <int R>
  static QUORUM_KERNEL_INLINE void ScoreTile(const int8_t* q, int64_t ld_q, const int32_t* start, const uint8_t* k,
                                             int64_t dim, Ahead& ahead, int32_t* s) {
    ahead.Ask(kTokenVectors);
    __m512i acc[size_t{R}][4];
    for (int r = 0; r < R; ++r) {
      for (int c = 0; c < 4; ++c) acc[r][c] = _mm512_set1_epi32(start[r]);
    }
    const int8_t* far = q + 3 * ld_q;  // rows 3 to 5
    const uint8_t* end = k + dim * kTokens;
    do {  // dim > 0; a test in front lets g++ 12 keep the accumulators in memory until then
      __asm__("" : "+r"(far));  // or it keeps an offset for each row, some in vector registers
      __m512i key[4];
      for (int c = 0; c < 4; ++c) key[c] = _mm512_load_si512(k + 64 * c);
      for (int r = 0; r < R; ++r) {
        const __m512i x = Quad((r < 3 ? q : far) + r % 3 * ld_q);
        for (int c = 0; c < 4; ++c) acc[r][c] = AddDots(acc[r][c], key[c], x);
      }
      k += 4 * kTokens;
      q += 4;
      far += 4;
    } while (k < end);
    for (int r = 0; r < R; ++r) {
      for (int c = 0; c < 4; ++c) _mm512_store_si512(s + r * kTokens + 16 * c, acc[r][c]);
    }
  }

  /// `kVectors` vectors of output dimensions from `d` on.
  template <int R, int kVectors>
  static QUORUM_KERNEL_INLINE void MixColumns(const Weight* w, const int8_t* v, int64_t dv, int64_t d,
                                              const float* alpha, const float* scale, float* o) {
    __m512i acc[size_t{R}][size_t{kVectors}];
    for (int r = 0; r < R; ++r) {
      for (int c = 0; c < kVectors; ++c) acc[r][c] = _mm512_setzero_si512();
    }
    for (int64_t t = 0; t < kTokens; t += 4) {
      const int8_t* line = v + t * dv + 4 * d;
      __m512i value[size_t{kVectors}];
      for (int c = 0; c < kVectors; ++c) value[c] = _mm512_load_si512(line + 64 * c);
      for (int r = 0; r < R; ++r) {
        const __m512i x = Quad(w + r * kTokens + t);
        for (int c = 0; c < kVectors; ++c) acc[r][c] = AddDots(acc[r][c], x, value[c]);
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int c = 0; c < kVectors; ++c) {
        float* dst = o + r * dv + d + 16 * c;
        const V sum = {_mm512_cvtepi32_ps(acc[r][c])};
        V::Fma(sum, V::Set(scale[r]), V::Load(dst) * V::Set(alpha[r])).Store(dst);
      }
    }
  }

  template <int R>
  static QUORUM_KERNEL_INLINE void MixTile(const Weight* w, const int8_t* v, int64_t dv, const float* alpha,
                                           const float* scale, Ahead& ahead, float* o) {
    int64_t d = 0;
    for (; d + 64 <= dv; d += 64) {
      ahead.Ask(4);
      MixColumns<R, 4>(w, v, dv, d, alpha, scale, o);
    }
    for (; d < dv; d += 16) {
      ahead.Ask(1);
      MixColumns<R, 1>(w, v, dv, d, alpha, scale, o);
    }
  }
};

}  // namespace

void AttendPage(const AttendPageArgs& args) { AttendPages<Tiles>(args); }

}  // namespace quorum::engine::avx512
