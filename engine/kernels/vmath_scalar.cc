// The float row functions in plain C++: the golden model.
#include "engine/kernels/vmath.h"

#include "engine/kernels/kernel_impl.h"
#include "engine/kernels/vmath_v16_scalar.h"

#include "engine/kernels/vmath_ops.h"

namespace quorum::engine::scalar {

#include "engine/kernels/vmath_rows.inc"

void Hadamard(float* x, int64_t n, float factor) {
  for (int64_t half = 1; half < HadamardWidth(n); half *= 2) {
    for (int64_t run = 0; run < n; run += 2 * half) {
      for (int64_t i = run; i < run + half; ++i) {
        const float a = x[i];
        const float b = x[i + half];
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

}  // namespace quorum::engine::scalar
