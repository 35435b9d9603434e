#include "quant/dtype.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "engine/base/check.h"
#include "quant/block_formats.h"

namespace quorum::quant {
namespace {

constexpr DTypeInfo kTypes[] = {
    {DType::kF32, "F32", 1, 4},           {DType::kF16, "F16", 1, 2},       {DType::kQ4_0, "Q4_0", 32, 18},
    {DType::kQ4_1, "Q4_1", 32, 20},       {DType::kQ5_0, "Q5_0", 32, 22},   {DType::kQ5_1, "Q5_1", 32, 24},
    {DType::kQ8_0, "Q8_0", 32, 34},       {DType::kQ8_1, "Q8_1", 32, 36},   {DType::kQ2_K, "Q2_K", 256, 84},
    {DType::kQ3_K, "Q3_K", 256, 110},     {DType::kQ4_K, "Q4_K", 256, 144}, {DType::kQ5_K, "Q5_K", 256, 176},
    {DType::kQ6_K, "Q6_K", 256, 210},     {DType::kQ8_K, "Q8_K", 256, 292}, {DType::kIQ4_NL, "IQ4_NL", 32, 18},
    {DType::kIQ4_XS, "IQ4_XS", 256, 136}, {DType::kI8, "I8", 1, 1},         {DType::kI16, "I16", 1, 2},
    {DType::kI32, "I32", 1, 4},           {DType::kI64, "I64", 1, 8},       {DType::kF64, "F64", 1, 8},
    {DType::kBF16, "BF16", 1, 2},         {DType::kMXFP4, "MXFP4", 32, 17},
};

const DTypeInfo* Lookup(std::uint32_t number) {
  for (const DTypeInfo& info : kTypes) {
    if (static_cast<std::uint32_t>(info.type) == number) return &info;
  }
  return nullptr;
}

// The `i`-th element of an array of `T` that may lie at any address.
template <typename T>
T LoadElement(const std::uint8_t* src, std::int64_t i) {
  T value;
  std::memcpy(&value, src + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

#if defined(__x86_64__)
const bool kHasF16c = __builtin_cpu_supports("avx") && __builtin_cpu_supports("f16c");

/// The first n / 8 * 8 elements, with what the functions for one compute.
[[gnu::target("avx,f16c")]] void HalvesToFloatsF16c(const std::uint8_t* src, float* dst, std::int64_t n) {
  for (std::int64_t i = 0; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src + 2 * i))));
  }
}
[[gnu::target("avx,f16c")]] void FloatsToHalvesF16c(const float* src, std::uint8_t* dst, std::int64_t n) {
  for (std::int64_t i = 0; i + 8 <= n; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + 2 * i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT));
  }
}
#endif

/// Without a branch, so that the compiler makes vectors of a loop of it.
inline std::uint16_t CutToBf16(float f) {
  std::uint32_t bits;
  std::memcpy(&bits, &f, sizeof bits);
  const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const std::uint32_t quiet = (bits >> 16) | 0x40U;
  const bool nan = static_cast<std::int32_t>(bits & 0x7fffffffU) > 0x7f800000;  // signed: what SSE2 compares
  return static_cast<std::uint16_t>(nan ? quiet : rounded);
}

void HalvesToFloats(const std::uint8_t* src, float* dst, std::int64_t n) {
  std::int64_t i = 0;
#if defined(__x86_64__)
  if (kHasF16c) {
    HalvesToFloatsF16c(src, dst, n);
    i = n / 8 * 8;
  }
#endif
  for (; i < n; ++i) dst[i] = HalfToFloat(LoadElement<std::uint16_t>(src, i));
}

}  // namespace

void FloatsToHalves(const float* src, std::uint8_t* dst, std::int64_t n) {
  std::int64_t i = 0;
#if defined(__x86_64__)
  if (kHasF16c) {
    FloatsToHalvesF16c(src, dst, n);
    i = n / 8 * 8;
  }
#endif
  for (; i < n; ++i) {
    const std::uint16_t half = FloatToHalf(src[i]);
    std::memcpy(dst + 2 * i, &half, sizeof half);
  }
}

void FloatsToBf16(const float* src, std::uint8_t* dst, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint16_t cut = CutToBf16(src[i]);
    std::memcpy(dst + 2 * i, &cut, sizeof cut);
  }
}

std::optional<DTypeInfo> FindDType(std::uint32_t ggml_number) {
  const DTypeInfo* info = Lookup(ggml_number);
  if (info == nullptr) return std::nullopt;
  return *info;
}

const DTypeInfo& Info(DType type) {
  const DTypeInfo* info = Lookup(static_cast<std::uint32_t>(type));
  QUORUM_CHECK(info != nullptr);
  return *info;
}

std::int64_t BytesOf(DType type, std::int64_t n) {
  const DTypeInfo& info = Info(type);
  QUORUM_CHECK(n >= 0 && n % info.block == 0);
  return n / info.block * info.bytes;
}

