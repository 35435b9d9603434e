// Random quantized matrices, as a file would hold them, and their packed form, for the kernel tests.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/kernels/packed_matrix.h"
#include "quant/dtype.h"

namespace quorum::engine::test {

using Random = std::mt19937;

/// What a file may hold of a type: anything, or only what its ExactFormatOf asks for.
struct WeightKind {
  quant::DType type;
  bool exact = false;

  WeightKind(quant::DType type_in, bool exact_in = false) : type(type_in), exact(exact_in) {}
  std::string name() const { return std::string(quant::Info(type).name) + (exact ? " int8-exact" : ""); }
};

/// Every type that has a packed form, and what is packed in another way.
inline const std::vector<WeightKind>& PackableKinds() {
  using quant::DType;
  static const std::vector<WeightKind> kinds = {
      DType::kF32,  DType::kF16,    DType::kBF16,   DType::kQ4_0,  DType::kQ4_1,         DType::kQ5_0,
      DType::kQ5_1, DType::kQ8_0,   DType::kQ2_K,   DType::kQ3_K,  DType::kQ4_K,         DType::kQ5_K,
      DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS, DType::kMXFP4, {DType::kQ4_K, true},
  };
  return kinds;
}

inline float Uniform(Random& random, float lo, float hi) {
  return std::uniform_real_distribution<float>(lo, hi)(random);
}

inline void PutHalf(float value, std::uint8_t* p) {
  const std::uint16_t half = quant::FloatToHalf(value);
  std::memcpy(p, &half, sizeof half);
}

/// Makes a Q4_K super-block of random bytes and d int8-exact: dmin = ratio * d, offsets and products up to their
/// largest.
inline void MakeExact(Random& random, std::uint8_t* block) {
  std::uint16_t d;
  std::memcpy(&d, block, sizeof d);
  d &= 0x7FF8;  // not negative, and few enough bits for ratio * d
  const int ratio = d < 0x0800 || d >= 0x7000 ? 1 : 1 << (random() % 3);
  std::memcpy(block, &d, sizeof d);
  PutHalf(static_cast<float>(ratio) * quant::HalfToFloat(d), block + 2);
  std::memset(block + 4, 0, 12);
  for (int g = 0; g < 8; ++g) {
    const int min = static_cast<int>(random() % static_cast<unsigned>(std::min(63, 127 / ratio) + 1));
    const int scale = static_cast<int>(random() % (random() % 4 == 0 ? 64 : 17));
    std::uint8_t* s = block + 4;
    if (g < 4) {
      s[g] = static_cast<std::uint8_t>(s[g] | scale);
      s[g + 4] = static_cast<std::uint8_t>(s[g + 4] | min);
    } else {
      s[g + 4] = static_cast<std::uint8_t>((scale & 15) | (min & 15) << 4);
      s[g - 4] = static_cast<std::uint8_t>(s[g - 4] | scale >> 4 << 6);
      s[g] = static_cast<std::uint8_t>(s[g] | min >> 4 << 6);
    }
    const int most = scale == 0 ? 15 : std::min(15, (127 + ratio * min) / scale);
    const int shift = 4 * (g % 2);
    for (std::uint8_t* code = block + 16 + g / 2 * 32; code < block + 16 + g / 2 * 32 + 32; ++code) {
      const int q = std::min(*code >> shift & 15, most);
      *code = static_cast<std::uint8_t>((*code & (0xF0 >> shift)) | q << shift);
    }
  }
}

/// Random bytes with sane scales: |d| and |dmin| up to `scale`, either sign.
inline std::vector<std::uint8_t> RandomFileRows(const WeightKind& kind, std::int64_t n, std::int64_t k, float scale,
                                                Random& random) {
  using quant::DType;
  const DType type = kind.type;
  const quant::DTypeInfo& info = quant::Info(type);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(n * quant::BytesOf(type, k)));
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  for (std::size_t at = 0; at < bytes.size(); at += static_cast<std::size_t>(info.bytes)) {
    std::uint8_t* block = bytes.data() + at;
    const float value = Uniform(random, -scale, scale);
    const float other = Uniform(random, -scale, scale);
    switch (type) {
      case DType::kF32: std::memcpy(block, &value, sizeof value); break;
      case DType::kF16: PutHalf(value, block); break;
      case DType::kBF16: {
        const std::uint16_t bits = quant::FloatToBf16(value);
        std::memcpy(block, &bits, sizeof bits);
        break;
      }
      case DType::kMXFP4: {
        // Exponents near that of 2^-2, or any that cannot overflow where the scale is extreme.
        const bool extreme = scale < 1e-6F || scale > 1e4F;
        block[0] = static_cast<std::uint8_t>(extreme ? random() % 200 : 118 + random() % 10);
        break;
      }
      case DType::kQ2_K:
        PutHalf(value, block + 80);
        PutHalf(other, block + 82);
        break;
      case DType::kQ3_K: PutHalf(value, block + 108); break;
      case DType::kQ6_K: PutHalf(value, block + 208); break;
      case DType::kQ4_K:
      case DType::kQ5_K:
      case DType::kQ4_1:
      case DType::kQ5_1:
        PutHalf(value, block);
        PutHalf(other, block + 2);
        break;
      default: PutHalf(value, block); break;
    }
    if (kind.exact) MakeExact(random, block);
  }
  return bytes;
}

/// 64-byte aligned heap memory of exactly the bytes asked for, so that AddressSanitizer sees every overrun.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::int64_t bytes)
      : data_(static_cast<std::uint8_t*>(std::aligned_alloc(64, static_cast<std::size_t>(bytes)))) {}
  std::uint8_t* data() const { return data_.get(); }

 private:
  struct Free {
    void operator()(std::uint8_t* p) const { std::free(p); }
  };
  std::unique_ptr<std::uint8_t, Free> data_;
};

/// A matrix as a file holds it and packed as the engine does.
struct TestMatrix {
  quant::DType type;
  PackFormat format;
  std::int64_t n;
  std::int64_t k;
  std::vector<std::uint8_t> file;
  AlignedBytes packed;

  TestMatrix(quant::DType type_in, std::int64_t n_in, std::int64_t k_in, std::vector<std::uint8_t> file_in)
      : type(type_in),
        format(ExactRows(type, file_in.data(), n_in, k_in) ? *ExactFormatOf(type) : *PackFormatOf(type)),
        n(n_in),
        k(k_in),
        file(std::move(file_in)),
        packed(PackedBytes(format, n, k)) {
    ok = PackMatrix(type, format, file.data(), n, k, packed.data()).ok();
  }
  bool ok = false;

  PackedView view() const { return {format, n, k, PanelBytes(format, k), packed.data()}; }
  std::vector<float> Dequantized() const {
    std::vector<float> w(static_cast<std::size_t>(n * k));
    quant::Dequantize(type, file.data(), w.data(), n * k);
    return w;
  }
};

inline TestMatrix RandomMatrix(const WeightKind& kind, std::int64_t n, std::int64_t k, float scale, Random& random) {
  return {kind.type, n, k, RandomFileRows(kind, n, k, scale, random)};
}

/// Column counts that the type allows, small and uneven ones among them.
inline std::vector<std::int64_t> ColumnCounts(quant::DType type) {
  const std::int64_t block = quant::Info(type).block;
  if (block == 1) return {1, 31, 64, 576};
  if (block == 32) return {32, 96, 256, 288, 576, 960, 2880};
  return {256, 512, 1536};
}

}  // namespace quorum::engine::test
