// The float row functions on AVX2 and FMA.
#include "engine/kernels/vmath.h"

#include "engine/kernels/hadamard_ops.h"
#include "engine/kernels/kernel_impl.h"
#include "engine/kernels/vmath_v16_avx2.h"

#include "engine/kernels/vmath_ops.h"

namespace quorum::engine::avx2 {

#include "engine/kernels/vmath_rows.inc"

void Hadamard(float* x, int64_t n, float factor) {
  const int64_t width = HadamardWidth(n);
  if (width < 8) return scalar::Hadamard(x, n, factor);
  HadamardRuns(x, n, width, factor);
}

}  // namespace quorum::engine::avx2
