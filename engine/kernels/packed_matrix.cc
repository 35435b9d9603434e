#include "engine/kernels/packed_matrix.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "engine/base/check.h"
#include "engine/kernels/file_block.h"
#include "engine/kernels/pack_layout.h"
#include "engine/kernels/row_block.h"
#include "quant/int8_exact.h"

namespace quorum::engine {
namespace {

using quant::DType;

static_assert(kPanelRows == kLanes);

bool IsFloat(PackFormat format) { return TraitsOf(format).payload == Payload::kNone; }

std::int64_t FloatBytes(PackFormat format) { return format == PackFormat::kF32 ? 4 : 2; }

std::int64_t Panels(std::int64_t n) { return (n + kLanes - 1) / kLanes; }

// The groups of the block that starts at column `column`.
std::int64_t GroupsAt(std::int64_t column, std::int64_t k) { return std::min(kBlockGroups, (k - column) / kGroup); }

void PackFloatRow(PackFormat format, const std::uint8_t* src, std::int64_t k, std::int64_t lane, std::uint8_t* panel) {
  const auto size = static_cast<std::size_t>(FloatBytes(format));
  for (std::int64_t c = 0; c < k; ++c) {
    std::memcpy(panel + (c * kLanes + lane) * FloatBytes(format), src + c * FloatBytes(format), size);
  }
}

/// Offsets in steps of d: z d in place of z dmin.
void JoinOffsets(RowBlock* row) {
  const std::optional<int> ratio = quant::OffsetRatio(row->super_d, row->super_min);
  QUORUM_CHECK(ratio);
  for (std::uint8_t& z : row->z) z = static_cast<std::uint8_t>(*ratio * z);
  row->super_min = 0;
}

void PackIntegerRow(DType type, PackFormat format, const std::uint8_t* src, std::int64_t k, std::int64_t lane,
                    std::uint8_t* panel) {
  const PackTraits traits = TraitsOf(format);
  RowBlock row;
  for (std::int64_t column = 0; column < k; column += kBlock) {
    const std::int64_t groups = GroupsAt(column, k);
    ReadFileBlock(type, src + quant::BytesOf(type, column), groups, &row);
    if (IsExact(traits)) JoinOffsets(&row);
    StoreRow(traits, row, groups, lane, panel);
    panel += BlockBytes(traits, groups);
  }
}

/// Whether rows of `k` columns of `type` have a packed form.
Status CheckPackable(DType type, std::int64_t k) {
  if (!PackFormatOf(type)) {
    return Unsupported("tensors of type " + std::string(quant::Info(type).name) + " cannot be multiplied with");
  }
  const std::int64_t block = quant::Info(type).block;
  if (k % block != 0) {
    return InvalidArgument("rows of " + std::to_string(k) + " columns are not whole " +
                           std::string(quant::Info(type).name) + " blocks of " + std::to_string(block));
  }
  return {};
}

// Panel p of the matrix goes to dst + p * panel_distance.
void PackPanels(DType type, PackFormat format, const std::uint8_t* src, std::int64_t n, std::int64_t k,
                std::int64_t panel_distance, std::uint8_t* dst) {
  const std::int64_t row_bytes = quant::BytesOf(type, k);
  const auto panel_bytes = static_cast<std::size_t>(PanelBytes(format, k));
  for (std::int64_t p = 0; p < Panels(n); ++p) {
    std::uint8_t* panel = dst + p * panel_distance;
    std::memset(panel, 0, panel_bytes);
    for (std::int64_t lane = 0; lane < std::min(kLanes, n - p * kLanes); ++lane) {
      const std::uint8_t* row = src + (p * kLanes + lane) * row_bytes;
      if (IsFloat(format)) {
        PackFloatRow(format, row, k, lane, panel);
      } else {
        PackIntegerRow(type, format, row, k, lane, panel);
      }
    }
  }
}

void UnpackFloatRow(PackFormat format, const std::uint8_t* panel, std::int64_t k, std::int64_t lane, float* dst) {
  for (std::int64_t c = 0; c < k; ++c) {
    const std::uint8_t* src = panel + (c * kLanes + lane) * FloatBytes(format);
    if (format == PackFormat::kF32) {
      std::memcpy(dst + c, src, sizeof(float));
    } else {
      std::uint16_t bits;
      std::memcpy(&bits, src, sizeof bits);
      dst[c] = format == PackFormat::kF16 ? quant::HalfToFloat(bits) : quant::Bf16ToFloat(bits);
    }
  }
}

// Products of d, s and q are exact in float (11 + 6 + 7 bits at most), so only the subtraction rounds, as in ggml; what
// is int8-exact does not round at all.
void RowToFloats(const PackTraits& traits, const RowBlock& row, std::int64_t columns, float* dst) {
  std::int8_t q[kBlock];
  CodeValues(traits, row.code, columns, q);
  const float super_d = quant::HalfToFloat(row.super_d);
  const float super_min = quant::HalfToFloat(row.super_min);
  for (std::int64_t c = 0; c < columns; ++c) {
    const auto value = static_cast<float>(q[c]);
    if (IsExact(traits)) {
      dst[c] = super_d * static_cast<float>(row.s[c / 16] * q[c] - row.z[c / 16]);
    } else if (IsTwoLevel(traits.scales)) {
      const float scale = super_d * static_cast<float>(row.s[c / 16]);
      dst[c] = scale * value;
      if (HasMin(traits.scales)) dst[c] -= super_min * static_cast<float>(row.z[c / 16]);
    } else {
      dst[c] = GroupScale(traits, row.d[c / kGroup]) * value;
      if (HasMin(traits.scales)) dst[c] += quant::HalfToFloat(row.m[c / kGroup]);
    }
  }
}

}  // namespace

std::optional<PackFormat> PackFormatOf(DType type) {
  switch (type) {
    case DType::kF32: return PackFormat::kF32;
    case DType::kF16: return PackFormat::kF16;
    case DType::kBF16: return PackFormat::kBf16;
    case DType::kQ4_0: return PackFormat::kG32S4;
    case DType::kQ4_1: return PackFormat::kG32U4;
    case DType::kQ5_0: return PackFormat::kG32S5;
    case DType::kQ5_1: return PackFormat::kG32U5;
    case DType::kQ8_0: return PackFormat::kG32S8;
    case DType::kIQ4_NL: return PackFormat::kG32Iq4;
    case DType::kMXFP4: return PackFormat::kG32Mxfp4;
    case DType::kQ2_K: return PackFormat::kK256U2;
    case DType::kQ3_K: return PackFormat::kK256S3;
    case DType::kQ4_K: return PackFormat::kK256U4;
    case DType::kQ5_K: return PackFormat::kK256U5;
    case DType::kQ6_K: return PackFormat::kK256S6;
    case DType::kIQ4_XS: return PackFormat::kK256Iq4;
    default: return std::nullopt;
  }
}

std::optional<PackFormat> ExactFormatOf(DType type) {
  return type == DType::kQ4_K ? std::optional(PackFormat::kK256X4) : std::nullopt;
}

bool ExactRows(DType type, const void* src, std::int64_t n, std::int64_t k) {
  return type == DType::kQ4_K && k % kBlock == 0 && quant::IsInt8Exact(src, n * k);
}

std::int64_t ActBlock(PackFormat format) {
  if (IsFloat(format)) return 0;
  return IsTwoLevel(TraitsOf(format).scales) ? kBlock : kGroup;
}

std::int64_t PanelBytes(PackFormat format, std::int64_t k) {
  if (IsFloat(format)) {
    return (k * kLanes * FloatBytes(format) + kLineBytes - 1) / kLineBytes * kLineBytes;
  }
  const PackTraits traits = TraitsOf(format);
  const std::int64_t rest = k % kBlock / kGroup;
  return k / kBlock * BlockBytes(traits, kBlockGroups) + (rest == 0 ? 0 : BlockBytes(traits, rest));
}

std::int64_t PackedBytes(PackFormat format, std::int64_t n, std::int64_t k) {
  return Panels(n) * PanelBytes(format, k);
}

Status PackMatrix(DType type, PackFormat format, const void* src, std::int64_t n, std::int64_t k, std::uint8_t* dst) {
  QUORUM_TRY(CheckPackable(type, k));
  PackPanels(type, format, static_cast<const std::uint8_t*>(src), n, k, PanelBytes(format, k), dst);
  return {};
}

Status PackMatrix(DType type, const void* src, std::int64_t n, std::int64_t k, std::uint8_t* dst) {
  return PackMatrix(type, PackFormatOf(type).value_or(PackFormat::kF32), src, n, k, dst);
}

Status PackGateUp(DType type, PackFormat format, const void* gate, const void* up, std::int64_t n, std::int64_t k,
                  std::uint8_t* dst) {
  QUORUM_TRY(CheckPackable(type, k));
  const std::int64_t panel_bytes = PanelBytes(format, k);
  PackPanels(type, format, static_cast<const std::uint8_t*>(gate), n, k, 2 * panel_bytes, dst);
  PackPanels(type, format, static_cast<const std::uint8_t*>(up), n, k, 2 * panel_bytes, dst + panel_bytes);
  return {};
}

void UnpackRow(const PackedView& view, std::int64_t i, float* dst) {
  const std::uint8_t* panel = view.panels + i / kLanes * view.panel_bytes;
  const std::int64_t lane = i % kLanes;
  if (IsFloat(view.format)) {
    UnpackFloatRow(view.format, panel, view.k, lane, dst);
    return;
  }
  const PackTraits traits = TraitsOf(view.format);
  RowBlock row;
  for (std::int64_t column = 0; column < view.k; column += kBlock) {
    const std::int64_t groups = GroupsAt(column, view.k);
    LoadRow(traits, panel, groups, lane, &row);
    RowToFloats(traits, row, groups * kGroup, dst + column);
    panel += BlockBytes(traits, groups);
  }
}

}  // namespace quorum::engine
