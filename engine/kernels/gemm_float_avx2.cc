// Products with float weights on AVX2. Each lane adds its products in ascending k, so nothing crosses lanes and speed
// comes from several rows and panels at once.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/gemm_driver.h"
#include "engine/kernels/payload_avx2.h"

namespace quorum::engine::avx2 {
namespace {

constexpr int64_t kTileRows = 5;  // 10 sums, 5 activations and a weight fill the 16 registers

/// 8 weights of one column, from lane 8 * half on.
template <PackFormat format>
QUORUM_INLINE __m256 LoadWeights(const uint8_t* panel, int64_t column, size_t half) {
  const int64_t at = column * kLanes + static_cast<int64_t>(half) * kHalfLanes;
  if constexpr (format == PackFormat::kF32) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(panel) + at);
  } else if constexpr (format == PackFormat::kF16) {
    return LoadHalves(panel + 2 * at);
  } else {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(panel + 2 * at));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
}

/// acc[i][h] += the products of columns [begin, end). Meanwhile the second-level cache gets what lies `ahead` of each
/// panel's bytes, if it `asks` (PrefetchAhead says why there).
template <PackFormat format, bool asks, size_t R, size_t P>
QUORUM_INLINE void AddColumns(const float* const (&x)[R], const uint8_t* const (&w)[P], int64_t begin, int64_t end,
                              int64_t ahead, __m256 (&acc)[R][2 * P]) {
  constexpr int64_t kColumnBytes = kLanes * (format == PackFormat::kF32 ? 4 : 2);
  for (int64_t column = begin; column < end; ++column) {
    if (asks && column * kColumnBytes % kLineBytes == 0) {
      for (size_t p = 0; p < P; ++p) {
        _mm_prefetch(reinterpret_cast<const char*>(w[p] + column * kColumnBytes + ahead), _MM_HINT_T1);
      }
    }
    __m256 value[R];
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) value[i] = _mm256_set1_ps(x[i][column]);
#pragma GCC unroll 8
    for (size_t h = 0; h < 2 * P; ++h) {
      const __m256 weights = LoadWeights<format>(w[h / 2], column, h % 2);
#pragma GCC unroll 8
      for (size_t i = 0; i < R; ++i) acc[i][h] = _mm256_fmadd_ps(weights, value[i], acc[i][h]);
    }
  }
}

/// Rows [first, first + R) times panels [panel, panel + P).
template <PackFormat format, size_t R, size_t P>
void MultiplyTile(const GemmTask& t, int64_t panel, int64_t first) {
  const float* x[R];
  for (size_t i = 0; i < R; ++i) {
    const int64_t at = first + static_cast<int64_t>(i);
    x[i] = t.act.x + (t.rows == nullptr ? at : t.rows[at]) * t.act.ld_x;
  }
  const uint8_t* w[P];
  for (size_t p = 0; p < P; ++p) w[p] = t.w.panels + (panel + static_cast<int64_t>(p)) * t.w.panel_bytes;
  __m256 acc[R][2 * P];
  for (size_t i = 0; i < R; ++i) {
    for (size_t h = 0; h < 2 * P; ++h) acc[i][h] = _mm256_setzero_ps();
  }
  // Only the first rows bring panels from memory, and the processor's own prefetcher keeps up with few operations a
  // byte.
  constexpr bool kAsks = P == 1 || (P == 2 && format != PackFormat::kF32);
  if (!kAsks || first > 0) {
    AddColumns<format, false>(x, w, 0, t.w.k, 0, acc);
  } else {  // the last columns ask for the start of what comes behind these panels, which share the distance
    constexpr int64_t kEach = kAhead / static_cast<int64_t>(P);
    const int64_t near = t.w.panel_bytes > kEach ? t.w.k - t.w.k * kEach / t.w.panel_bytes : 0;
    AddColumns<format, true>(x, w, 0, near, kEach, acc);
    const int64_t behind = AheadOf(t, w[P - 1] + t.w.panel_bytes - kEach, kEach);
    AddColumns<format, true>(x, w, near, t.w.k, behind + static_cast<int64_t>(P - 1) * t.w.panel_bytes, acc);
  }
  float* dst = t.dst + first * t.ld + (panel - t.panel_begin) * kLanes;
  for (size_t i = 0; i < R; ++i) {
    for (size_t h = 0; h < 2 * P; ++h) _mm256_storeu_ps(dst + h * kHalfLanes, acc[i][h]);
    dst += t.ld;
  }
}

/// Rows [first, first + count), count <= R, times one panel.
template <PackFormat format, size_t R>
void TileUpTo(const GemmTask& t, int64_t panel, int64_t first, int64_t count) {
  if (count == static_cast<int64_t>(R)) {
    MultiplyTile<format, R, 1>(t, panel, first);
  } else if constexpr (R > 1) {
    TileUpTo<format, R - 1>(t, panel, first, count);
  }
}

/// All rows times one panel, in tiles of nearly equal height.
template <PackFormat format>
void MultiplyPanel(const GemmTask& t, int64_t panel) {
  const int64_t tiles = (t.m + kTileRows - 1) / kTileRows;
  int64_t first = 0;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t count = t.m / tiles + (tile < t.m % tiles ? 1 : 0);
    TileUpTo<format, kTileRows>(t, panel, first, count);
    first += count;
  }
}

template <PackFormat format>
void MultiplyFloat(const GemmTask& t) {
  int64_t panel = t.panel_begin;
  // One or two rows alone are too few chains for the latency of fma: more panels at once.
  for (; t.m == 1 && panel + 4 <= t.panel_end; panel += 4) MultiplyTile<format, 1, 4>(t, panel, 0);
  for (; t.m == 2 && panel + 2 <= t.panel_end; panel += 2) MultiplyTile<format, 2, 2>(t, panel, 0);
  for (; panel < t.panel_end; ++panel) MultiplyPanel<format>(t, panel);
}

}  // namespace

void MatMulFloat(const GemmTask& task) {
  switch (task.w.format) {
    case PackFormat::kF32: return MultiplyFloat<PackFormat::kF32>(task);
    case PackFormat::kF16: return MultiplyFloat<PackFormat::kF16>(task);
    case PackFormat::kBf16: return MultiplyFloat<PackFormat::kBf16>(task);
    default: return;
  }
}

}  // namespace quorum::engine::avx2
