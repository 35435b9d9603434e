// Packs a weight matrix from a file's rows into 16-row panels: one resident copy that serves decode and prefill on
// every instruction set (DESIGN 5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "engine/base/result.h"
#include "engine/kernels/kernel_table.h"
#include "quant/dtype.h"

namespace quorum::engine {

inline constexpr int64_t kPanelRows = 16;

/// The packed form of a file type, or nothing where there is none.
std::optional<PackFormat> PackFormatOf(quant::DType type);

/// The format for rows of `type` that keep to more than it asks for (ExactRows), or nothing: the same bytes a panel and
/// the same values as PackFormatOf's, with less to compute.
std::optional<PackFormat> ExactFormatOf(quant::DType type);
/// Whether `n` rows of `k` columns, of a type with an ExactFormatOf, keep to it. False for rows that PackMatrix refuses.
bool ExactRows(quant::DType type, const void* src, int64_t n, int64_t k);

/// The activation block of a format: 32 (one-level scales), 256 (two levels), 0 (float formats).
int64_t ActBlock(PackFormat format);

/// Bytes of one panel of 16 rows (a multiple of 64).
int64_t PanelBytes(PackFormat format, int64_t k);
/// Bytes of a packed (n, k) matrix.
int64_t PackedBytes(PackFormat format, int64_t n, int64_t k);

/// Packs rows of a (n, k) matrix of `type` into panels of `format`, its PackFormatOf or, of ExactRows, its
/// ExactFormatOf, at `dst` (64-byte aligned, PackedBytes long). `src` holds the rows one after the other as in the
/// file; padding rows become zero. Panels are independent: threads may pack ranges of rows that start at multiples
/// of 16. Exact: UnpackRow gives the same floats as quant::Dequantize, so nothing is rounded. Errors: kUnsupported (no
/// packed form), kInvalidArgument (k is not a multiple of the type's block).
Status PackMatrix(quant::DType type, PackFormat format, const void* src, int64_t n, int64_t k, uint8_t* dst);
/// The same into PackFormatOf(type).
Status PackMatrix(quant::DType type, const void* src, int64_t n, int64_t k, uint8_t* dst);

/// Packs gate and up, each (n, k) of the same type, so that panel 2p is gate's panel p and 2p+1 is up's: a task then
/// holds matching rows of both. `dst` has 2 * PackedBytes(n, k).
Status PackGateUp(quant::DType type, PackFormat format, const void* gate, const void* up, int64_t n, int64_t k,
                  uint8_t* dst);

/// Row i of a packed matrix as floats: the inverse of packing, for tests, embeddings and the reference.
void UnpackRow(const PackedView& view, int64_t i, float* dst);

}  // namespace quorum::engine
