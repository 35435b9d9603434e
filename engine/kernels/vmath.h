// The elementary functions of the kernels for rows of floats, one set an instruction set with the same bits: what the
// row functions of the table are made of (operation lists: vmath_ops.h). For tests, and for code off the hot path
// that must agree with the kernels without libm. No STL: kernel files include this.
#pragma once

#include <stdint.h>

/// For helpers inside kernel files: always inlined, so that no copy of them is left to the linker.
#define QUORUM_KERNEL_INLINE inline __attribute__((always_inline))

#define QUORUM_DECLARE_VMATH(isa)                               \
  namespace isa {                                               \
  void ExpRow(const float* x, int64_t n, float* y);             \
  void TanhRow(const float* x, int64_t n, float* y);            \
  void LogRow(const float* x, int64_t n, float* y);             \
  }

namespace quorum::engine {

/// y[i] = exp, tanh, log of x[i]; y may be x. Below 2 ulp; log takes denormals as 0.
/// The scalar ones run on any CPU.
QUORUM_DECLARE_VMATH(scalar)
QUORUM_DECLARE_VMATH(avx2)
QUORUM_DECLARE_VMATH(avx512)

}  // namespace quorum::engine

#undef QUORUM_DECLARE_VMATH
