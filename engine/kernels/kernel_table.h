// The functions that have one implementation an instruction set. Every implementation gives the bits of the scalar
// one (DESIGN 4); the table is chosen once, at start. No STL here: kernel files include only this and intrinsics.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace quorum::engine {

// ---------------------------------------------------------------- quantized matrix products (gemm_*.cc)

/// How a packed matrix stores its values; bytes: pack_layout.h. Integer formats need k % 32 == 0, kK256... k % 256 ==
/// 0. Below, d and m are f16 in memory, s and z small integers; nothing is rounded by packing.
enum class PackFormat : uint8_t {
  // Floats, multiplied with float activations.
  kF32,
  kF16,
  kBf16,
  // One float scale per 32 columns; activations in blocks of 32.
  kG32U4,     // w = d*q + m, q in 0..15: Q4_1
  kG32S4,     // w = d*q, q in -8..7: Q4_0
  kG32U5,     // w = d*q + m, q in 0..31: Q5_1
  kG32S5,     // w = d*q, q in -16..15: Q5_0
  kG32S8,     // w = d*q, q int8: Q8_0
  kG32Iq4,    // w = d*q, q one of 16 int8: IQ4_NL
  kG32Mxfp4,  // w = d*q, q one of 15 integers in -12..12, d a power of two in one byte: MXFP4
  // Integer scales per 32 or 16 columns and floats d, dmin per 256; activations in blocks of 256.
  kK256U2,   // w = d*s*q - dmin*z, q in 0..3, s and z per 16: Q2_K
  kK256S3,   // w = d*s*q, q in -4..3, s per 16: Q3_K
  kK256U4,   // w = d*s*q - dmin*z, q in 0..15, s and z per 32: Q4_K
  kK256X4,   // w = d*(s*q - z), q in 0..15, s and z per 32, z and |s*q - z| at most 127: Q4_K that is int8-exact
  kK256Iq4,  // w = d*s*q, q one of 16 int8, s per 32: IQ4_XS
  kK256U5,   // w = d*s*q - dmin*z, q in 0..31, s and z per 32: Q5_K
  kK256S6,   // w = d*s*q, q in -32..31, s per 16: Q6_K
};

/// A packed (n, k) weight matrix: y[i] = sum_j W[i][j] * x[j]. Rows are interleaved in panels of 16; the last panel
/// is padded with zero rows. Non-owning view.
struct PackedView {
  PackFormat format;
  int64_t n;              // rows (outputs)
  int64_t k;              // columns (inputs)
  int64_t panel_bytes;    // distance of two panels; a multiple of 64
  const uint8_t* panels;  // 64-byte aligned; (n + 15) / 16 panels
};

/// Activations of some rows. Integer formats read q/scale/sum; kF32, kF16 and kBf16 read x.
/// Quantized by quantize_row in blocks of ActBlock(format) columns (32 or 256, the last block may be shorter).
struct ActView {
  const float* x;  // (rows, k), row stride ld_x floats; only for the float formats
  int64_t ld_x;
  const int8_t* q;  // (rows, k), row stride ld_q bytes; |q| <= 127; read to column k, no padding needed
  int64_t ld_q;
  const float* scale;  // (rows, blocks), row stride ld_b
  const int32_t* sum;  // (rows, k/16 groups) sum of q over each 16 columns, row stride ld_s
  int64_t ld_b, ld_s;
};

/// The largest power of two that divides n: what KernelTable::hadamard mixes with each other.
static constexpr int64_t HadamardWidth(int64_t n) { return n & -n; }

struct KernelTable {
  const char* name;  // "scalar", "avx2", "avx512", "amx"

  /// Bytes, scales and sums of `k` floats (k % 32 == 0) in blocks of `block` (32 or 256): scale = max|x| / 127,
  /// q = round-half-even(x * (127 / max|x|)), clamped to +-127. Where max|x| < 2^-120, so that 127 / max|x| could
  /// overflow, the block counts as zero: scale 0, q 0. NaN or infinity in x: scale is NaN or infinite, q 0.
  void (*quantize_row)(const float* x, int64_t k, int64_t block, int8_t* q, float* scale, int32_t* sum);

