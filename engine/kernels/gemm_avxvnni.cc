// The matrix products on AVX-VNNI: sends a product to the file for its kind of format.
#include "engine/kernels/gemm_driver.h"
#include "engine/kernels/kernel_impl.h"

namespace quorum::engine::avxvnni {

void MatMul(const PackedView& w, const ActView& act, const int32_t* rows, int64_t m, int64_t panel_begin,
            int64_t panel_end, float* dst, int64_t ld, const uint8_t* next) {
  const GemmTask task = {w, act, rows, m, panel_begin, panel_end, dst, ld, next};
  const PackTraits traits = TraitsOf(w.format);
  if (traits.payload == Payload::kNone) return avx2::MatMulFloat(task);
  if (IsTwoLevel(traits.scales)) return MatMulTwoLevels(task);
  MatMulOneLevel(task);
}

}  // namespace quorum::engine::avxvnni
