// Attention over KV pages in plain C++: the golden model.
#include "engine/kernels/kernel_impl.h"
#include "engine/kernels/vmath_v16_scalar.h"

#include "engine/kernels/attention_ops.h"

namespace quorum::engine::scalar {
namespace {

struct Tiles {
  using V = V16;
  using Query = int8_t;
  using Weight = uint8_t;
  static constexpr int kRows = 1;
  static constexpr int kCols = 4;

  static QUORUM_KERNEL_INLINE void StoreWeights(V v, Weight* w) { v.StoreLowBytes(w); }

  template <int R>
  static void ScoreTile(const int8_t* q, int64_t ld_q, const int32_t* start, const uint8_t* k, int64_t dim,
                        Ahead& ahead, int32_t* s) {
    ahead.Ask(kTokenVectors);
    for (int r = 0; r < R; ++r) {
      int32_t* row = s + r * kTokens;
      for (int64_t t = 0; t < kTokens; ++t) row[t] = start[r];
      for (int64_t d = 0; d < dim; ++d) {
        const int32_t x = q[r * ld_q + d];
        const uint8_t* key = k + d / 4 * 4 * kTokens + d % 4;
        for (int64_t t = 0; t < kTokens; ++t) row[t] += x * key[4 * t];
      }
    }
  }

  template <int R>
  static void MixTile(const Weight* w, const int8_t* v, int64_t dv, const float* alpha, const float* scale,
                      Ahead& ahead, float* o) {
    ahead.Ask(dv / 16);
    for (int r = 0; r < R; ++r) {
      for (int64_t d = 0; d < dv; d += 16) {
        int32_t sum[16] = {};
        for (int64_t t = 0; t < kTokens; ++t) {
          const int8_t* value = v + (t / 4 * dv + d) * 4 + t % 4;
          for (int i = 0; i < 16; ++i) sum[i] += w[r * kTokens + t] * value[4 * i];
        }
        float* dst = o + r * dv + d;
        V::Fma(V::LoadInt32(sum), V::Set(scale[r]), V::Load(dst) * V::Set(alpha[r])).Store(dst);
      }
    }
  }
};

}  // namespace

void AttendPage(const AttendPageArgs& args) { AttendPages<Tiles>(args); }

}  // namespace quorum::engine::scalar
