// The matrix products on avx2: forwards to the golden model until the vector form lands.
#include "engine/kernels/kernel_impl.h"

namespace quorum::engine::avx2 {

void MatMul(const PackedView& w, const ActView& act, const int32_t* rows, int64_t m, int64_t panel_begin,
            int64_t panel_end, float* dst, int64_t ld) {
  scalar::MatMul(w, act, rows, m, panel_begin, panel_end, dst, ld);
}

void QuantizeRow(const float* x, int64_t k, int64_t block, int8_t* q, float* scale, int32_t* sum) {
  scalar::QuantizeRow(x, k, block, q, scale, sum);
}

}  // namespace quorum::engine::avx2
