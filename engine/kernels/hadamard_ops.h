// Walsh-Hadamard transform over vectors of eight, for the instruction sets with 256-bit registers. Every output of
// every stage is one rounded sum or difference of the same two numbers as in the scalar loops (vmath_scalar.cc), so the
// bits are theirs. Included by the kernel files only; everything has internal linkage. GNU vectors: the compiler has
// the shuffles.
#pragma once

#include <stdint.h>
#include <string.h>

#include "engine/kernels/vmath.h"

namespace quorum::engine {
namespace {

typedef float Eight __attribute__((vector_size(32)));

QUORUM_KERNEL_INLINE Eight LoadEight(const float* p) {
  Eight v;
  memcpy(&v, p, sizeof v);
  return v;
}

QUORUM_KERNEL_INLINE void StoreEight(Eight v, float* p) { memcpy(p, &v, sizeof v); }

/// x[i] +- x[i + 1], x[i + 2], x[i + 4] within a vector: the multiplication by +-1 is exact.
QUORUM_KERNEL_INLINE Eight TransformEight(Eight x) {
  x = __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6) + x * Eight{1, -1, 1, -1, 1, -1, 1, -1};
  x = __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5) + x * Eight{1, 1, -1, -1, 1, 1, -1, -1};
  return __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3) + x * Eight{1, 1, 1, 1, -1, -1, -1, -1};
}

/// Runs of `width`, a power of two and at least 8; n is a multiple of it.
QUORUM_KERNEL_INLINE void HadamardRuns(float* x, int64_t n, int64_t width, float factor) {
  for (int64_t i = 0; i < n; i += 8) StoreEight(TransformEight(LoadEight(x + i)), x + i);
  for (int64_t half = 8; half < width; half *= 2) {
    for (int64_t run = 0; run < n; run += 2 * half) {
      for (int64_t i = run; i < run + half; i += 8) {
        const Eight a = LoadEight(x + i);
        const Eight b = LoadEight(x + i + half);
        StoreEight(a + b, x + i);
        StoreEight(a - b, x + i + half);
      }
    }
  }
  for (int64_t i = 0; i < n && factor != 1; i += 8) StoreEight(LoadEight(x + i) * factor, x + i);
}

}  // namespace
}  // namespace quorum::engine
