#include "engine/source_attention.h"

#include <iterator>

namespace quorum::engine {

SourceAttention::SourceAttention(Bump& memory, const ModelSpec& spec, const WeightForms& forms,
                                 const StepOptions& limits)
    : spec_(spec.attention),
      q_width_(std::int64_t{spec_.heads} * spec_.head_dim),
      k_width_(std::int64_t{spec_.kv_heads} * spec_.head_dim),
      d_model_(spec.d_model),
      q_(memory.Take<float>(limits.rows * q_width_)),
      k_(memory.Take<float>(limits.rows * k_width_)),
      v_(memory.Take<float>(limits.rows * k_width_)),
      attended_(memory, limits.rows, q_width_, WithFloats(forms.attention), limits.activations) {}

void SourceAttention::Store(const Team& team, KvCache& cache, const PackedView& k, const PackedView& v,
                            std::int32_t layer, std::span<const StepRow> rows, const ActBuffer& in) {
  const Product products[] = {{&k, in.View(k.format), k_, k_width_}, {&v, in.View(v.format), v_, k_width_}};
  team.Run(products, std::ssize(products), std::ssize(rows));
  team.ForRows(std::ssize(rows), [&](std::int64_t row) {
    const StepRow& at = rows[static_cast<std::size_t>(row)];
    cache.Write(layer, at.page, at.slot, k_ + row * k_width_, v_ + row * k_width_);
  });
}

void SourceAttention::Attend(const Team& team, const KvCache& cache, const PackedView& q, const PackedView& output,
                             const PositionBias* bias, std::int32_t layer, std::span<const AttendSlice> slices,
                             std::int64_t rows, const ActBuffer& in, float* out) {
  const Product query{&q, in.View(q.format), q_, q_width_};
  team.Run(&query, 1, rows);
  const AttentionParams params{.heads = spec_.heads, .scale = spec_.scale, .softcap = spec_.softcap, .bias = bias};
  engine::Attend(team.kernels, team.pool, cache, layer, params, slices, q_, attended_.Floats(0));
  ActForms forms;
  forms.Add(output.format);
  team.ForRows(rows, [&](std::int64_t row) {
    attended_.Quantize(team.kernels, forms, row, 0, attended_.Floats(row), q_width_);
  });
  const Product product{&output, attended_.View(output.format), out, d_model_};
  team.Run(&product, 1, rows);
}

}  // namespace quorum::engine
