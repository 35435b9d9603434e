// Small random encoder-decoders of T5's kind, in memory, and runs of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "engine/model.h"
#include "engine/model_spec.h"
#include "engine/model_tensors.h"
#include "engine/step_model.h"
#include "quant/dtype.h"

namespace quorum::testing {

struct TinyT5Shape {
  std::int32_t encoder_layers = 3;
  std::int32_t decoder_layers = 2;
  std::int32_t d_model = 40;
  std::int32_t heads = 3;
  std::int32_t head_dim = 8;
  std::int32_t ff = 56;
  std::int32_t vocab = 67;
  std::int32_t experts = 0;  // of the second, fourth, ... layer of either stack
  bool gated = false;        // GELU with a gate, as Flan-T5; else ReLU
  bool tied = true;
  std::int32_t max_distance = 20;  // of the 8 buckets
  quant::DType type = quant::DType::kF32;
};

struct TinyT5 {
  std::deque<std::vector<std::byte>> data;
  engine::ModelSpec spec;
  engine::ModelTensors tensors;  // point into `data`
};
std::unique_ptr<TinyT5> MakeTinyT5(const TinyT5Shape& shape);

/// One source and what follows it, with pages of its own from `first_page` on.
class T5Run {
 public:
  T5Run(std::vector<tok::TokenId> source, std::vector<tok::TokenId> reply, std::int32_t first_page = 0);

  /// The slice that encodes the source; slices of the reply's tokens [pos, pos + count), with all their logits.
  engine::StepSlice Encoding() const;
  engine::StepSlice Decoding(std::int64_t pos, std::int64_t count) const;

  /// Encodes in one step and decodes in steps of `chunk` tokens; logits (reply, vocab).
  std::vector<float> Run(engine::StepModel& model, std::int64_t chunk) const;

  const std::vector<tok::TokenId>& source() const { return source_; }
  const std::vector<tok::TokenId>& reply() const { return reply_; }

 private:
  std::vector<tok::TokenId> source_, reply_;
  std::vector<std::int32_t> source_pages_, pages_;
};

}  // namespace quorum::testing
