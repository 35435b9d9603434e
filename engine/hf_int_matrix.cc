// GPTQ (Frantar et al. 2022) as AutoGPTQ and GPTQModel save it, and AWQ (Lin et al. 2023) as AutoAWQ's GEMM version
// does.
#include <cstring>
#include <memory>
#include <vector>

#include <fmt/format.h>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/hf_quantized.h"

namespace quorum::engine {
namespace {

using quant::DType;
using quant::SafeTensor;
using quant::SafeType;

constexpr std::int64_t kBlock = 32;  // columns of a block of Q4_0, Q5_0, Q8_0

template <typename T>
T Load(const SafeTensor& tensor, std::int64_t i) {
  T value;
  std::memcpy(&value, tensor.data.data() + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

float LoadFloat(const SafeTensor& tensor, std::int64_t i) {
  switch (tensor.type) {
    case SafeType::kF16: return quant::HalfToFloat(Load<std::uint16_t>(tensor, i));
    case SafeType::kBF16: return quant::Bf16ToFloat(Load<std::uint16_t>(tensor, i));
    default: return Load<float>(tensor, i);
  }
}

/// Shapes and parts, checked.
struct IntMatrix {
  HfQuantization how;
  HfLinearParts parts;
  std::int64_t rows = 0, cols = 0, groups = 0, group = 0;
  std::vector<std::int32_t> group_of;  // (cols); empty: column / group

  std::int32_t mask() const { return (1 << how.bits) - 1; }
  int word_log() const { return how.bits == 4 ? 3 : 2; }  // of the codes in a word

  /// Bit position of row `i`'s code in a word that holds several rows.
  int ShiftOfRow(std::int64_t i) const {
    constexpr int kAwqOrder[] = {0, 4, 1, 5, 2, 6, 3, 7};  // where row 0, 1, ... of eight lies
    const auto slot = static_cast<std::size_t>(i & ((1 << word_log()) - 1));
    return how.bits * (how.method == HfQuantization::Method::kAwq ? kAwqOrder[slot] : static_cast<int>(slot));
  }

  std::int32_t Zero(std::int64_t g, std::int64_t i) const {
    const auto word = Load<std::uint32_t>(*parts.qzeros, g * (rows >> word_log()) + (i >> word_log()));
    const auto zero = static_cast<std::int32_t>(word >> ShiftOfRow(i)) & mask();
    return how.zero_plus_one ? (zero + 1) & mask() : zero;  // 0 is stored as -1, which wraps
  }

  std::int32_t Code(std::int64_t i, std::int64_t column) const {
    if (how.method == HfQuantization::Method::kAwq) {
      const auto word = Load<std::uint32_t>(*parts.qweight, column * (rows >> word_log()) + (i >> word_log()));
      return static_cast<std::int32_t>(word >> ShiftOfRow(i)) & mask();
    }
    const auto word = Load<std::uint32_t>(*parts.qweight, (column >> word_log()) * rows + i);
    return static_cast<std::int32_t>(word >> (how.bits * (column & ((1 << word_log()) - 1)))) & mask();
  }

  std::int64_t GroupOf(std::int64_t column) const {
    return group_of.empty() ? column / group : group_of[static_cast<std::size_t>(column)];
  }
};

void StoreHalf(float f, std::uint8_t* dst) {
  const std::uint16_t half = quant::FloatToHalf(f);
  std::memcpy(dst, &half, sizeof half);
}

/// Rows as blocks of 32 with one scale, or as floats.
class IntRows final : public RowSource {
 public:
  IntRows(IntMatrix matrix, DType type) : matrix_(std::move(matrix)), type_(type) {}

  void Read(std::int64_t first, std::int64_t count, std::byte* dst) const override {
    const std::int64_t row_bytes = quant::BytesOf(type_, matrix_.cols);
    for (std::int64_t i = 0; i < count; ++i) {
      auto* row = reinterpret_cast<std::uint8_t*>(dst + i * row_bytes);
      if (type_ == DType::kF32) {
        Floats(first + i, row);
      } else {
        Blocks(first + i, row);
      }
    }
  }

  std::vector<std::span<const std::byte>> Bytes(std::int64_t first, std::int64_t count) const override {
    if (first + count < matrix_.rows) return {};
    return {matrix_.parts.qweight->data, matrix_.parts.qzeros->data, matrix_.parts.scales->data};
  }

  std::optional<DType> Smaller() const override {
    return type_ == DType::kF32 ? std::optional(DType::kQ8_0) : std::nullopt;
  }

 private:
  void Floats(std::int64_t i, std::uint8_t* dst) const {
    for (std::int64_t c = 0; c < matrix_.cols; ++c) {
      const std::int64_t g = matrix_.GroupOf(c);
      const float w = LoadFloat(*matrix_.parts.scales, g * matrix_.rows + i) *
                      static_cast<float>(matrix_.Code(i, c) - matrix_.Zero(g, i));
      std::memcpy(dst + 4 * c, &w, sizeof w);
    }
  }

  void Blocks(std::int64_t i, std::uint8_t* dst) const {
    for (std::int64_t c = 0; c < matrix_.cols; c += kBlock) {
      const std::int64_t g = matrix_.GroupOf(c);
      const std::int32_t zero = matrix_.Zero(g, i);
      std::int32_t q[kBlock];
      for (std::int64_t j = 0; j < kBlock; ++j) q[j] = matrix_.Code(i, c + j) - zero;
      StoreHalf(LoadFloat(*matrix_.parts.scales, g * matrix_.rows + i), dst);
      StoreCodes(q, dst + 2);
      dst += quant::Info(type_).bytes;
    }
  }

  void StoreCodes(const std::int32_t* q, std::uint8_t* dst) const {
    if (type_ == DType::kQ8_0) {
      for (std::int64_t j = 0; j < kBlock; ++j) dst[j] = static_cast<std::uint8_t>(q[j]);
      return;
    }
    const std::int32_t bias = type_ == DType::kQ4_0 ? 8 : 16;
    if (type_ == DType::kQ5_0) {
      std::uint32_t fifth = 0;
      for (std::int64_t j = 0; j < kBlock; ++j) fifth |= static_cast<std::uint32_t>((q[j] + bias) >> 4) << j;
      std::memcpy(dst, &fifth, sizeof fifth);
      dst += sizeof fifth;
    }
    for (std::int64_t j = 0; j < kBlock / 2; ++j) {
      const std::int32_t low = (q[j] + bias) & 15;
      const std::int32_t high = (q[j + kBlock / 2] + bias) & 15;
      dst[j] = static_cast<std::uint8_t>(low | (high << 4));
    }
  }

  IntMatrix matrix_;
  DType type_;
};

Error Wrong(const HfLinearParts& parts, std::string_view part, const SafeTensor* found, const std::string& expected) {
  return InvalidArgument(fmt::format("tensor '{}.{}' is {}, expected {}", parts.name, part,
                                     found == nullptr ? "missing" : found->Describe(), expected));
}

bool IsMatrix(const SafeTensor* tensor, std::int64_t rows, std::int64_t cols) {
  return tensor != nullptr && tensor->shape == std::vector<std::int64_t>{rows, cols};
}

Status CheckGroups(IntMatrix& m) {
  const SafeTensor* g_idx = m.parts.g_idx;
  if (g_idx == nullptr) return {};
  if (g_idx->type != SafeType::kI32 || g_idx->shape != std::vector<std::int64_t>{m.cols}) {
    return Wrong(m.parts, "g_idx", g_idx, fmt::format("I32 [{}]", m.cols));
  }
  bool in_order = true;
  for (std::int64_t c = 0; c < m.cols; ++c) {
    const auto g = Load<std::int32_t>(*g_idx, c);
    if (g < 0 || g >= m.groups) {
      return InvalidArgument(fmt::format("tensor '{}.g_idx' puts column {} in group {}, expected 0 to {}", m.parts.name,
                                         c, g, m.groups - 1));
    }
    in_order = in_order && g == c / m.group;
    m.group_of.push_back(g);
  }
  if (in_order) m.group_of.clear();
  return {};
}

Status CheckShapes(IntMatrix& m) {
  const std::int64_t per_word = 32 / m.how.bits;
  const SafeTensor* qweight = m.parts.qweight;
  if (qweight == nullptr || qweight->type != SafeType::kI32 || qweight->shape.size() != 2 || qweight->shape[0] < 1 ||
      qweight->shape[1] < 1 || qweight->shape[0] > 1 << 24 || qweight->shape[1] > 1 << 24) {
    return Wrong(m.parts, "qweight", qweight, "an I32 matrix");
  }
  const bool awq = m.how.method == HfQuantization::Method::kAwq;
  m.cols = awq ? qweight->shape[0] : qweight->shape[0] * per_word;
  m.rows = awq ? qweight->shape[1] * per_word : qweight->shape[1];
  m.group = m.how.group < 0 ? m.cols : m.how.group;
  m.groups = (m.cols + m.group - 1) / m.group;
  if (m.rows % per_word != 0)
    return Wrong(m.parts, "qweight", qweight, fmt::format("rows in multiples of {}", per_word));
  const SafeTensor* scales = m.parts.scales;
  if (!IsMatrix(scales, m.groups, m.rows) ||
      (scales->type != SafeType::kF16 && scales->type != SafeType::kBF16 && scales->type != SafeType::kF32)) {
    return Wrong(m.parts, "scales", scales, fmt::format("F16 [{}, {}]", m.groups, m.rows));
  }
  if (!IsMatrix(m.parts.qzeros, m.groups, m.rows / per_word) || m.parts.qzeros->type != SafeType::kI32) {
    return Wrong(m.parts, "qzeros", m.parts.qzeros, fmt::format("I32 [{}, {}]", m.groups, m.rows / per_word));
  }
  return CheckGroups(m);
}

bool EveryZeroIs(const IntMatrix& m, std::int32_t zero) {
  for (std::int64_t g = 0; g < m.groups; ++g) {
    for (std::int64_t i = 0; i < m.rows; ++i) {
      if (m.Zero(g, i) != zero) return false;
    }
  }
  return true;
}

/// The smallest type that holds the values exactly, given that scales fit into halves.
DType TypeOf(const IntMatrix& m) {
  if (!m.group_of.empty() || m.group % kBlock != 0 || m.cols % kBlock != 0) return DType::kF32;
  const bool symmetric = EveryZeroIs(m, 1 << (m.how.bits - 1));
  if (m.how.bits == 8) return symmetric ? DType::kQ8_0 : DType::kF32;
  return symmetric ? DType::kQ4_0 : DType::kQ5_0;
}

/// Scales of other types than F16 may not fit.
void WarnOfScales(const IntMatrix& m) {
  const SafeTensor& scales = *m.parts.scales;
  if (scales.type == SafeType::kF16) return;
  std::int64_t rounded = 0;
  for (std::int64_t i = 0; i < scales.elements(); ++i) {
    const float scale = LoadFloat(scales, i);
    rounded += quant::HalfToFloat(quant::FloatToHalf(scale)) != scale ? 1 : 0;
  }
  if (rounded > 0) {
    Log(LogLevel::kWarn, "tensor '{}.scales': {} of {} scales are no halves and are rounded to them", m.parts.name,
        rounded, scales.elements());
  }
}

}  // namespace

Result<TensorRef> HfIntMatrix(const HfQuantization& how, const HfLinearParts& parts) {
  IntMatrix m;
  m.how = how;
  m.parts = parts;
  QUORUM_TRY(CheckShapes(m));
  const DType type = TypeOf(m);
  if (type != DType::kF32) WarnOfScales(m);
  TensorRef ref{parts.name, type, m.rows, m.cols, {}};
  ref.source = std::make_shared<IntRows>(std::move(m), type);
  return ref;
}

}  // namespace quorum::engine