  /// dst[i][j] = sum over k of act[rows[i]] * w[16 * panel_begin + j], for i < m and all rows j of panels
  /// [panel_begin, panel_end). `rows` may be null (rows 0..m-1). dst row stride is `ld` floats, and column 0 of dst is
  /// row 16 * panel_begin of W. Padding rows of the last panel are written too: dst must have room for whole panels.
  /// With one-level scales, each group of 32 in ascending k does
  ///     acc = fma(float(sum of q_w * q_a), d * d_a, acc)
  ///     acc = fma(m, d_a * float(sum of q_a), acc)                    where the format has m
  /// and with two levels each block of 256 in ascending k
  ///     acc = fma(float(sum of s * q_w * q_a), d * d_a, acc)
  ///     acc = fma(-float(sum of z * q_a), dmin * d_a, acc)            where the format has dmin
  /// or, int8-exact,
  ///     acc = fma(float(sum of (s * q_w - z) * q_a), d * d_a, acc)
  /// with exact integer sums; float formats do acc = fma(w, x, acc) for each k. acc starts at +0.
  /// `next` is a hint: where the panels lie that this thread will probably multiply with next, which kernels may ask
  /// the memory for towards their end. Null: not known.
  void (*matmul)(const PackedView& w, const ActView& act, const int32_t* rows, int64_t m, int64_t panel_begin,
                 int64_t panel_end, float* dst, int64_t ld, const uint8_t* next);

  // -------------------------------------------------------------- float row operations (vmath_*.cc)
  // Sums use 16 virtual lanes: lane l adds elements l, l+16, ... in ascending order; the lanes are joined by the fixed
  // tree (l, l+8), (l, l+4), (l, l+2), (l, l+1). exp and silu are fixed lists of operations (vmath.h), not libm.

  /// y = x * (1 / sqrt(mean(x^2) + eps)) * weight. y may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* y);
  /// y = fma((x - mean(x)) * (1 / sqrt(mean((x - mean(x))^2) + eps)), weight, bias). y may be x.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y);
  /// y += x
  void (*add)(const float* x, int64_t n, float* y);
  /// y = fma(a, x, y)
  void (*axpy)(float a, const float* x, int64_t n, float* y);
  // Of gate and up, each 16 columns lie `step` floats behind the last: 16 in one row, 32 where they alternate. y is one
  // row, and may be gate or up if they are.
  /// y = silu(gate) * up, silu(v) = v / (1 + exp(-v)).
  void (*swiglu)(const float* gate, const float* up, int64_t step, int64_t n, float* y);
  /// y = gelu(gate) * up, gelu(v) = v / (1 + exp(-2 t)), t = sqrt(2/pi) (v + 0.044715 v^3): the tanh form of GELU.
  void (*geglu)(const float* gate, const float* up, int64_t step, int64_t n, float* y);
  /// With g = min(gate, limit) and u = up clamped to +-limit: y = g / (1 + exp(-alpha g)) * (u + 1).
  void (*clamped_swiglu)(const float* gate, const float* up, int64_t step, float alpha, float limit, int64_t n,
                         float* y);
  /// In place: x = cap * tanh(x / cap).
  void (*softcap)(float cap, int64_t n, float* x);
  /// In place: x = exp(x - max) / sum; returns the max. n >= 1.
  float (*softmax)(float* x, int64_t n);
  /// max over x + log(sum(exp(x - max))), n >= 1, for log-probabilities; within 5e-7 plus 1e-7 of the logarithm.
  double (*log_sum_exp)(const float* x, int64_t n);
  /// Rotates one head in place by the angles' cosines and sines (n_rot / 2 each). `neox`: pairs (i, i + n_rot/2); else
  /// pairs (2i, 2i + 1). Dimensions from n_rot on stay.
  void (*rope)(float* head, const float* cos, const float* sin, int64_t n_rot, bool neox);

  /// In place: each run of HadamardWidth(n) numbers becomes factor times its Walsh-Hadamard transform, the butterflies
  /// in the order 1, 2, 4, ... H H = width, so x.y = (H x / width).(H y). `factor` is a power of two.
  void (*hadamard)(float* x, int64_t n, float factor);

  // -------------------------------------------------------------- attention (attention_*.cc; layouts: kv_layout.h)
  /// Attends one or more pages for some query rows, and joins states; see kv_layout.h for the struct and the layouts.
  void (*attend_page)(const struct AttendPageArgs& args);

  /// The int8 products of `matmul` alone, on registers: what a core can do at most. Returns how many operations these
  /// were, two a multiplication.
  int64_t (*peak_loop)(int64_t iterations);
  /// Reads `bytes` bytes, a multiple of 256, as fast as a core can; returns the XOR of their 64-bit words.
  uint64_t (*read_loop)(const uint8_t* from, int64_t bytes);
};

/// The tables; a null pointer where this build or CPU lacks the instruction set.
const KernelTable& ScalarKernels();
const KernelTable* Avx2Kernels();
const KernelTable* AvxVnniKernels();
const KernelTable* Avx512Kernels();
const KernelTable* AmxKernels();

}  // namespace quorum::engine
