#include "quant/quantize.h"

#include <cmath>
#include <cstring>

#include "engine/base/check.h"
#include "quant/block_formats.h"

namespace quorum::quant {
namespace {

// `v` cut to an integer in [low, high]; NaN becomes low. Casting a float out of range would be undefined.
int CutToInt(float v, int low, int high) {
  if (!(v > static_cast<float>(low))) return low;
  if (v >= static_cast<float>(high)) return high;
  return static_cast<int>(v);
}

void StoreHalf(float f, std::uint8_t* p) {
  const std::uint16_t h = FloatToHalf(f);
  std::memcpy(p, &h, sizeof h);
}

float Inverse(float d) { return d != 0.0F ? 1.0F / d : 0.0F; }

void QuantizeQ8_0(const float* src, std::uint8_t* dst) {
  float amax = 0.0F;
  for (int j = 0; j < kSmallBlock; ++j) amax = std::fmax(amax, std::fabs(src[j]));
  const float d = amax / 127.0F;
  const float inverse = Inverse(d);
  StoreHalf(d, dst);
  for (int j = 0; j < kSmallBlock; ++j) {
    const int q = CutToInt(std::round(src[j] * inverse), -127, 127);
    dst[2 + j] = static_cast<std::uint8_t>(q);
  }
}

void QuantizeQ4_0(const float* src, std::uint8_t* dst) {
  float amax = 0.0F;
  float extreme = 0.0F;  // the first element of the largest magnitude, with its sign: it becomes code 0, that is -8
  for (int j = 0; j < kSmallBlock; ++j) {
    if (amax < std::fabs(src[j])) {
      amax = std::fabs(src[j]);
      extreme = src[j];
    }
  }
  const float d = extreme / -8.0F;
  const float inverse = Inverse(d);
  StoreHalf(d, dst);
  for (int j = 0; j < kSmallBlock / 2; ++j) {
    const int low = CutToInt(src[j] * inverse + 8.5F, 0, 15);
    const int high = CutToInt(src[j + kSmallBlock / 2] * inverse + 8.5F, 0, 15);
    dst[2 + j] = static_cast<std::uint8_t>(low | (high << 4));
  }
}

void QuantizeQ4_1(const float* src, std::uint8_t* dst) {
  float min = src[0];
  float max = src[0];
  for (int j = 1; j < kSmallBlock; ++j) {
    if (src[j] < min) min = src[j];
    if (src[j] > max) max = src[j];
  }
  const float d = (max - min) / 15.0F;
  const float inverse = Inverse(d);
  StoreHalf(d, dst);
  StoreHalf(min, dst + 2);
  for (int j = 0; j < kSmallBlock / 2; ++j) {
    const int low = CutToInt((src[j] - min) * inverse + 0.5F, 0, 15);
    const int high = CutToInt((src[j + kSmallBlock / 2] - min) * inverse + 0.5F, 0, 15);
    dst[4 + j] = static_cast<std::uint8_t>(low | (high << 4));
  }
}

}  // namespace

bool CanQuantize(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16 || type == DType::kQ8_0 ||
         type == DType::kQ4_0 || type == DType::kQ4_1;
}

bool Quantize(DType type, const float* src, void* dst, std::int64_t n) {
  if (!CanQuantize(type)) return false;
  const DTypeInfo& info = Info(type);
  QUORUM_CHECK(n >= 0 && n % info.block == 0);
  auto* out = static_cast<std::uint8_t*>(dst);
  if (type == DType::kF16) {
    FloatsToHalves(src, out, n);
    return true;
  }
  if (type == DType::kBF16) {
    FloatsToBf16(src, out, n);
    return true;
  }
  if (type == DType::kF32) {
    if (n > 0) std::memcpy(out, src, static_cast<std::size_t>(n) * sizeof(float));
    return true;
  }
  for (std::int64_t i = 0; i < n; i += info.block, src += info.block, out += info.bytes) {
    switch (type) {
      case DType::kQ8_0: QuantizeQ8_0(src, out); break;
      case DType::kQ4_0: QuantizeQ4_0(src, out); break;
      default: QuantizeQ4_1(src, out); break;
    }
  }
  return true;
}

}  // namespace quorum::quant
