#include "engine/encoder.h"

#include <algorithm>
#include <iterator>

#include "engine/base/check.h"

namespace quorum::engine {
namespace {

// Keys and values of the encoder's own layers are needed only until its next layer: they take turns in one layer of the
// cache, where the decoder's cross attention finds other ones in the end.
constexpr std::int32_t kScratchLayer = 0;

}  // namespace

Encoder::Encoder(const ModelSpec& spec, const Weights& weights, KvCache& cache, const Team& team,
                 const EncoderBuffers& buffers)
    : spec_(spec), weights_(weights), cache_(cache), team_(team), buffers_(buffers) {
  QUORUM_CHECK(!spec.encoder.empty());
}

void Encoder::Run(std::span<const StepSlice> sources, ExpertCounters* counters) {
  Gather(sources);
  team_.ForRows(std::ssize(rows_), [&](std::int64_t row) {
    float* x = buffers_.x + row * spec_.d_model;
    weights_.Embed(rows_[static_cast<std::size_t>(row)].token, x);
    for (std::int64_t i = 0; i < spec_.d_model && spec_.embedding_scale != 1.0F; ++i) x[i] *= spec_.embedding_scale;
  });
  for (std::size_t i = 0; i < spec_.encoder.size(); ++i) Layer(i, counters);
  StoreForDecoder();
}

void Encoder::Gather(std::span<const StepSlice> sources) {
  rows_.clear();
  blocks_.clear();
  GatherExperts(sources, row_experts_);
  for (const StepSlice& source : sources) {
    for (std::size_t i = 0; i < source.tokens.size(); ++i) {
      const auto position = static_cast<std::int32_t>(i);
      rows_.push_back({source.tokens[i], position, source.pages[i / static_cast<std::size_t>(kPageTokens)],
                       position % kPageTokens});
    }
  }
  for (std::int64_t begin = 0; begin < std::ssize(rows_); begin += buffers_.rows) {
    const std::int64_t end = std::min(begin + buffers_.rows, static_cast<std::int64_t>(std::ssize(rows_)));
    const auto first_row = static_cast<std::size_t>(begin);
    const auto count = static_cast<std::size_t>(end - begin);
    Block block{begin, std::span(rows_).subspan(first_row, count), {}, {}};
    if (!row_experts_.empty()) block.requests = std::span(row_experts_).subspan(first_row, count);
    std::int64_t start = 0;  // of a source
    for (const StepSlice& source : sources) {
      const std::int64_t first = std::max(start, begin);
      const std::int64_t last = std::min(start + static_cast<std::int64_t>(source.tokens.size()), end);
      if (first < last) {
        block.slices.push_back({.tokens = static_cast<std::int32_t>(last - first),
                                .pos = static_cast<std::int32_t>(first - start),
                                .pages = source.pages,
                                .whole = static_cast<std::int32_t>(source.tokens.size())});
      }
      start += static_cast<std::int64_t>(source.tokens.size());
    }
    blocks_.push_back(std::move(block));
  }
}

ResidualRows Encoder::Residual(const Block& block) const {
  return {spec_, team_.kernels, buffers_.x + block.begin * spec_.d_model, buffers_.block, buffers_.model};
}

void Encoder::Layer(std::size_t index, ExpertCounters* counters) {
  const LayerWeights& layer = weights_.encoder()[index];
  const auto norm_rows = [&](const Block& block) {
    team_.ForRows(std::ssize(block.rows), [&](std::int64_t row) {
      Residual(block).Norm(layer.attention_norm, layer.attention_input, row, row);
    });
  };
  for (const Block& block : blocks_) {
    norm_rows(block);
    buffers_.attention->Store(team_, cache_, layer.k, layer.v, kScratchLayer, block.rows, *buffers_.model);
  }
  for (const Block& block : blocks_) {
    const std::int64_t rows = std::ssize(block.rows);
    if (blocks_.size() > 1) norm_rows(block);  // a single block's are still there
    buffers_.attention->Attend(team_, cache_, layer.q, layer.output, layer.position_bias, kScratchLayer, block.slices,
                               rows, *buffers_.model, buffers_.block);
    team_.ForRows(rows, [&](std::int64_t row) {
      const ResidualRows residual = Residual(block);
      residual.Add(layer.attention_post_norm, row);
      residual.Norm(layer.ffn_norm, layer.ffn_input, row, row);
    });
    buffers_.ffn->Run(team_, static_cast<std::int32_t>(spec_.layers.size() + index), spec_.encoder[index], layer,
                      *buffers_.model, rows, buffers_.block, block.requests, counters);
    team_.ForRows(rows, [&](std::int64_t row) { Residual(block).Add(layer.ffn_post_norm, row); });
  }
}

/// What every layer of the decoder reads of the encoder's output.
void Encoder::StoreForDecoder() {
  for (const Block& block : blocks_) {
    team_.ForRows(std::ssize(block.rows), [&](std::int64_t row) {
      Residual(block).Norm(weights_.encoder_norm(), weights_.encoder_output(), row, row);
    });
    for (std::size_t i = 0; i < spec_.layers.size(); ++i) {
      const CrossWeights& cross = weights_.layers()[i].cross;
      buffers_.attention->Store(team_, cache_, cross.k, cross.v, static_cast<std::int32_t>(i), block.rows,
                                *buffers_.model);
    }
  }
}

}  // namespace quorum::engine
