// The functions behind each KernelTable, one namespace an instruction set. Internal to engine/kernels: everyone else
// goes through the table. Contracts: kernel_table.h. No STL: the files built with per-file flags include this.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/kernel_table.h"
#include "engine/kernels/kv_layout.h"

// gemm_*.cc, act_quant_*.cc: QuantizeRow, MatMul. vmath_*.cc: RmsNorm ... Hadamard. attention_*.cc: AttendPage.
// table_*.cc: kTable, which names them.
#define QUORUM_DECLARE_KERNELS(isa)                                                                                    \
  namespace isa {                                                                                                      \
  void QuantizeRow(const float* x, int64_t k, int64_t block, int8_t* q, float* scale, int32_t* sum);                   \
  void MatMul(const PackedView& w, const ActView& act, const int32_t* rows, int64_t m, int64_t panel_begin,            \
              int64_t panel_end, float* dst, int64_t ld, const uint8_t* next);                                         \
  void RmsNorm(const float* x, const float* weight, float eps, int64_t n, float* y);                                   \
  void LayerNorm(const float* x, const float* weight, const float* bias, float eps, int64_t n, float* y);              \
  void Add(const float* x, int64_t n, float* y);                                                                       \
  void Axpy(float a, const float* x, int64_t n, float* y);                                                             \
  void SwiGlu(const float* gate, const float* up, int64_t step, int64_t n, float* y);                                  \
  void GeGlu(const float* gate, const float* up, int64_t step, int64_t n, float* y);                                   \
  void ClampedSwiGlu(const float* gate, const float* up, int64_t step, float alpha, float limit, int64_t n, float* y); \
  void Softcap(float cap, int64_t n, float* x);                                                                        \
  float Softmax(float* x, int64_t n);                                                                                  \
  double LogSumExp(const float* x, int64_t n);                                                                         \
  void Rope(float* head, const float* cos, const float* sin, int64_t n_rot, bool neox);                                \
  void Hadamard(float* x, int64_t n, float factor);                                                                    \
  void AttendPage(const AttendPageArgs& args);                                                                         \
  int64_t PeakLoop(int64_t iterations);                                                                                \
  uint64_t ReadLoop(const uint8_t* from, int64_t bytes);                                                               \
  extern const KernelTable kTable;                                                                                     \
  }

namespace quorum::engine {

QUORUM_DECLARE_KERNELS(scalar)
QUORUM_DECLARE_KERNELS(avx2)
QUORUM_DECLARE_KERNELS(avx512)

namespace avxvnni {  // the rest is AVX2's
void MatMul(const PackedView& w, const ActView& act, const int32_t* rows, int64_t m, int64_t panel_begin,
            int64_t panel_end, float* dst, int64_t ld, const uint8_t* next);
void AttendPage(const AttendPageArgs& args);
int64_t PeakLoop(int64_t iterations);
extern const KernelTable kTable;
}  // namespace avxvnni

namespace amx {  // the rest is AVX-512's
void MatMul(const PackedView& w, const ActView& act, const int32_t* rows, int64_t m, int64_t panel_begin,
            int64_t panel_end, float* dst, int64_t ld, const uint8_t* next);
int64_t PeakLoop(int64_t iterations);
extern const KernelTable kTable;
}  // namespace amx

}  // namespace quorum::engine

#undef QUORUM_DECLARE_KERNELS
