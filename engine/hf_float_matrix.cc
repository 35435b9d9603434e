// Eight-bit floats with scales (DeepSeek-V3's weight_scale_inv, compressed-tensors' weight_scale) and gpt-oss' MXFP4.
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "engine/hf_quantized.h"

namespace quorum::engine {
namespace {

using quant::DType;
using quant::SafeTensor;
using quant::SafeType;

/// F8_E4M3 has no infinities: exponent 15 with mantissa 7 is NaN (OCP 8-bit Floating Point Specification 1.0). E5M2 is
/// the upper byte of a half.
float Fp8ToFloat(SafeType type, std::uint8_t bits) {
  if (type == SafeType::kF8E5M2) return quant::HalfToFloat(static_cast<std::uint16_t>(bits << 8));
  const std::uint32_t exponent = (bits >> 3) & 15U;
  const std::uint32_t mantissa = bits & 7U;
  if (exponent == 15 && mantissa == 7) return quant::HalfToFloat(0x7e00);
  // As a half with the exponent's bias changed from 7 to 15; subnormals become exact by scaling.
  const float magnitude =
      exponent == 0 ? static_cast<float>(mantissa) * 0x1p-9F
                    : quant::HalfToFloat(static_cast<std::uint16_t>(((exponent + 8) << 10) | (mantissa << 7)));
  return (bits & 0x80U) != 0 ? -magnitude : magnitude;
}

float ScaleAt(const SafeTensor& tensor, std::int64_t i) {
  const std::byte* at = tensor.data.data() + i * quant::BytesOf(tensor.type);
  if (tensor.type == SafeType::kF32) {
    float value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  if (tensor.type == SafeType::kF8E8M0) {  // 2^(e - 127)
    const auto e = static_cast<std::uint32_t>(*at);
    const std::uint32_t bits = e == 0 ? 0x00400000U : e << 23;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, at, sizeof bits);
  return tensor.type == SafeType::kF16 ? quant::HalfToFloat(bits) : quant::Bf16ToFloat(bits);
}

class Fp8Rows final : public RowSource {
 public:
  Fp8Rows(const SafeTensor& weight, const SafeTensor* scale, std::int64_t block_rows, std::int64_t block_cols)
      : weight_(weight), scale_(scale), block_rows_(block_rows), block_cols_(block_cols), cols_(weight.shape[1]) {
    for (int i = 0; i < 256; ++i) table_[i] = Fp8ToFloat(weight.type, static_cast<std::uint8_t>(i));
  }

  void Read(std::int64_t first, std::int64_t count, std::byte* dst) const override {
    const std::int64_t across = (cols_ + block_cols_ - 1) / block_cols_;
    for (std::int64_t i = first; i < first + count; ++i) {
      const auto* src = reinterpret_cast<const std::uint8_t*>(weight_.data.data()) + i * cols_;
      for (std::int64_t block = 0; block < across; ++block) {
        const float scale = scale_ == nullptr ? 1.0F : ScaleAt(*scale_, i / block_rows_ * across + block);
        for (std::int64_t c = block * block_cols_; c < std::min(cols_, (block + 1) * block_cols_); ++c) {
          const float value = table_[src[c]] * scale;
          std::memcpy(dst, &value, sizeof value);
          dst += sizeof value;
        }
      }
    }
  }

  std::vector<std::span<const std::byte>> Bytes(std::int64_t first, std::int64_t count) const override {
    return {weight_.data.subspan(static_cast<std::size_t>(first * cols_), static_cast<std::size_t>(count * cols_))};
  }
  std::optional<DType> Smaller() const override { return DType::kQ8_0; }

 private:
  const SafeTensor& weight_;
  const SafeTensor* scale_;
  std::int64_t block_rows_, block_cols_, cols_;
  float table_[256];
};

class Mxfp4Rows final : public RowSource {
 public:
  Mxfp4Rows(std::span<const std::byte> blocks, std::span<const std::byte> scales, std::int64_t groups)
      : blocks_(blocks), scales_(scales), groups_(groups) {}

  void Read(std::int64_t first, std::int64_t count, std::byte* dst) const override {
    auto* out = reinterpret_cast<std::uint8_t*>(dst);
    for (std::int64_t g = first * groups_; g < (first + count) * groups_; ++g, out += 17) {
      const auto* src = reinterpret_cast<const std::uint8_t*>(blocks_.data()) + 16 * g;
      out[0] = static_cast<std::uint8_t>(scales_[static_cast<std::size_t>(g)]);
      // From neighbours in a byte to columns j and j + 16 in a byte.
      for (int j = 0; j < 16; ++j) {
        const int low = (src[j / 2] >> (4 * (j % 2))) & 15;
        const int high = (src[8 + j / 2] >> (4 * (j % 2))) & 15;
        out[1 + j] = static_cast<std::uint8_t>(low | (high << 4));
      }
    }
  }

  std::vector<std::span<const std::byte>> Bytes(std::int64_t first, std::int64_t count) const override {
    const auto at = static_cast<std::size_t>(first * groups_);
    const auto size = static_cast<std::size_t>(count * groups_);
    return {blocks_.subspan(16 * at, 16 * size), scales_.subspan(at, size)};
  }

 private:
  std::span<const std::byte> blocks_, scales_;
  std::int64_t groups_;
};

}  // namespace

Result<TensorRef> HfFp8Matrix(const HfQuantization& how, const HfLinearParts& parts) {
  const SafeTensor& weight = *parts.weight;
  if (weight.shape.size() != 2 || weight.shape[0] < 1 || weight.shape[1] < 1) {
    return InvalidArgument(fmt::format("tensor '{}' is {}, expected a matrix", weight.name, weight.Describe()));
  }
  const std::int64_t rows = weight.shape[0];
  const std::int64_t cols = weight.shape[1];
  std::int64_t block_rows = rows, block_cols = cols;
  if (const SafeTensor* scale = parts.scale) {
    const bool number = scale->type == SafeType::kF32 || scale->type == SafeType::kF16 ||
                        scale->type == SafeType::kBF16 || scale->type == SafeType::kF8E8M0;
    const std::int64_t down = (rows + how.block_rows - 1) / how.block_rows;
    const std::int64_t across = (cols + how.block_cols - 1) / how.block_cols;
    if (number && scale->elements() == 1) {
      // one for all
    } else if (number && scale->shape == std::vector{down, across}) {
      block_rows = how.block_rows;
      block_cols = how.block_cols;
    } else if (number && (scale->shape == std::vector{rows, std::int64_t{1}} || scale->shape == std::vector{rows})) {
      block_rows = 1;
    } else {
      return InvalidArgument(fmt::format("tensor '{}' is {}, expected one number, [{}, 1] or [{}, {}]", scale->name,
                                         scale->Describe(), rows, down, across));
    }
  }
  TensorRef ref{weight.name, DType::kF32, rows, cols, {}};
  ref.source = std::make_shared<Fp8Rows>(weight, parts.scale, block_rows, block_cols);
  return ref;
}

Result<TensorRef> HfMxfp4Matrix(const std::string& name, const SafeTensor& blocks, const SafeTensor& scales,
                                std::int64_t i, std::int64_t count) {
  if (blocks.type != SafeType::kU8 || blocks.shape.size() != 4 || blocks.shape[0] != count || blocks.shape[3] != 16 ||
      blocks.elements() == 0) {
    return InvalidArgument(
        fmt::format("tensor '{}' is {}, expected U8 [{}, rows, groups, 16]", blocks.name, blocks.Describe(), count));
  }
  const std::int64_t rows = blocks.shape[1];
  const std::int64_t groups = blocks.shape[2];
  if ((scales.type != SafeType::kU8 && scales.type != SafeType::kF8E8M0) ||
      scales.shape != std::vector{count, rows, groups}) {
    return InvalidArgument(fmt::format("tensor '{}' is {}, expected U8 [{}, {}, {}]", scales.name, scales.Describe(),
                                       count, rows, groups));
  }
  const auto size = static_cast<std::size_t>(rows * groups);
  const auto at = static_cast<std::size_t>(i) * size;
  TensorRef ref{fmt::format("{}[{}]", name, i), DType::kMXFP4, rows, groups * 32, {}};
  ref.source =
      std::make_shared<Mxfp4Rows>(blocks.data.subspan(16 * at, 16 * size), scales.data.subspan(at, size), groups);
  return ref;
}

}  // namespace quorum::engine
