#include "engine/gqa.h"

#include <algorithm>
#include <iterator>

namespace quorum::engine {
namespace {

void Clamp(float limit, std::int64_t n, float* x) {
  for (std::int64_t i = 0; i < n; ++i) x[i] = std::clamp(x[i], -limit, limit);  // NaN stays
}

}  // namespace

GqaAttention::GqaAttention(Bump& memory, const ModelSpec& spec, const WeightForms& forms, const StepOptions& limits)
    : spec_(spec),
      q_width_(std::int64_t{spec.attention.heads} * spec.attention.head_dim),
      k_width_(std::int64_t{spec.attention.kv_heads} * spec.attention.head_dim),
      q_(memory.Take<float>(limits.rows * q_width_)),
      k_(memory.Take<float>(limits.rows * k_width_)),
      v_(memory.Take<float>(limits.rows * k_width_)),
      attended_(memory, limits.rows, q_width_, WithFloats(forms.attention), limits.activations) {}

void GqaAttention::Run(const Team& team, KvCache& cache, const AttentionStep& step, const LayerWeights& layer,
                       std::int32_t index, const ActBuffer& in, float* out) {
  const std::int64_t rows = std::ssize(step.rows);
  const Product inputs[] = {{&layer.q, in.View(layer.q.format), q_, q_width_},
                            {&layer.k, in.View(layer.k.format), k_, k_width_},
                            {&layer.v, in.View(layer.v.format), v_, k_width_}};
  team.Run(inputs, std::ssize(inputs), rows);
  if (team.tap != nullptr) {
    team.tap->Rows(TapPoint::kAttentionInput, index, ActivationTap::kWhole, in.Shown(spec_.d_model, rows));
  }
  team.ForRows(rows, [&](std::int64_t row) { RotateAndStore(team.kernels, cache, step, layer, index, row); });

  const AttentionSpec& attention = spec_.attention;
  const AttentionParams params{.heads = attention.heads,
                               .scale = attention.scale,
                               .window = spec_.layers[static_cast<std::size_t>(index)].window,
                               .softcap = attention.softcap,
                               .sinks = layer.sinks,
                               .bias = layer.position_bias};
  Attend(team.kernels, team.pool, cache, index, params, step.slices, q_, attended_.Floats(0));
  if (team.tap != nullptr) {
    team.tap->Rows(TapPoint::kAttentionOutput, index, ActivationTap::kWhole, attended_.Shown(q_width_, rows));
  }

  team.ForRows(rows, [&](std::int64_t row) {
    attended_.Quantize(team.kernels, layer.attention_output, row, 0, attended_.Floats(row), q_width_);
  });
  const Product output{&layer.output, attended_.View(layer.output.format), out, spec_.d_model};
  team.Run(&output, 1, rows);
}

/// Biases, norms and rotation of a row's queries and keys; keys and values go to the cache.
void GqaAttention::RotateAndStore(const KernelTable& kernels, KvCache& cache, const AttentionStep& step,
                                  const LayerWeights& layer, std::int32_t index, std::int64_t row) {
  const AttentionSpec& attention = spec_.attention;
  float* q = q_ + row * q_width_;
  float* k = k_ + row * k_width_;
  float* v = v_ + row * k_width_;
  if (layer.q_bias != nullptr) {
    kernels.add(layer.q_bias, q_width_, q);
    kernels.add(layer.k_bias, k_width_, k);
    kernels.add(layer.v_bias, k_width_, v);
  }
  if (layer.q_norm != nullptr) {
    NormHeads(kernels, layer.q_norm, attention.heads, q);
    NormHeads(kernels, layer.k_norm, attention.kv_heads, k);
  }
  if (attention.qkv_clamp > 0) {
    Clamp(attention.qkv_clamp, q_width_, q);
    Clamp(attention.qkv_clamp, k_width_, k);
    Clamp(attention.qkv_clamp, k_width_, v);
  }
  const std::int64_t pairs = spec_.rope.dims / 2;
  if (pairs > 0 && spec_.layers[static_cast<std::size_t>(index)].rope) {
    const bool neox = spec_.rope.pairs == RopePairs::kNeox;
    const float* cos = step.cos + row * pairs;
    const float* sin = step.sin + row * pairs;
    for (std::int64_t head = 0; head < attention.heads; ++head) {
      kernels.rope(q + head * attention.head_dim, cos, sin, spec_.rope.dims, neox);
    }
    for (std::int64_t head = 0; head < attention.kv_heads; ++head) {
      kernels.rope(k + head * attention.head_dim, cos, sin, spec_.rope.dims, neox);
    }
  }
  if (cache.shape().type == KvType::kInt8) {
    // Queries and keys have a few large dimensions; mixed with the others they leave int8 more of its range.
    const float factor = 1.0F / static_cast<float>(HadamardWidth(attention.head_dim));
    for (std::int64_t head = 0; head < attention.heads; ++head) {
      kernels.hadamard(q + head * attention.head_dim, attention.head_dim, factor);
    }
    for (std::int64_t head = 0; head < attention.kv_heads; ++head) {
      kernels.hadamard(k + head * attention.head_dim, attention.head_dim, 1.0F);
    }
  }
  const StepRow& at = step.rows[static_cast<std::size_t>(row)];
  cache.Write(index, at.page, at.slot, k, v);
}

void GqaAttention::NormHeads(const KernelTable& kernels, const float* weight, std::int64_t heads, float* row) const {
  const std::int64_t dim = spec_.attention.head_dim;
  if (spec_.attention.qk_norm == QkNorm::kPerRow) {
    kernels.rms_norm(row, weight, spec_.norm_eps, heads * dim, row);
    return;
  }
  for (std::int64_t head = 0; head < heads; ++head) {
    kernels.rms_norm(row + head * dim, weight, spec_.norm_eps, dim, row + head * dim);
  }
}

}  // namespace quorum::engine
