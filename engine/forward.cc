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
                          int threads)
    : x(memory.Take<float>(limits.rows * spec.d_model)),
      block(memory.Take<float>(limits.rows * spec.d_model)),
      cos(memory.Take<float>(limits.rows * spec.rope.dims / 2)),
      sin(memory.Take<float>(limits.rows * spec.rope.dims / 2)),
      model(memory, limits.rows, spec.d_model, WithFloats(forms.model), limits.activations),
      attention(MakeAttention(memory, spec, forms, limits)),
      ffn(memory, spec, forms, limits.rows, limits.activations),
      scratch_floats((FeedForward::ScratchFloats() + kPlaneScratch + 15) / 16 * 16) {
  scratch = memory.Take<float>(scratch_floats * threads);
}

std::int64_t Forward::WorkspaceBytes(const ModelSpec& spec, const WeightForms& forms, const StepOptions& limits,
                                     int threads) {
  Bump counting;
  const Buffers without_memory(counting, spec, forms, limits, threads);
  return counting.size();
}

Result<std::unique_ptr<Forward>> Forward::Create(const ModelSpec& spec, const Weights& weights,
                                                 const KernelTable& kernels, ThreadPool& pool, KvCache& cache,
                                                 const StepOptions& limits) {
  const std::int64_t bytes = WorkspaceBytes(spec, weights.forms(), limits, pool.size());
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
      buffers_(bump, spec, weights.forms(), limits, pool.size()),
      team_{kernels, pool, buffers_.scratch, buffers_.scratch_floats},
      rope_(MakeRopeTable(spec.rope)) {
  rows_.reserve(static_cast<std::size_t>(limits.rows));
  wanted_.reserve(static_cast<std::size_t>(limits.logits));
}

void Forward::Step(std::span<const StepSlice> slices, float* logits, ExpertCounters* counters) {
  Gather(slices);
  Start();
  const std::int64_t rows = std::ssize(rows_);
  for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
    const LayerWeights& layer = weights_.layers()[i];
    const auto index = static_cast<std::int32_t>(i);
    team_.ForRows(rows, [&](std::int64_t row) {
      if (i > 0) AddToResidual(weights_.layers()[i - 1].ffn_post_norm, row);
      NormRow(layer.attention_norm, layer.attention_input, row, row);
    });
    const AttentionStep step{slices, rows_, buffers_.cos, buffers_.sin};
    buffers_.attention->Run(team_, cache_, step, layer, index, buffers_.model, buffers_.block);
    team_.ForRows(rows, [&](std::int64_t row) {
      if (layer.output_bias != nullptr) {
        team_.kernels.add(layer.output_bias, spec_.d_model, buffers_.block + row * spec_.d_model);
      }
      AddToResidual(layer.attention_post_norm, row);
      NormRow(layer.ffn_norm, layer.ffn_input, row, row);
      std::fill_n(buffers_.block + row * spec_.d_model, spec_.d_model, 0.0F);
    });
    buffers_.ffn.Run(team_, index, spec_.layers[i], layer, buffers_.model, rows, buffers_.block, counters);
  }
  if (!wanted_.empty()) Logits(logits);
}

void Forward::Gather(std::span<const StepSlice> slices) {
  rows_.clear();
  wanted_.clear();
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

/// x += residual_scale * block, where block is normed first if there is a weight for that.
void Forward::AddToResidual(const float* post_norm, std::int64_t row) {
  float* block = buffers_.block + row * spec_.d_model;
  float* x = buffers_.x + row * spec_.d_model;
  if (post_norm != nullptr) team_.kernels.rms_norm(block, post_norm, spec_.norm_eps, spec_.d_model, block);
  if (spec_.residual_scale == 1.0F) {
    team_.kernels.add(block, spec_.d_model, x);
  } else {
    team_.kernels.axpy(spec_.residual_scale, block, spec_.d_model, x);
  }
}

/// Row `to` of the normed input, in the forms wanted, from row `row` of the residual stream.
void Forward::NormRow(const NormWeights& norm, const ActForms& forms, std::int64_t row, std::int64_t to) {
  const float* x = buffers_.x + row * spec_.d_model;
  float* normed = buffers_.model.Floats(to);
  if (norm.bias == nullptr) {
    team_.kernels.rms_norm(x, norm.weight, spec_.norm_eps, spec_.d_model, normed);
  } else {
    team_.kernels.layer_norm(x, norm.weight, norm.bias, spec_.norm_eps, spec_.d_model, normed);
  }
  buffers_.model.Quantize(team_.kernels, forms, to, 0, normed, spec_.d_model);
}

void Forward::Logits(float* logits) {
  const std::int64_t count = std::ssize(wanted_);
  team_.ForRows(count, [&](std::int64_t to) {
    const std::int64_t row = wanted_[static_cast<std::size_t>(to)];
    AddToResidual(weights_.layers().back().ffn_post_norm, row);
    NormRow(weights_.final_norm(), weights_.output_input(), row, to);
  });
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
