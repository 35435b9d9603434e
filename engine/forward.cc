#include "engine/forward.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"

namespace quorum::engine {
namespace {

void Scale(float factor, std::int64_t n, float* x) {
  if (factor == 1.0F) return;
  for (std::int64_t i = 0; i < n; ++i) x[i] *= factor;
}

}  // namespace

Forward::Buffers::Buffers(Bump& memory, const ModelSpec& spec, const WeightForms& forms, const StepOptions& limits,
                          const ThreadPool& pool)
    : x(memory.Take<float>(limits.rows * spec.d_model)),
      block(memory.Take<float>(limits.rows * spec.d_model)),
      cos(memory.Take<float>(limits.rows * spec.rope.dims / 2)),
      sin(memory.Take<float>(limits.rows * spec.rope.dims / 2)),
      model(memory, limits.rows, spec.d_model, WithFloats(forms.model), limits.activations),
      attention(MakeAttention(memory, spec, forms, limits)),
      ffn(memory, spec, forms, limits.rows, limits.activations, std::ssize(pool.group_nodes())),
      scratch_floats((FeedForward::ScratchFloats() + kPlaneScratch + 15) / 16 * 16) {
  scratch = memory.Take<float>(scratch_floats * pool.size());
  if (spec.encoder.empty()) return;
  source = std::make_unique<SourceAttention>(memory, spec, forms, limits);
  source_x = memory.Take<float>(limits.source * spec.d_model);
}

std::int64_t Forward::WorkspaceBytes(const ModelSpec& spec, const WeightForms& forms, const StepOptions& limits,
                                     const ThreadPool& pool) {
  Bump counting;
  const Buffers without_memory(counting, spec, forms, limits, pool);
  return counting.size();
}

Result<std::unique_ptr<Forward>> Forward::Create(const ModelSpec& spec, const Weights& weights,
                                                 const KernelTable& kernels, ThreadPool& pool, KvCache& cache,
                                                 const StepOptions& limits) {
  const std::int64_t bytes = WorkspaceBytes(spec, weights.forms(), limits, pool);
  QUORUM_ASSIGN(AlignedBuffer memory, AlignedBuffer::Allocate(static_cast<std::size_t>(bytes)));
  const Bump bump(memory.data());
  return std::unique_ptr<Forward>(new Forward(spec, weights, kernels, pool, cache, std::move(memory), bump, limits));
}

Forward::Forward(const ModelSpec& spec, const Weights& weights, const KernelTable& kernels, ThreadPool& pool,
                 KvCache& cache, AlignedBuffer memory, Bump bump, const StepOptions& limits)
    : spec_(spec),
      weights_(weights),
      cache_(cache),
      memory_(std::move(memory)),
      buffers_(bump, spec, weights.forms(), limits, pool),
      team_{kernels, pool, buffers_.scratch, buffers_.scratch_floats},
      residual_{spec, kernels, buffers_.x, buffers_.block, &buffers_.model},
      rope_(MakeRopeTable(spec.rope)) {
  rows_.reserve(static_cast<std::size_t>(limits.rows));
  row_experts_.reserve(static_cast<std::size_t>(limits.rows));
  wanted_.reserve(static_cast<std::size_t>(limits.logits));
  if (spec.encoder.empty()) return;
  encoder_ = std::make_unique<Encoder>(spec, weights, cache, team_,
                                       EncoderBuffers{.x = buffers_.source_x,
                                                      .block = buffers_.block,
                                                      .model = &buffers_.model,
                                                      .attention = buffers_.source.get(),
                                                      .ffn = &buffers_.ffn,
                                                      .rows = limits.rows});
}

bool Forward::Step(std::span<const StepSlice> slices, float* logits, ExpertCounters* counters,
                   const std::function<bool()>& stop) {
  if (encoder_ != nullptr) slices = Encode(slices, counters);
  if (slices.empty()) return true;
  Gather(slices);
  Start();
  const std::int64_t rows = std::ssize(rows_);
  for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
    if (stop && stop()) return false;
    const LayerWeights& layer = weights_.layers()[i];
    const auto index = static_cast<std::int32_t>(i);
    team_.ForRows(rows, [&](std::int64_t row) {
      if (i > 0) residual_.Add(weights_.layers()[i - 1].ffn_post_norm, row);
      residual_.Norm(layer.attention_norm, layer.attention_input, row, row);
    });
    if (i > 0) ShowResidual(i - 1, 0, nullptr, rows);
    const AttentionStep step{slices, rows_, buffers_.cos, buffers_.sin};
    buffers_.attention->Run(team_, cache_, step, layer, index, buffers_.model, buffers_.block);
    if (encoder_ != nullptr) CrossAttention(layer.cross, index, slices);
    team_.ForRows(rows, [&](std::int64_t row) {
      if (layer.output_bias != nullptr) {
        team_.kernels.add(layer.output_bias, spec_.d_model, buffers_.block + row * spec_.d_model);
      }
      residual_.Add(layer.attention_post_norm, row);
      residual_.Norm(layer.ffn_norm, layer.ffn_input, row, row);
    });
    buffers_.ffn.Run(team_, index, spec_.layers[i], layer, buffers_.model, rows, buffers_.block, row_experts_,
                     counters);
  }
  if (!wanted_.empty()) Logits(logits);
  Hidden(slices);
  return true;
}

