#include "tests/support/tiny_t5.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <utility>

#include "engine/base/check.h"
#include "tests/support/tiny_model.h"

namespace quorum::testing {
namespace {

using engine::CrossTensors;
using engine::LayerSpec;
using engine::LayerTensors;
using engine::NetworkTensors;
using engine::TensorRef;
using quant::DType;

class Builder {
 public:
  explicit Builder(const TinyT5Shape& shape) : shape_(shape), made_(std::make_unique<TinyT5>()) {}

  std::unique_ptr<TinyT5> Build() {
    engine::ModelSpec& spec = made_->spec;
    spec.architecture = "t5";
    spec.vocab_size = shape_.vocab;
    spec.d_model = shape_.d_model;
    spec.context_length = 512;
    spec.norm_eps = 1e-6F;
    spec.attention.heads = spec.attention.kv_heads = shape_.heads;
    spec.attention.head_dim = shape_.head_dim;
    spec.attention.scale = 1.0F;
    spec.relative_bias = {.buckets = 8, .max_distance = shape_.max_distance};
    spec.router = {.score = engine::RouterScore::kSoftmax, .top_k = 1};
    spec.gated = shape_.gated;
    spec.activation = shape_.gated ? engine::Activation::kGelu : engine::Activation::kRelu;
    spec.tied_embeddings = shape_.tied;
    if (shape_.tied) spec.logit_scale = 1.0F / std::sqrt(static_cast<float>(shape_.d_model));
    spec.decoder_start = 0;

    engine::ModelTensors& tensors = made_->tensors;
    tensors.embedding = Random("shared", DType::kF32, shape_.vocab, shape_.d_model, 1.0);
    tensors.final_norm = Norm("decoder.norm");
    tensors.encoder_norm = Norm("encoder.norm");
    tensors.position_bias = Random("decoder.bias", DType::kF32, 8, shape_.heads, 1.0);
    tensors.encoder_position_bias = Random("encoder.bias", DType::kF32, 8, shape_.heads, 1.0);
    if (!shape_.tied) tensors.output = Matrix("lm_head", shape_.vocab, shape_.d_model);
    AddLayers("encoder", shape_.encoder_layers, false, spec.encoder, tensors.encoder);
    AddLayers("decoder", shape_.decoder_layers, true, spec.layers, tensors.layers);
    return std::move(made_);
  }

 private:
  TensorRef Random(const std::string& name, DType type, std::int64_t rows, std::int64_t cols, double sigma) {
    made_->data.push_back(RandomTensor(type, rows * cols, sigma, ++seed_));
    TensorRef tensor;
    tensor.name = name;
    tensor.type = type;
    tensor.rows = rows;
    tensor.cols = cols;
    tensor.data = made_->data.back();
    return tensor;
  }
  TensorRef Matrix(const std::string& name, std::int64_t rows, std::int64_t cols) {
    return Random(name, shape_.type, rows, cols, 1.0 / std::sqrt(static_cast<double>(cols)));
  }
  TensorRef Norm(const std::string& name) {
    TensorRef norm = Random(name, DType::kF32, 1, shape_.d_model, 0.2);
    auto* values = reinterpret_cast<float*>(made_->data.back().data());
    for (std::int32_t i = 0; i < shape_.d_model; ++i) values[i] += 1.0F;
    return norm;
  }

  template <typename Target>
  void Attention(const std::string& name, Target& target) {
    const std::int64_t width = std::int64_t{shape_.heads} * shape_.head_dim;
    // Scores are not scaled, so queries are small.
    target.q = Random(name + ".q", shape_.type, width, shape_.d_model,
                      1.0 / std::sqrt(static_cast<double>(shape_.d_model) * shape_.head_dim));
    target.k = Matrix(name + ".k", width, shape_.d_model);
    target.v = Matrix(name + ".v", width, shape_.d_model);
    target.output = Matrix(name + ".o", shape_.d_model, width);
  }

