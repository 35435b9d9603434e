// Matrices that lie in a file in other ways than row after row, as TensorRefs. Nothing is copied until rows are read.
#pragma once

#include <cstdint>
#include <string>

#include "engine/base/result.h"
#include "engine/model_tensors.h"
#include "quant/dtype.h"

namespace quorum::engine {

/// Rows first, first + step, ... (`count` of them) of `matrix`, called `name` in messages. REQUIRES: they are there.
TensorRef RowsOf(const TensorRef& matrix, std::string name, std::int64_t first, std::int64_t count,
                 std::int64_t step = 1);

/// Entries first, first + step, ... (`count` of them) of a vector of an unquantized type. REQUIRES: they are there.
TensorRef EntriesOf(const TensorRef& vector, std::string name, std::int64_t first, std::int64_t count,
                    std::int64_t step);

/// The transpose (cols, rows) of a matrix of an unquantized type. REQUIRES: IsUnquantized(matrix.type).
TensorRef Transposed(const TensorRef& matrix);

/// The same values rounded to `type`, of which quant::Quantize knows how to make it (`matrix` itself where it is of
/// that type). REQUIRES: quant::CanQuantize(type) and whole blocks of it in a row.
TensorRef ConvertedTo(const TensorRef& matrix, quant::DType type);

/// F32, F16, BF16 or F64: one element, one number.
bool IsUnquantized(quant::DType type);

}  // namespace quorum::engine
