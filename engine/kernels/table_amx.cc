// The table of the AMX kernels: every CPU with AMX has AVX-512 VNNI, whose kernels do all but products of many rows.
#include "engine/kernels/kernel_impl.h"

namespace quorum::engine::amx {

const KernelTable kTable = {
    .name = "amx",
    .quantize_row = avx512::QuantizeRow,
    .matmul = MatMul,
    .rms_norm = avx512::RmsNorm,
    .layer_norm = avx512::LayerNorm,
    .add = avx512::Add,
    .axpy = avx512::Axpy,
    .swiglu = avx512::SwiGlu,
    .geglu = avx512::GeGlu,
    .clamped_swiglu = avx512::ClampedSwiGlu,
    .softcap = avx512::Softcap,
    .softmax = avx512::Softmax,
    .log_sum_exp = avx512::LogSumExp,
    .rope = avx512::Rope,
    .hadamard = avx512::Hadamard,
    .attend_page = avx512::AttendPage,
    .peak_loop = PeakLoop,
    .read_loop = avx512::ReadLoop,
};

}  // namespace quorum::engine::amx