bool Dequantize(DType type, const void* src, float* dst, std::int64_t n) {
  const DTypeInfo& info = Info(type);
  QUORUM_CHECK(n >= 0 && n % info.block == 0);
  const std::int64_t blocks = n / info.block;
  const auto* bytes = static_cast<const std::uint8_t*>(src);
  switch (type) {
    case DType::kF32:
      if (n > 0) std::memcpy(dst, bytes, static_cast<std::size_t>(n) * sizeof(float));
      return true;
    case DType::kF16: HalvesToFloats(bytes, dst, n); return true;
    case DType::kBF16:
      for (std::int64_t i = 0; i < n; ++i) dst[i] = Bf16ToFloat(LoadElement<std::uint16_t>(bytes, i));
      return true;
    case DType::kF64:
      for (std::int64_t i = 0; i < n; ++i) dst[i] = static_cast<float>(LoadElement<double>(bytes, i));
      return true;
    case DType::kQ4_0: DequantizeQ4_0(bytes, dst, blocks); return true;
    case DType::kQ4_1: DequantizeQ4_1(bytes, dst, blocks); return true;
    case DType::kQ5_0: DequantizeQ5_0(bytes, dst, blocks); return true;
    case DType::kQ5_1: DequantizeQ5_1(bytes, dst, blocks); return true;
    case DType::kQ8_0: DequantizeQ8_0(bytes, dst, blocks); return true;
    case DType::kQ2_K: DequantizeQ2_K(bytes, dst, blocks); return true;
    case DType::kQ3_K: DequantizeQ3_K(bytes, dst, blocks); return true;
    case DType::kQ4_K: DequantizeQ4_K(bytes, dst, blocks); return true;
    case DType::kQ5_K: DequantizeQ5_K(bytes, dst, blocks); return true;
    case DType::kQ6_K: DequantizeQ6_K(bytes, dst, blocks); return true;
    case DType::kIQ4_NL: DequantizeIQ4_NL(bytes, dst, blocks); return true;
    case DType::kIQ4_XS: DequantizeIQ4_XS(bytes, dst, blocks); return true;
    case DType::kMXFP4: DequantizeMXFP4(bytes, dst, blocks); return true;
    case DType::kQ8_1:
    case DType::kQ8_K:
    case DType::kI8:
    case DType::kI16:
    case DType::kI32:
    case DType::kI64: break;
  }
  return false;
}

float HalfToFloat(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000U) << 16;
  const std::uint32_t exponent = (h >> 10) & 31U;
  std::uint32_t fraction = h & 0x3ffU;
  std::uint32_t bits;
  if (exponent == 31) {  // infinity, or a NaN: made quiet, as the F16C instructions do
    bits = sign | 0x7f800000U | (fraction << 13) | (fraction != 0 ? 0x00400000U : 0U);
  } else if (exponent != 0) {
    bits = sign | ((exponent + 112) << 23) | (fraction << 13);
  } else if (fraction == 0) {
    bits = sign;
  } else {  // subnormal: fraction * 2^-24, normal as a float
    std::uint32_t shift = 0;
    while ((fraction & 0x400U) == 0) {
      fraction <<= 1;
      ++shift;
    }
    bits = sign | ((113 - shift) << 23) | ((fraction & 0x3ffU) << 13);
  }
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

std::uint16_t FloatToHalf(float f) {
  std::uint32_t bits;
  std::memcpy(&bits, &f, sizeof bits);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  const std::uint32_t magnitude = bits & 0x7fffffffU;
  std::uint32_t half;
  if (magnitude > 0x7f800000U) {  // NaN: the top of its payload is kept, quiet
    half = 0x7e00U | ((magnitude >> 13) & 0x3ffU);
  } else if (magnitude >= 0x477ff000U) {  // 65520 and more round to infinity
    half = 0x7c00U;
  } else if (magnitude >= 0x38800000U) {  // normal: 2^-14 and more; the carry of rounding runs into the exponent
    const std::uint32_t rebased = magnitude - (112U << 23);
    half = (rebased + 0xfffU + ((rebased >> 13) & 1U)) >> 13;
  } else if (magnitude >= 0x33000000U) {  // subnormal: 2^-25 and more
    const std::uint32_t shift = 126U - (magnitude >> 23);
    const std::uint32_t fraction = (magnitude & 0x7fffffU) | 0x800000U;
    const std::uint32_t below = fraction & ((1U << shift) - 1U);
    const std::uint32_t middle = 1U << (shift - 1);
    half = fraction >> shift;
    if (below > middle || (below == middle && (half & 1U) != 0)) ++half;
  } else {
    half = 0;
  }
  return static_cast<std::uint16_t>(sign | half);
}

std::uint16_t FloatToBf16(float f) { return CutToBf16(f); }

}  // namespace quorum::quant
