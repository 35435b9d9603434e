// From float to the simple block formats, by ggml's reference rounding (`quantize_row_*_ref`): for tests, small
// models and upcycling with noise. It is not a quantizer that searches for the best scale.
#pragma once

#include <cstdint>

#include "quant/dtype.h"

namespace quorum::quant {

/// Whether `Quantize` can make the type: F32, F16, BF16, Q8_0, Q4_0, Q4_1.
bool CanQuantize(DType type);

/// Quantizes `n` floats (a multiple of the block) to `dst`, which has room for BytesOf(type, n) bytes. Equal byte
/// for byte to the `gguf` Python package for finite inputs whose scale is a normal half; other inputs (NaN,
/// infinities, tiny scales) give some valid block. Returns false for types that it cannot make.
bool Quantize(DType type, const float* src, void* dst, std::int64_t n);

}  // namespace quorum::quant
