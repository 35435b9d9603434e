#include "engine/mla.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <vector>

namespace quorum::engine {
namespace {

/// Every `stride`th row of `act`.
ActView EveryRow(ActView act, std::int64_t stride) {
  act.ld_x *= stride;
  act.ld_q *= stride;
  act.ld_b *= stride;
  act.ld_s *= stride;
  return act;
}

}  // namespace

MlaAttention::MlaAttention(Bump& memory, const ModelSpec& spec, const WeightForms& forms, const StepOptions& limits)
    : spec_(spec),
      latent_(spec.attention.latent),
      heads_(spec.attention.heads),
      key_dim_(spec.attention.cached_key_dim()),
      q_(memory.Take<float>(limits.rows * heads_ * spec.attention.head_dim)),
      kv_(memory.Take<float>(limits.rows * key_dim_)),
      absorbed_(memory.Take<float>(limits.rows * heads_ * key_dim_)),
      nope_forms_(forms.query_nope),
      mixed_forms_(forms.mixed_latent),
      query_latent_(memory, limits.rows, latent_.q_rank, WithFloats(forms.query_latent), limits.activations),
      nope_(memory, limits.rows * heads_, latent_.nope_dim, forms.query_nope, limits.activations),
      mixed_(memory, limits.rows * heads_, latent_.kv_rank, WithFloats(forms.mixed_latent), limits.activations),
      attended_(memory, limits.rows, spec.attention.output_width(), WithFloats(forms.attention), limits.activations) {}

void MlaAttention::Run(const Team& team, KvCache& cache, const AttentionStep& step, const LayerWeights& layer,
                       std::int32_t index, const ActBuffer& in, float* out) {
  const std::int64_t rows = std::ssize(step.rows);
  Project(team, layer, in, rows);
  team.ForRows(rows, [&](std::int64_t row) { RotateAndStore(team.kernels, cache, step, layer, index, row); });
  RunHeads(team, layer.latent.k_up, nope_, rows, absorbed_, key_dim_);
  if (team.tap != nullptr) ShowInputs(*team.tap, layer, index, in, rows);

  const AttentionSpec& attention = spec_.attention;
  const AttentionParams params{.heads = attention.heads,
                               .scale = attention.scale,
                               .window = spec_.layers[static_cast<std::size_t>(index)].window,
                               .softcap = attention.softcap,
                               .sinks = layer.sinks,
                               .bias = layer.position_bias};
  Attend(team.kernels, team.pool, cache, index, params, step.slices, absorbed_, mixed_.Floats(0));
  for (std::int64_t head = 0; team.tap != nullptr && head < heads_; ++head) {
    team.tap->Rows(TapPoint::kMixedHead, index, static_cast<std::int32_t>(head),
                   mixed_.Shown(latent_.kv_rank, rows, head, heads_));
  }

  team.ForRows(rows * heads_, [&](std::int64_t row) {
    mixed_.Quantize(team.kernels, mixed_forms_, row, 0, mixed_.Floats(row), latent_.kv_rank);
  });
  RunHeads(team, layer.latent.v_up, mixed_, rows, attended_.Floats(0), latent_.value_dim);
  if (team.tap != nullptr) {
    team.tap->Rows(TapPoint::kAttentionOutput, index, ActivationTap::kWhole,
                   attended_.Shown(attention.output_width(), rows));
  }
  team.ForRows(rows, [&](std::int64_t row) {
    attended_.Quantize(team.kernels, layer.attention_output, row, 0, attended_.Floats(row), attention.output_width());
  });
  const Product output{&layer.output, attended_.View(layer.output.format), out, spec_.d_model};
  team.Run(&output, 1, rows);
}

/// What the matrices before attention have read.
void MlaAttention::ShowInputs(ActivationTap& tap, const LayerWeights& layer, std::int32_t index, const ActBuffer& in,
                              std::int64_t rows) const {
  tap.Rows(TapPoint::kAttentionInput, index, ActivationTap::kWhole, in.Shown(spec_.d_model, rows));
  if (latent_.q_rank > 0) {
    tap.Rows(TapPoint::kQueryLatent, index, ActivationTap::kWhole, query_latent_.Shown(latent_.q_rank, rows));
  }
  tap.Rows(TapPoint::kLatent, index, ActivationTap::kWhole, {kv_, latent_.kv_rank, key_dim_, rows, nullptr});
  for (std::int64_t head = 0; head < heads_; ++head) {
    if (ActBlock(layer.latent.k_up[static_cast<std::size_t>(head)].format) > 0) continue;
    tap.Rows(TapPoint::kQueryHead, index, static_cast<std::int32_t>(head),
             nope_.Shown(latent_.nope_dim, rows, head, heads_));
  }
}

/// Queries, latents and shared keys of the normed rows.
void MlaAttention::Project(const Team& team, const LayerWeights& layer, const ActBuffer& in, std::int64_t rows) {
  const LatentWeights& weights = layer.latent;
  const Product kv{&weights.kv_down, in.View(weights.kv_down.format), kv_, key_dim_};
  const std::int64_t q_width = heads_ * spec_.attention.head_dim;
  if (latent_.q_rank == 0) {
    const Product inputs[] = {{&layer.q, in.View(layer.q.format), q_, q_width}, kv};
    team.Run(inputs, std::ssize(inputs), rows);
    return;
  }
  const Product inputs[] = {{&weights.q_down, in.View(weights.q_down.format), query_latent_.Floats(0), latent_.q_rank},
                            kv};
  team.Run(inputs, std::ssize(inputs), rows);
  ActForms forms;
  forms.Add(layer.q.format);
  team.ForRows(rows, [&](std::int64_t row) {
    float* x = query_latent_.Floats(row);
    team.kernels.rms_norm(x, weights.q_norm, latent_.norm_eps, latent_.q_rank, x);
    query_latent_.Quantize(team.kernels, forms, row, 0, x, latent_.q_rank);
  });
  const Product q{&layer.q, query_latent_.View(layer.q.format), q_, q_width};
  team.Run(&q, 1, rows);
}

/// Norm of the latent and rotations of a row; latent and shared key go to the cache, the rotated parts of the queries
/// to where the latent ones will join them, the others to `nope_`.
void MlaAttention::RotateAndStore(const KernelTable& kernels, KvCache& cache, const AttentionStep& step,
                                  const LayerWeights& layer, std::int32_t index, std::int64_t row) {
  const bool neox = spec_.rope.pairs == RopePairs::kNeox;
  const std::int64_t pairs = spec_.rope.dims / 2;
  const float* cos = step.cos + row * pairs;
  const float* sin = step.sin + row * pairs;
  float* kv = kv_ + row * key_dim_;
  kernels.rms_norm(kv, layer.latent.kv_norm, latent_.norm_eps, latent_.kv_rank, kv);
  kernels.rope(kv + latent_.kv_rank, cos, sin, spec_.rope.dims, neox);
  const bool mixes = cache.shape().type == KvType::kInt8;  // as in GqaAttention
  if (mixes) kernels.hadamard(kv + latent_.kv_rank, latent_.rope_dim, 1.0F);
  const StepRow& at = step.rows[static_cast<std::size_t>(row)];
  cache.Write(index, at.page, at.slot, kv, nullptr);

  for (std::int64_t head = row * heads_; head < (row + 1) * heads_; ++head) {
    const float* q = q_ + head * spec_.attention.head_dim;
    float* rotated = absorbed_ + head * key_dim_ + latent_.kv_rank;
    std::copy_n(q + latent_.nope_dim, latent_.rope_dim, rotated);
    kernels.rope(rotated, cos, sin, spec_.rope.dims, neox);
    if (mixes) kernels.hadamard(rotated, latent_.rope_dim, 1.0F / static_cast<float>(HadamardWidth(latent_.rope_dim)));
    if (nope_forms_.floats) std::copy_n(q, latent_.nope_dim, nope_.Floats(head));
    nope_.Quantize(kernels, nope_forms_, head, 0, q, latent_.nope_dim);
  }
}

/// Each head's matrix times its part of each row: `in` is (rows * heads, k), and out[row][head] begins at
/// (row * heads + head) * stride.
void MlaAttention::RunHeads(const Team& team, const std::vector<PackedView>& heads, const ActBuffer& in,
                            std::int64_t rows, float* out, std::int64_t stride) const {
  constexpr std::int64_t kProducts = 64;  // handed out at once; the heads of a larger model take a few rounds
  Product products[kProducts];
  for (std::int64_t first = 0; first < heads_; first += kProducts) {
    const std::int64_t count = std::min(kProducts, heads_ - first);
    for (std::int64_t i = 0; i < count; ++i) {
      const PackedView& matrix = heads[static_cast<std::size_t>(first + i)];
      const ActPlanes act = in.View(matrix.format, first + i);
      products[i] = {&matrix,
                     {EveryRow(act.first, heads_), EveryRow(act.second, heads_)},
                     out + (first + i) * stride,
                     heads_ * stride};
    }
    team.Run(products, count, rows);
  }
}

}  // namespace quorum::engine
