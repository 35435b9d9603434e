// Products of the formats with integer scales and one float per 256 columns, on AVX2.
#include "engine/kernels/gemm_two_levels_256.h"
#include "engine/kernels/products_avx2.h"

namespace quorum::engine::avx2 {

void MatMulTwoLevels(const GemmTask& task) { MatMulTwoLevelsBy<MaddUbs>(task); }

}  // namespace quorum::engine::avx2
