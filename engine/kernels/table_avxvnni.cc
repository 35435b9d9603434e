// The table of the AVX-VNNI kernels: the products and attention are its own, the rest is AVX2's.
#include "engine/kernels/kernel_impl.h"

namespace quorum::engine::avxvnni {

const KernelTable kTable = {
    .name = "avxvnni",
    .quantize_row = avx2::QuantizeRow,
    .matmul = MatMul,
    .rms_norm = avx2::RmsNorm,
    .layer_norm = avx2::LayerNorm,
    .add = avx2::Add,
    .axpy = avx2::Axpy,
    .swiglu = avx2::SwiGlu,
    .geglu = avx2::GeGlu,
    .clamped_swiglu = avx2::ClampedSwiGlu,
    .softcap = avx2::Softcap,
    .softmax = avx2::Softmax,
    .log_sum_exp = avx2::LogSumExp,
    .rope = avx2::Rope,
    .hadamard = avx2::Hadamard,
    .attend_page = AttendPage,
    .peak_loop = PeakLoop,
    .read_loop = avx2::ReadLoop,
};

}  // namespace quorum::engine::avxvnni
