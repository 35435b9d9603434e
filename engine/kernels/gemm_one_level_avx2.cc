// Products of the formats with one float scale per 32 columns, on AVX2.
#include "engine/kernels/gemm_one_level_256.h"
#include "engine/kernels/products_avx2.h"

namespace quorum::engine::avx2 {

void MatMulOneLevel(const GemmTask& task) { MatMulOneLevelBy<MaddUbs>(task); }

}  // namespace quorum::engine::avx2
