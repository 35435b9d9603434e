// The table of the avx512 kernels.
#include "engine/kernels/kernel_impl.h"

namespace quorum::engine::avx512 {

const KernelTable kTable = {
    .name = "avx512",
    .quantize_row = QuantizeRow,
    .matmul = MatMul,
    .rms_norm = RmsNorm,
    .layer_norm = LayerNorm,
    .add = Add,
    .axpy = Axpy,
    .swiglu = SwiGlu,
    .geglu = GeGlu,
    .clamped_swiglu = ClampedSwiGlu,
    .softcap = Softcap,
    .softmax = Softmax,
    .log_sum_exp = LogSumExp,
    .rope = Rope,
    .hadamard = Hadamard,
    .attend_page = AttendPage,
    .peak_loop = PeakLoop,
    .read_loop = ReadLoop,
};

}  // namespace quorum::engine::avx512
