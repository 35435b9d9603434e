// The functions that have one implementation an instruction set. Every implementation gives the bits of the scalar
// one (DESIGN 4); the table is chosen once, at start. No STL here: kernel files include only this and intrinsics.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace quorum::engine {

// ---------------------------------------------------------------- quantized matrix products (gemm_*.cc)

/// How a packed matrix stores its values. Layouts: packed_matrix.h.
enum class PackFormat : uint8_t {
  kF32,      // float rows in 16-row panels: F32, F16 and BF16 files (both widen exactly)
  kG32U4,    // w = d*q + m, q in 0..15, float d and m per 32: Q4_0, Q4_1
  kG32S8,    // w = d*q + m, q int8, float d and m per 32: Q8_0, Q5_0, Q5_1, IQ4_NL
  kK256U4,   // w = d*s*q - dmin*z, q in 0..15, integer s, z per 32, float d, dmin per 256: Q4_K
  kK256S8,   // w = d*s*q - dmin*z, q int8, integer s, z per 16, float d, dmin per 256: Q5_K, Q6_K, Q2_K, Q3_K
};

/// A packed (n, k) weight matrix: y[i] = sum_j W[i][j] * x[j]. Rows are interleaved in panels of 16; the last panel
/// is padded with zero rows. Non-owning view.
struct PackedView {
  PackFormat format;
  int64_t n;             // rows (outputs)
  int64_t k;             // columns (inputs)
  int64_t panel_bytes;   // distance of two panels; a multiple of 64
  const uint8_t* panels; // 64-byte aligned; (n + 15) / 16 panels
};

/// Activations of some rows. Integer formats read q/scale/sum; kF32 reads x.
/// Quantized by quantize_rows in blocks of `block` columns (32 or 256, the last block may be shorter).
struct ActView {
  const float* x;        // (rows, k), row stride ld_x floats; only for kF32
  int64_t ld_x;
  const int8_t* q;       // (rows, k), row stride ld_q bytes; |q| <= 127; zero-padded to a multiple of 64 columns
  int64_t ld_q;
  const float* scale;    // (rows, blocks), row stride ld_b
  const int32_t* sum;    // (rows, k/16 groups) sum of q over each 16 columns, row stride ld_s
  int64_t ld_b, ld_s;
};

struct KernelTable {
  const char* name;  // "scalar", "avx2", "avx512"

  /// Bytes, scales and sums of `k` floats in blocks of `block` (32 or 256): scale = max|x| / 127,
  /// q = round-half-even(x / scale by x * (127 / max|x|)), clamped to +-127; an all-zero block has scale 0.
  /// NaN or infinity in x gives unspecified finite q and a scale that is NaN or infinite, never undefined behaviour.
  void (*quantize_row)(const float* x, int64_t k, int64_t block, int8_t* q, float* scale, int32_t* sum);

  /// dst[i][j] = sum over k of act[rows[i]] * w[16 * panel_begin + j], for i < m and all rows j of panels
  /// [panel_begin, panel_end). `rows` may be null (rows 0..m-1). dst row stride is `ld` floats, and column 0 of dst is
  /// row 16 * panel_begin of W. Padding rows of the last panel are written too: dst must have room for whole panels.
  /// Joins blocks in ascending k by fma(float(isum), d_w * d_a, acc), then, where the format has a minimum,
  /// fma(float(asum), m_w * d_a, acc).
  void (*matmul)(const PackedView& w, const ActView& act, const int32_t* rows, int64_t m, int64_t panel_begin,
                 int64_t panel_end, float* dst, int64_t ld);

  // -------------------------------------------------------------- float row operations (vmath_*.cc)
  // Sums use 16 virtual lanes: lane l adds elements l, l+16, ... in ascending order; the lanes are joined by the fixed
  // tree (l, l+8), (l, l+4), (l, l+2), (l, l+1). exp and silu are fixed lists of operations (vmath.h), not libm.

  /// y = x * (1 / sqrt(mean(x^2) + eps)) * weight. y may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* y);
  /// y += x
  void (*add)(const float* x, int64_t n, float* y);
  /// y = fma(a, x, y)
  void (*axpy)(float a, const float* x, int64_t n, float* y);
  /// y = silu(gate) * up, silu(v) = v / (1 + exp(-v)). y may be gate or up.
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* y);
  /// In place: x = exp(x - max) / sum; returns the max. n >= 1.
  float (*softmax)(float* x, int64_t n);
  /// max over x + log(sum(exp(x - max))), n >= 1, for log-probabilities.
  float (*log_sum_exp)(const float* x, int64_t n);
  /// Rotates one head in place by the angles' cosines and sines (n_rot / 2 each). `neox`: pairs (i, i + n_rot/2); else
  /// pairs (2i, 2i + 1). Dimensions from n_rot on stay.
  void (*rope)(float* head, const float* cos, const float* sin, int64_t n_rot, bool neox);

  // -------------------------------------------------------------- attention (attention_*.cc; layouts: kv_layout.h)
  /// Scores and mixes one page for some query rows; see kv_layout.h for the struct and the layouts.
  void (*attend_page)(const struct AttendPageArgs& args);
};

/// The tables; a null pointer where this build or CPU lacks the instruction set.
const KernelTable& ScalarKernels();
const KernelTable* Avx2Kernels();
const KernelTable* Avx512Kernels();

}  // namespace quorum::engine
