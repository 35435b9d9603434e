// Takes the codes and scales out of a file's quantized blocks without computing anything, so that packing is exact.
// Internal to packed_matrix.cc.
#pragma once

#include <cstdint>

#include "engine/kernels/row_block.h"
#include "quant/dtype.h"

namespace quorum::engine {

/// Reads `groups` groups of 32 columns (8 of them for types with blocks of 256) that start at `src`, in the order of
/// their columns. REQUIRES: `type` is an integer type with a PackFormat.
void ReadFileBlock(quant::DType type, const std::uint8_t* src, std::int64_t groups, RowBlock* row);

}  // namespace quorum::engine
