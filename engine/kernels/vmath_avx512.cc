// The float row functions on AVX-512.
#include "engine/kernels/vmath.h"

#include "engine/kernels/kernel_impl.h"
#include "engine/kernels/vmath_v16_avx512.h"

#include "engine/kernels/vmath_ops.h"

namespace quorum::engine::avx512 {

#include "engine/kernels/vmath_rows.inc"

}  // namespace quorum::engine::avx512
