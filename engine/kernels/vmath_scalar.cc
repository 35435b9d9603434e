// The float row functions in plain C++: the golden model.
#include "engine/kernels/vmath.h"

#include "engine/kernels/kernel_impl.h"
#include "engine/kernels/vmath_v16_scalar.h"

#include "engine/kernels/vmath_ops.h"

namespace quorum::engine::scalar {

#include "engine/kernels/vmath_rows.inc"

}  // namespace quorum::engine::scalar
