// Formats whose four-bit codes index a fixed table of values.
#include <cstddef>

#include "quant/block_formats.h"

namespace quorum::quant {
namespace {

// ggml's `kvalues_iq4nl`.
constexpr std::int8_t kNonLinear[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// The sixteen E2M1 values of the OCP Microscaling Formats specification (v1.0, section 5.3.3), doubled so that
// they are integers; code 8 is plus zero, as in ggml.
constexpr std::int8_t kE2M1Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Half of the E8M0 scale 2^(e - 127), because the values above are doubled. 2^-128 and 2^-127 are subnormal.
float HalfOfE8M0(std::uint8_t e) {
  const std::uint32_t bits = e < 2 ? std::uint32_t{0x00200000} << e : static_cast<std::uint32_t>(e - 1) << 23;
  float f;
  std::memcpy(&f, &bits, sizeof f);
  return f;
}

// 16 bytes of codes: the low nibble of byte j is element j, the high nibble element j + 16.
void Expand32(const std::uint8_t* codes, const std::int8_t* table, float scale, float* dst) {
  for (int j = 0; j < 16; ++j) {
    dst[j] = scale * static_cast<float>(table[codes[j] & 15]);
    dst[j + 16] = scale * static_cast<float>(table[codes[j] >> 4]);
  }
}

}  // namespace

// d, 16 bytes of codes
void DequantizeIQ4_NL(const std::uint8_t* src, float* dst, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, src += 18, dst += kSmallBlock) {
    Expand32(src + 2, kNonLinear, LoadHalf(src), dst);
  }
}

// d, 2 bytes of high scale bits, 4 bytes of low scale nibbles, 128 bytes of codes: eight groups of 32
void DequantizeIQ4_XS(const std::uint8_t* src, float* dst, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, src += 136, dst += kSuperBlock) {
    const float d = LoadHalf(src);
    std::uint16_t high;
    std::memcpy(&high, src + 2, sizeof high);
    for (std::ptrdiff_t group = 0; group < 8; ++group) {
      const int low = (src[4 + group / 2] >> (4 * (group % 2))) & 15;
      const int scale = (low | (((high >> (2 * group)) & 3) << 4)) - 32;
      Expand32(&src[8 + group * 16], kNonLinear, d * static_cast<float>(scale), &dst[group * 32]);
    }
  }
}

// E8M0 scale, 16 bytes of E2M1 codes
void DequantizeMXFP4(const std::uint8_t* src, float* dst, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, src += 17, dst += kSmallBlock) {
    Expand32(src + 1, kE2M1Doubled, HalfOfE8M0(src[0]), dst);
  }
}

}  // namespace quorum::quant
