// Products of the formats with one float scale per 32 columns, on AVX-VNNI.
#include "engine/kernels/gemm_one_level_256.h"
#include "engine/kernels/products_avxvnni.h"

namespace quorum::engine::avxvnni {

void MatMulOneLevel(const GemmTask& task) { avx2::MatMulOneLevelBy<avx2::DpBusd>(task); }

}  // namespace quorum::engine::avxvnni
