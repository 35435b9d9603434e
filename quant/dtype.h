// Element types of tensors in files. The numbers are GGML's, as stored in GGUF: do not change them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace quorum::quant {

enum class DType : std::uint32_t {
  kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ4_1 = 3, kQ5_0 = 6, kQ5_1 = 7, kQ8_0 = 8, kQ8_1 = 9,
  kQ2_K = 10, kQ3_K = 11, kQ4_K = 12, kQ5_K = 13, kQ6_K = 14, kQ8_K = 15,
  kIQ4_NL = 20, kIQ4_XS = 23, kI8 = 24, kI16 = 25, kI32 = 26, kI64 = 27, kF64 = 28, kBF16 = 30, kMXFP4 = 39,
};

/// Shape of a type's storage: `block` elements in `bytes` bytes.
struct DTypeInfo {
  DType type;
  std::string_view name;  // as llama.cpp prints it: "Q4_K"
  std::int64_t block;
  std::int64_t bytes;
};

/// The description of a type, or nothing for a number that is not known.
std::optional<DTypeInfo> FindDType(std::uint32_t ggml_number);
const DTypeInfo& Info(DType type);

/// Bytes of `n` elements. REQUIRES: n is a multiple of the block.
std::int64_t BytesOf(DType type, std::int64_t n);

/// Dequantizes `n` elements (a multiple of the block) from `src` into `dst`: the specification of each format,
/// equal bit for bit to ggml's reference `dequantize_row_*` (checked against the `gguf` Python package).
/// Returns false for types that hold no weights (integers, Q8_1, Q8_K).
bool Dequantize(DType type, const void* src, float* dst, std::int64_t n);

/// IEEE half and bfloat16, without any instruction-set dependence.
float HalfToFloat(std::uint16_t h);
std::uint16_t FloatToHalf(float f);  // round to nearest even
inline float Bf16ToFloat(std::uint16_t b);
std::uint16_t FloatToBf16(float f);  // round to nearest even, NaN stays NaN

inline float Bf16ToFloat(std::uint16_t b) {
  const std::uint32_t bits = static_cast<std::uint32_t>(b) << 16;
  float f;
  __builtin_memcpy(&f, &bits, sizeof f);
  return f;
}

}  // namespace quorum::quant