/// Runs the encoder on the slices that are for it; returns the others.
std::span<const StepSlice> Forward::Encode(std::span<const StepSlice> slices, ExpertCounters* counters) {
  sources_.clear();
  decoding_.clear();
  for (const StepSlice& slice : slices) (slice.encode ? sources_ : decoding_).push_back(slice);
  if (!sources_.empty()) encoder_->Run(sources_, counters);
  return decoding_;
}

/// Ends the layer's own attention and leaves in `block` what its attention to the sources adds.
void Forward::CrossAttention(const CrossWeights& cross, std::int32_t index, std::span<const StepSlice> slices) {
  const std::int64_t rows = std::ssize(rows_);
  team_.ForRows(rows, [&](std::int64_t row) {
    residual_.Add(nullptr, row);
    residual_.Norm(cross.norm, cross.input, row, row);
  });
  crossing_.clear();
  for (const StepSlice& slice : slices) {
    crossing_.push_back({.tokens = static_cast<std::int32_t>(slice.tokens.size()),
                         .pos = slice.pos,
                         .pages = slice.source_pages,
                         .whole = slice.source_tokens});
  }
  buffers_.source->Attend(team_, cache_, cross.q, cross.output, nullptr, index, crossing_, rows, buffers_.model,
                          buffers_.block);
}

void Forward::Gather(std::span<const StepSlice> slices) {
  rows_.clear();
  wanted_.clear();
  GatherExperts(slices, row_experts_);
  for (const StepSlice& slice : slices) {
    for (std::size_t i = 0; i < slice.tokens.size(); ++i) {
      const auto position = slice.pos + static_cast<std::int32_t>(i);
      if (static_cast<std::int32_t>(i) >= slice.first_logits) {
        wanted_.push_back(static_cast<std::int32_t>(rows_.size()));
      }
      rows_.push_back({slice.tokens[i], position, slice.pages[static_cast<std::size_t>(position / kPageTokens)],
                       position % kPageTokens});
    }
  }
}

/// Embeddings, and the angles of each row's position.
void Forward::Start() {
  const std::int64_t pairs = spec_.rope.dims / 2;
  team_.ForRows(std::ssize(rows_), [&](std::int64_t row) {
    const StepRow& at = rows_[static_cast<std::size_t>(row)];
    float* x = buffers_.x + row * spec_.d_model;
    weights_.Embed(at.token, x);
    Scale(spec_.embedding_scale, spec_.d_model, x);
    RopeAngles(rope_, at.position, buffers_.cos + row * pairs, buffers_.sin + row * pairs);
  });
}

/// The stream behind `layer`: rows first, first + 1, ..., or `ids`.
void Forward::ShowResidual(std::size_t layer, std::int64_t first, const std::int32_t* ids, std::int64_t count) const {
  if (team_.tap == nullptr) return;
  team_.tap->Rows(TapPoint::kResidual, static_cast<std::int32_t>(layer), ActivationTap::kWhole,
                  {buffers_.x + first * spec_.d_model, spec_.d_model, spec_.d_model, count, ids});
}

/// Final hidden states of the slices that want them. After Logits, whose rows in the normed input are done with.
void Forward::Hidden(std::span<const StepSlice> slices) {
  std::int64_t first = 0;
  for (const StepSlice& slice : slices) {
    const std::int64_t count = std::ssize(slice.tokens);
    if (slice.hidden != nullptr) {
      team_.ForRows(count, [&](std::int64_t i) {
        residual_.Add(weights_.layers().back().ffn_post_norm, first + i);
        residual_.Norm(weights_.final_norm(), weights_.output_input(), first + i, first + i);
        std::copy_n(buffers_.model.Floats(first + i), spec_.d_model, slice.hidden + i * spec_.d_model);
      });
      ShowResidual(spec_.layers.size() - 1, first, nullptr, count);
    }
    first += count;
  }
}

void Forward::Logits(float* logits) {
  const std::int64_t count = std::ssize(wanted_);
  team_.ForRows(count, [&](std::int64_t to) {
    const std::int64_t row = wanted_[static_cast<std::size_t>(to)];
    residual_.Add(weights_.layers().back().ffn_post_norm, row);
    residual_.Norm(weights_.final_norm(), weights_.output_input(), row, to);
  });
  ShowResidual(spec_.layers.size() - 1, 0, wanted_.data(), count);
  const Product product{&weights_.output(), buffers_.model.View(weights_.output().format), logits, spec_.vocab_size};
  team_.Run(&product, 1, count);
  const float* bias = weights_.logit_bias();
  if (bias == nullptr && spec_.logit_scale == 1.0F && spec_.logit_softcap == 0.0F) return;
  team_.ForRows(count, [&](std::int64_t to) {
    float* row = logits + to * spec_.vocab_size;
    if (bias != nullptr) team_.kernels.add(bias, spec_.vocab_size, row);
    Scale(spec_.logit_scale, spec_.vocab_size, row);
    if (spec_.logit_softcap != 0.0F) team_.kernels.softcap(spec_.logit_softcap, spec_.vocab_size, row);
  });
}

}  // namespace quorum::engine
