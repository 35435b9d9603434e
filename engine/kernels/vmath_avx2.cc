// The float row functions on AVX2 and FMA.
#include "engine/kernels/vmath.h"

#include "engine/kernels/kernel_impl.h"
#include "engine/kernels/vmath_v16_avx2.h"

#include "engine/kernels/vmath_ops.h"

namespace quorum::engine::avx2 {

#include "engine/kernels/vmath_rows.inc"

}  // namespace quorum::engine::avx2
