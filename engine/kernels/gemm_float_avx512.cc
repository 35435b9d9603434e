// Products with float weights on AVX-512. Each lane adds its products in ascending k, so nothing crosses lanes and
// speed comes from several rows and panels at once.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/gemm_driver.h"
#include "engine/kernels/pack_layout.h"

namespace quorum::engine::avx512 {
namespace {

constexpr int64_t kTileRows = 6;  // with 4 panels: 24 sums, 4 weights and an activation of 32 registers

template <PackFormat format>
inline __attribute__((always_inline)) __m512 LoadWeights(const uint8_t* panel, int64_t column) {
  if constexpr (format == PackFormat::kF32) {
    return _mm512_loadu_ps(panel + column * kLanes * 4);
  } else {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(panel + column * kLanes * 2));
    if constexpr (format == PackFormat::kF16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
  }
}

/// Asks for lines ahead of the one of each panel that starts with `column` (PrefetchAhead says why).
template <PackFormat format, size_t P>
static inline void AskAhead(const uint8_t* const (&w)[P], int64_t column, const Distances& ahead) {
  constexpr int64_t kColumnBytes = kLanes * (format == PackFormat::kF32 ? 4 : 2);
  if (column * kColumnBytes % kLineBytes != 0) return;
  for (size_t p = 0; p < P; ++p) PrefetchAhead(w[p] + column * kColumnBytes, kLineBytes, ahead);
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
  __m512 acc[R][P];
  for (size_t i = 0; i < R; ++i) {
    for (size_t p = 0; p < P; ++p) acc[i][p] = _mm512_setzero_ps();
  }
  // Only the first rows bring panels from memory, which share the distance ahead; and one row of eight panels of f32
  // is so little work that the processor's own prefetcher keeps up.
  constexpr bool kAsks = R > 1 || P < 8 || format != PackFormat::kF32;
  constexpr int64_t kShare = static_cast<int64_t>(P);
  const Distances ahead = {kAhead / kShare, kNear / kShare};
  for (int64_t column = 0; column < t.w.k; ++column) {
    if (kAsks && first == 0) AskAhead<format>(w, column, ahead);
    __m512 weights[P];
#pragma GCC unroll 8
    for (size_t p = 0; p < P; ++p) weights[p] = LoadWeights<format>(w[p], column);
#pragma GCC unroll 8
    for (size_t i = 0; i < R; ++i) {
      const __m512 value = _mm512_set1_ps(x[i][column]);
#pragma GCC unroll 8
      for (size_t p = 0; p < P; ++p) acc[i][p] = _mm512_fmadd_ps(weights[p], value, acc[i][p]);
    }
  }
  float* dst = t.dst + first * t.ld + (panel - t.panel_begin) * kLanes;
  for (size_t i = 0; i < R; ++i) {
    for (size_t p = 0; p < P; ++p) _mm512_storeu_ps(dst + p * kLanes, acc[i][p]);
    dst += t.ld;
  }
}

/// Rows [first, first + count), count <= R, times P panels.
template <PackFormat format, size_t R, size_t P>
void TileUpTo(const GemmTask& t, int64_t panel, int64_t first, int64_t count) {
  if (count == static_cast<int64_t>(R)) {
    MultiplyTile<format, R, P>(t, panel, first);
  } else if constexpr (R > 1) {
    TileUpTo<format, R - 1, P>(t, panel, first, count);
  }
}

/// All rows times P panels, in tiles of nearly equal height.
template <PackFormat format, size_t P>
void MultiplyPanels(const GemmTask& t, int64_t panel) {
  const int64_t tiles = (t.m + kTileRows - 1) / kTileRows;
  int64_t first = 0;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t count = t.m / tiles + (tile < t.m % tiles ? 1 : 0);
    TileUpTo<format, kTileRows, P>(t, panel, first, count);
    first += count;
  }
}

template <PackFormat format>
void MultiplyFloat(const GemmTask& t) {
  int64_t panel = t.panel_begin;
  // One or two rows alone are too few chains for the latency of fma: more panels at once.
  for (; t.m == 1 && panel + 8 <= t.panel_end; panel += 8) MultiplyTile<format, 1, 8>(t, panel, 0);
  for (; t.m == 2 && panel + 8 <= t.panel_end; panel += 8) MultiplyTile<format, 2, 8>(t, panel, 0);
  for (; panel + 4 <= t.panel_end; panel += 4) MultiplyPanels<format, 4>(t, panel);
  for (; panel + 2 <= t.panel_end; panel += 2) MultiplyPanels<format, 2>(t, panel);
  for (; panel < t.panel_end; ++panel) MultiplyPanels<format, 1>(t, panel);
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

}  // namespace quorum::engine::avx512