  void AddLayers(const std::string& stack, std::int32_t count, bool cross, std::vector<LayerSpec>& specs,
                 std::vector<LayerTensors>& layers) {
    for (std::int32_t i = 0; i < count; ++i) {
      const std::string name = stack + "." + std::to_string(i);
      LayerSpec spec;
      spec.ff = shape_.ff;
      spec.experts = i % 2 == 1 ? shape_.experts : 0;
      LayerTensors layer;
      layer.attention_norm = Norm(name + ".norm0");
      Attention(name + ".self", layer);
      if (cross) {
        CrossTensors attention;
        attention.norm = Norm(name + ".norm1");
        Attention(name + ".cross", attention);
        layer.cross = std::move(attention);
      }
      layer.ffn_norm = Norm(name + ".norm2");
      if (spec.experts > 0) layer.router = Random(name + ".router", DType::kF32, spec.experts, shape_.d_model, 0.5);
      for (std::int32_t e = 0; e < std::max(spec.experts, 1); ++e) {
        NetworkTensors network;
        if (shape_.gated) network.gate = Matrix(name + ".wi_0", shape_.ff, shape_.d_model);
        network.up = Matrix(name + ".wi", shape_.ff, shape_.d_model);
        network.down = Matrix(name + ".wo", shape_.d_model, shape_.ff);
        layer.networks.push_back(std::move(network));
      }
      specs.push_back(spec);
      layers.push_back(std::move(layer));
    }
  }

  const TinyT5Shape& shape_;
  std::unique_ptr<TinyT5> made_;
  std::uint64_t seed_ = 0;
};

}  // namespace

std::unique_ptr<TinyT5> MakeTinyT5(const TinyT5Shape& shape) { return Builder(shape).Build(); }

T5Run::T5Run(std::vector<tok::TokenId> source, std::vector<tok::TokenId> reply, std::int32_t first_page)
    : source_(std::move(source)), reply_(std::move(reply)) {
  const auto take = [&](std::size_t tokens, std::vector<std::int32_t>& pages) {
    for (std::size_t at = 0; at < tokens; at += engine::kPageTokens) pages.push_back(first_page++);
  };
  take(reply_.size(), pages_);
  take(source_.size(), source_pages_);
}

engine::StepSlice T5Run::Encoding() const {
  engine::StepSlice slice;
  slice.tokens = source_;
  slice.pages = source_pages_;
  slice.encode = true;
  slice.first_logits = static_cast<std::int32_t>(source_.size());
  return slice;
}

engine::StepSlice T5Run::Decoding(std::int64_t pos, std::int64_t count) const {
  engine::StepSlice slice;
  slice.tokens = std::span(reply_).subspan(static_cast<std::size_t>(pos), static_cast<std::size_t>(count));
  slice.pos = static_cast<std::int32_t>(pos);
  slice.pages = pages_;
  slice.source_pages = source_pages_;
  slice.source_tokens = static_cast<std::int32_t>(source_.size());
  return slice;
}

std::vector<float> T5Run::Run(engine::StepModel& model, std::int64_t chunk) const {
  const auto step = [&](const engine::StepSlice& slice, std::span<float> logits) {
    const Status status = model.Step({&slice, 1}, logits);
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.error().message.c_str());
    QUORUM_CHECK(status.ok());
  };
  step(Encoding(), {});
  const auto vocab = static_cast<std::size_t>(model.vocab_size());
  std::vector<float> logits(reply_.size() * vocab);
  for (std::int64_t pos = 0; pos < std::ssize(reply_); pos += chunk) {
    const std::int64_t count = std::min(chunk, static_cast<std::int64_t>(std::ssize(reply_)) - pos);
    step(Decoding(pos, count),
         std::span(logits).subspan(static_cast<std::size_t>(pos) * vocab, static_cast<std::size_t>(count) * vocab));
  }
  return logits;
}

}  // namespace quorum::testing
