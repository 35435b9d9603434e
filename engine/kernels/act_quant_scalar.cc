// Quantizes activations: the plain form.
#include <algorithm>
#include <cstring>

#include "engine/kernels/act_quant.h"
#include "engine/kernels/kernel_impl.h"

namespace quorum::engine::scalar {
namespace {

// The bits of |x|: as integers they order like the floats, and NaN comes last, so the maximum never loses one.
uint32_t AbsBits(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits & kAbsMask;
}

// Rounds half to even. REQUIRES: |x| < 2^22 (the sum's last bit then stands for 1).
int32_t RoundToEven(float x) {
  constexpr float kMagic = 12582912.0F;  // 1.5 * 2^23
  return static_cast<int32_t>((x + kMagic) - kMagic);
}

}  // namespace

void QuantizeRow(const float* x, int64_t k, int64_t block, int8_t* q, float* scale, int32_t* sum) {
  for (int64_t begin = 0; begin < k; begin += block) {
    const int64_t end = std::min(begin + block, k);
    uint32_t max_bits = 0;
    for (int64_t c = begin; c < end; ++c) max_bits = std::max(max_bits, AbsBits(x[c]));
    float amax;
    std::memcpy(&amax, &max_bits, sizeof amax);
    const bool zero = max_bits < kTinyBits;
    const bool zero_codes = zero || max_bits >= kInfBits;
    *scale++ = zero ? 0.0F : amax / 127.0F;
    const float inverse = zero_codes ? 0.0F : 127.0F / amax;
    for (int64_t c = begin; c < end; c += kSumColumns) {
      int32_t total = 0;
      for (int64_t i = c; i < c + kSumColumns; ++i) {
        // |x| * inverse <= 127 * (1 + 2^-23) rounds to 127 at most, so nothing is left to clamp.
        const int32_t code = zero_codes ? 0 : RoundToEven(x[i] * inverse);
        q[i] = static_cast<int8_t>(code);
        total += code;
      }
      *sum++ = total;
    }
  }
}

}  // namespace quorum::engine::scalar
