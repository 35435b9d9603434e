// Products of the formats with integer scales and one float per 256 columns, on AVX-VNNI.
#include "engine/kernels/gemm_two_levels_256.h"
#include "engine/kernels/products_avxvnni.h"

namespace quorum::engine::avxvnni {

void MatMulTwoLevels(const GemmTask& task) { avx2::MatMulTwoLevelsBy<avx2::DpBusd>(task); }

}  // namespace quorum::engine::avxvnni
