// The golden model of the matrix products: every other implementation equals it bit for bit.
#include <algorithm>
#include <cstring>

#include "engine/kernels/kernel_impl.h"
#include "engine/kernels/pack_layout.h"
#include "engine/kernels/row_block.h"
#include "quant/dtype.h"

namespace quorum::engine::scalar {
namespace {

/// One activation row's part of a block.
struct ActBlockView {
  const int8_t* q;
  const float* scale;
  const int32_t* sum;  // for each 16 columns
};

int32_t Dot16(const int8_t* a, const int8_t* b) {
  int32_t sum = 0;
  for (int i = 0; i < 16; ++i) sum += a[i] * b[i];
  return sum;
}

/// A row of weights over one block, ready to be multiplied.
struct WeightBlock {
  int8_t q[kBlock];
  RowBlock raw;
  float d[kBlockGroups];  // one level
  float m[kBlockGroups];
  float super_d;  // two levels
  float super_min;
};

void LoadWeights(const PackTraits& traits, const uint8_t* block, int64_t groups, int64_t lane, WeightBlock* w) {
  LoadRow(traits, block, groups, lane, &w->raw);
  CodeValues(traits, w->raw.code, groups * kGroup, w->q);
  if (IsTwoLevel(traits.scales)) {
    w->super_d = quant::HalfToFloat(w->raw.super_d);
    w->super_min = quant::HalfToFloat(w->raw.super_min);
    return;
  }
  for (int64_t g = 0; g < groups; ++g) {
    w->d[g] = GroupScale(traits, w->raw.d[g]);
    w->m[g] = quant::HalfToFloat(w->raw.m[g]);
  }
}

// One float scale per 32 columns. |dot| <= 32 * 128 * 127 < 2^24.
float JoinOneLevel(const PackTraits& traits, const WeightBlock& w, const ActBlockView& a, int64_t groups, float acc) {
  for (int64_t g = 0; g < groups; ++g) {
    const int32_t dot = Dot16(w.q + 32 * g, a.q + 32 * g) + Dot16(w.q + 32 * g + 16, a.q + 32 * g + 16);
    acc = __builtin_fmaf(static_cast<float>(dot), w.d[g] * a.scale[g], acc);
    if (HasMin(traits.scales)) {
      acc = __builtin_fmaf(w.m[g], a.scale[g] * static_cast<float>(a.sum[2 * g] + a.sum[2 * g + 1]), acc);
    }
  }
  return acc;
}

// Integer scales per 16 columns (or twice the same for 32), one float per 256.
// |dot| <= 256 * 127 * max|s * q|, and max|s * q| is 128 * 32 (Q6_K), 32 * 127 (IQ4_XS), 63 * 31 (Q5_K): < 2^28.
// |offset| <= 256 * 127 * 63 < 2^21. Int8-exact: |dot - offset| <= 256 * 127 * 127 < 2^22.
float JoinTwoLevels(const PackTraits& traits, const WeightBlock& w, const ActBlockView& a, float acc) {
  int32_t dot = 0;
  int32_t offset = 0;
  for (int64_t h = 0; h < kBlock / 16; ++h) {
    dot += w.raw.s[h] * Dot16(w.q + 16 * h, a.q + 16 * h);
    offset += w.raw.z[h] * a.sum[h];
  }
  if (IsExact(traits)) dot -= offset;
  acc = __builtin_fmaf(static_cast<float>(dot), w.super_d * a.scale[0], acc);
  if (HasMin(traits.scales)) acc = __builtin_fmaf(-static_cast<float>(offset), w.super_min * a.scale[0], acc);
  return acc;
}

void MatMulInteger(const PackedView& w, const ActView& act, const int32_t* rows, int64_t m, int64_t panel_begin,
                   int64_t panel_end, float* dst, int64_t ld) {
  const PackTraits traits = TraitsOf(w.format);
  const bool two_levels = IsTwoLevel(traits.scales);
  const int64_t act_block = two_levels ? kBlock : kGroup;
  WeightBlock weights;
  for (int64_t p = panel_begin; p < panel_end; ++p) {
    const uint8_t* block = w.panels + p * w.panel_bytes;
    for (int64_t column = 0; column < w.k; column += kBlock) {
      const int64_t groups = std::min(kBlockGroups, (w.k - column) / kGroup);
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        LoadWeights(traits, block, groups, lane, &weights);
        for (int64_t i = 0; i < m; ++i) {
          const int64_t row = rows == nullptr ? i : rows[i];
          const ActBlockView a = {act.q + row * act.ld_q + column, act.scale + row * act.ld_b + column / act_block,
                                  act.sum + row * act.ld_s + column / 16};
          float* acc = dst + i * ld + (p - panel_begin) * kLanes + lane;
          const float before = column == 0 ? 0.0F : *acc;
          *acc =
              two_levels ? JoinTwoLevels(traits, weights, a, before) : JoinOneLevel(traits, weights, a, groups, before);
        }
      }
      block += BlockBytes(traits, groups);
    }
  }
}

// 16 weights of one column as floats.
void LoadColumn(PackFormat format, const uint8_t* panel, int64_t column, float* w) {
  if (format == PackFormat::kF32) {
    std::memcpy(w, panel + column * kLanes * 4, kLanes * 4);
    return;
  }
  uint16_t bits[kLanes];
  std::memcpy(bits, panel + column * kLanes * 2, sizeof bits);
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    w[lane] = format == PackFormat::kF16 ? quant::HalfToFloat(bits[lane]) : quant::Bf16ToFloat(bits[lane]);
  }
}

void MatMulFloat(const PackedView& w, const ActView& act, const int32_t* rows, int64_t m, int64_t panel_begin,
                 int64_t panel_end, float* dst, int64_t ld) {
  for (int64_t p = panel_begin; p < panel_end; ++p) {
    for (int64_t i = 0; i < m; ++i) {
      float* acc = dst + i * ld + (p - panel_begin) * kLanes;
      std::fill_n(acc, kLanes, 0.0F);
    }
    for (int64_t column = 0; column < w.k; ++column) {
      float weights[kLanes];
      LoadColumn(w.format, w.panels + p * w.panel_bytes, column, weights);
      for (int64_t i = 0; i < m; ++i) {
        const int64_t row = rows == nullptr ? i : rows[i];
        const float x = act.x[row * act.ld_x + column];
        float* acc = dst + i * ld + (p - panel_begin) * kLanes;
        for (int64_t lane = 0; lane < kLanes; ++lane) acc[lane] = __builtin_fmaf(weights[lane], x, acc[lane]);
      }
    }
  }
}

}  // namespace

void MatMul(const PackedView& w, const ActView& act, const int32_t* rows, int64_t m, int64_t panel_begin,
            int64_t panel_end, float* dst, int64_t ld, const uint8_t* /*next*/) {
  const bool is_float = TraitsOf(w.format).payload == Payload::kNone;
  (is_float ? MatMulFloat : MatMulInteger)(w, act, rows, m, panel_begin, panel_end, dst, ld);
}

}  // namespace quorum::engine::scalar
