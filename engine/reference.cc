#include "engine/reference.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <numbers>
#include <numeric>
#include <optional>

#include "engine/kernels/packed_matrix.h"
#include "engine/position_bias.h"
#include "engine/rope.h"

namespace quorum::engine {
namespace {

using Floats = std::vector<float>;

Floats FloatsOf(const std::optional<TensorRef>& tensor) { return tensor ? tensor->Floats() : Floats(); }

std::span<float> RowOf(Floats& matrix, std::int64_t row, std::int64_t cols) {
  return {matrix.data() + row * cols, static_cast<std::size_t>(cols)};
}
std::span<const float> RowOf(const Floats& matrix, std::int64_t row, std::int64_t cols) {
  return {matrix.data() + row * cols, static_cast<std::size_t>(cols)};
}

double Dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

/// Each block of `block` values as q * scale with scale = max|x| / 127 and q an integer.
Floats RoundToInt8(std::span<const float> x, std::int64_t block) {
  Floats rounded(x.begin(), x.end());
  for (std::size_t begin = 0; begin < x.size(); begin += static_cast<std::size_t>(block)) {
    const std::size_t end = std::min(x.size(), begin + static_cast<std::size_t>(block));
    float top = 0;
    for (std::size_t i = begin; i < end; ++i) top = std::max(top, std::abs(x[i]));
    for (std::size_t i = begin; i < end && top > 0; ++i) {
      rounded[i] = std::nearbyint(x[i] * (127.0F / top)) * (top / 127.0F);
    }
  }
  return rounded;
}

void Norm(std::span<float> x, std::span<const float> weight, float eps) {
  const double mean = Dot(x, x) / static_cast<double>(x.size());
  const auto scale = static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(eps)));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] * scale * weight[i];
}

void LayerNorm(std::span<float> x, std::span<const float> weight, std::span<const float> bias, float eps) {
  double mean = 0;
  for (const float value : x) mean += static_cast<double>(value) / static_cast<double>(x.size());
  for (float& value : x) value = static_cast<float>(static_cast<double>(value) - mean);
  Norm(x, weight, eps);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += bias[i];
}

float Softcap(float cap, float x) { return cap > 0 ? cap * std::tanh(x / cap) : x; }

void Softmax(std::span<float> x) {
  const float top = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (float& value : x) {
    value = std::exp(value - top);
    sum += static_cast<double>(value);
  }
  for (float& value : x) value = static_cast<float>(static_cast<double>(value) / sum);
}

/// The weight of each of the `chosen` (best first): a softmax over those that are not chosen before it and near it.
Floats SparseMixer(const Floats& logits, std::span<const std::size_t> chosen, float jitter) {
  Floats weights(logits.size());
  for (std::size_t n = 0; n < chosen.size(); ++n) {
    const float top = logits[chosen[n]];
    const std::span<const std::size_t> before = chosen.first(n);
    double sum = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (std::find(before.begin(), before.end(), i) != before.end()) continue;
      if ((top - logits[i]) / std::max(std::abs(logits[i]), top) > 2.0F * jitter) continue;
      sum += std::exp(static_cast<double>(logits[i]) - static_cast<double>(top));
    }
    weights[chosen[n]] = static_cast<float>(1.0 / sum);
  }
  return weights;
}

void AddScaled(float factor, std::span<const float> x, std::span<float> y) {
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += factor * x[i];
}

}  // namespace

Reference::Reference(const ModelSpec& spec, const ModelTensors& tensors, bool round_activations)
    : spec_(spec),
      round_activations_(round_activations),
      embedding_(tensors.embedding.Floats()),
      logit_bias_(FloatsOf(tensors.logit_bias)),
      position_bias_(FloatsOf(tensors.position_bias)),
      encoder_position_bias_(FloatsOf(tensors.encoder_position_bias)),
      final_norm_{tensors.final_norm.Floats(), FloatsOf(tensors.final_norm_bias)},
      encoder_norm_{FloatsOf(tensors.encoder_norm), {}},
      output_(Load(tensors.output ? *tensors.output : tensors.embedding)),
      layers_(Load(tensors.layers)),
      encoder_(Load(tensors.encoder)) {}

std::vector<Reference::Layer> Reference::Load(const std::vector<LayerTensors>& tensors) const {
  std::vector<Layer> layers;
  for (const LayerTensors& src : tensors) {
    Layer layer;
    layer.attention_norm = {src.attention_norm.Floats(), FloatsOf(src.attention_norm_bias)};
    layer.attention_post_norm = FloatsOf(src.attention_post_norm);
    layer.q = Load(src.q);
    if (src.latent) {
      layer.latent = Load(*src.latent);
    } else {
      layer.k = Load(src.k);
      layer.v = Load(src.v);
    }
    layer.output = Load(src.output);
    layer.q_bias = FloatsOf(src.q_bias);
    layer.k_bias = FloatsOf(src.k_bias);
    layer.v_bias = FloatsOf(src.v_bias);
    layer.output_bias = FloatsOf(src.output_bias);
    layer.q_norm = FloatsOf(src.q_norm);
    layer.k_norm = FloatsOf(src.k_norm);
    layer.sinks = FloatsOf(src.sinks);
    if (src.cross) {
      layer.cross_norm.weight = src.cross->norm.Floats();
      layer.cross_q = Load(src.cross->q);
      layer.cross_k = Load(src.cross->k);
      layer.cross_v = Load(src.cross->v);
      layer.cross_output = Load(src.cross->output);
    }
    layer.ffn_norm = {src.ffn_norm.Floats(), FloatsOf(src.ffn_norm_bias)};
    layer.ffn_post_norm = FloatsOf(src.ffn_post_norm);
    layer.router_bias = FloatsOf(src.router_bias);
    layer.choice_bias = FloatsOf(src.choice_bias);
    layer.router.values = FloatsOf(src.router);  // always in floats
    layer.shared_gate = FloatsOf(src.shared_gate);
    for (const NetworkTensors& one : src.networks) layer.networks.push_back(Load(one));
    if (src.shared) layer.networks.push_back(Load(*src.shared));
    layers.push_back(std::move(layer));
  }
  return layers;
}

Reference::Matrix Reference::Load(const TensorRef& tensor) const {
  const std::optional<PackFormat> format = PackFormatOf(tensor.type);
  return {tensor.Floats(), round_activations_ && format ? ActBlock(*format) : 0};
}

Reference::Network Reference::Load(const NetworkTensors& tensors) const {
  return {Load(tensors.gate),          Load(tensors.up),          Load(tensors.down),
          FloatsOf(tensors.gate_bias), FloatsOf(tensors.up_bias), FloatsOf(tensors.down_bias)};
}

Reference::Latent Reference::Load(const LatentTensors& tensors) const {
  Latent latent;
  if (tensors.q_down) latent.q_down = Load(*tensors.q_down);
  latent.q_norm = FloatsOf(tensors.q_norm);
  latent.kv_down = Load(tensors.kv_down);
  latent.kv_norm = tensors.kv_norm.Floats();
  for (const TensorRef& tensor : tensors.k_up) {
    Matrix k_up = Load(tensor);
    if (tensors.k_up_transposed) {
      const Floats stored = std::move(k_up.values);
      k_up = {};  // packed as floats: its inputs are not rounded
      for (std::int64_t col = 0; col < tensor.cols; ++col) {
        for (std::int64_t row = 0; row < tensor.rows; ++row) {
          k_up.values.push_back(stored[static_cast<std::size_t>(row * tensor.cols + col)]);
        }
      }
    }
    latent.k_up.push_back(std::move(k_up));
  }
  for (const TensorRef& tensor : tensors.v_up) latent.v_up.push_back(Load(tensor));
  return latent;
}

std::vector<float> Reference::Normed(std::span<const float> x, const NormVectors& norm) const {
  Floats y(x.begin(), x.end());
  if (spec_.norm == NormKind::kRms) {
    Norm(y, norm.weight, spec_.norm_eps);
  } else {
    LayerNorm(y, norm.weight, norm.bias, spec_.norm_eps);
  }
  return y;
}

/// x += residual_scale * block, or the normed block
void Reference::AddBlock(Floats block, const Floats& post_norm, std::span<float> x) const {
  if (spec_.post_norms) Norm(block, post_norm, spec_.norm_eps);
  AddScaled(spec_.residual_scale, block, x);
}

/// y = W x (+ bias), W (rows, x.size())
std::vector<float> Reference::MatVec(const Matrix& w, std::span<const float> x, const Floats& bias) {
  if (w.act_block > 0) return MatVec({w.values, 0}, RoundToInt8(x, w.act_block), bias);
  Floats y(w.values.size() / x.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    y[i] = static_cast<float>(Dot(RowOf(w.values, static_cast<std::int64_t>(i), std::ssize(x)), x));
    if (!bias.empty()) y[i] += bias[i];
  }
  return y;
}

std::vector<float> Reference::Embed(std::span<const tok::TokenId> tokens) const {
  const std::int64_t d = spec_.d_model;
  Floats x(tokens.size() * static_cast<std::size_t>(d));
  for (std::int64_t t = 0; t < std::ssize(tokens); ++t) {
    const std::span<const float> embedding = RowOf(embedding_, tokens[static_cast<std::size_t>(t)], d);
    AddScaled(spec_.embedding_scale, embedding, RowOf(x, t, d));
  }
  return x;
}

/// The encoder's normed output (source, d_model).
std::vector<float> Reference::Encode(std::span<const tok::TokenId> source) const {
  const std::int64_t n = std::ssize(source);
  const std::int64_t d = spec_.d_model;
  Floats x = Embed(source);
  for (std::size_t i = 0; i < encoder_.size(); ++i) {
    Attention(encoder_[i], spec_.encoder[i], true, n, x);
    for (std::int64_t t = 0; t < n; ++t) FeedForward(encoder_[i], spec_.encoder[i], RowOf(x, t, d));
  }
  Floats encoded;
  for (std::int64_t t = 0; t < n; ++t) {
    const Floats row = Normed(RowOf(x, t, d), encoder_norm_);
    encoded.insert(encoded.end(), row.begin(), row.end());
  }
  return encoded;
}

std::vector<float> Reference::Logits(std::span<const tok::TokenId> tokens, std::span<const tok::TokenId> source) const {
  const std::int64_t n = std::ssize(tokens);
  const std::int64_t d = spec_.d_model;
  const Floats encoded = encoder_.empty() ? Floats() : Encode(source);
  Floats x = Embed(tokens);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    Attention(layers_[i], spec_.layers[i], false, n, x);
    if (!encoder_.empty()) CrossAttention(layers_[i], encoded, n, x);
    for (std::int64_t t = 0; t < n; ++t) FeedForward(layers_[i], spec_.layers[i], RowOf(x, t, d));
  }
  Floats logits;
  for (std::int64_t t = 0; t < n; ++t) {
    for (const float logit : MatVec(output_, Normed(RowOf(x, t, d), final_norm_), logit_bias_)) {
      logits.push_back(Softcap(spec_.logit_softcap, logit * spec_.logit_scale));
    }
  }
  return logits;
}

void Reference::Attention(const Layer& layer, const LayerSpec& shape, bool encoder, std::int64_t tokens,
                          Floats& x) const {
  const std::int64_t d = spec_.d_model;
  Floats queries, keys, values;  // (tokens, heads or kv_heads, dimensions)
  for (std::int64_t t = 0; t < tokens; ++t) {
    const Floats normed = Normed(RowOf(x, t, d), layer.attention_norm);
    Floats q, k, v;
    if (spec_.attention.is_latent()) {
      LatentQueryKeyValue(layer, t, normed, q, k, v);
    } else {
      QueryKeyValue(layer, shape, t, normed, q, k, v);
    }
    queries.insert(queries.end(), q.begin(), q.end());
    keys.insert(keys.end(), k.begin(), k.end());
    values.insert(values.end(), v.begin(), v.end());
  }
  for (std::int64_t t = 0; t < tokens; ++t) {
    Sight sight{shape.window > 0 ? std::max<std::int64_t>(0, t - shape.window + 1) : 0, t, &position_bias_};
    if (encoder) sight = {0, tokens - 1, &encoder_position_bias_, true};
    Floats mixed = Attend(layer, sight, t, queries, keys, values);
    if (spec_.attention.is_latent()) mixed = ValuesOfLatents(layer, mixed);
    AddBlock(MatVec(layer.output, mixed, layer.output_bias), layer.attention_post_norm, RowOf(x, t, d));
  }
}

/// x += attention(norm(x)) to all positions of the encoder's output.
void Reference::CrossAttention(const Layer& layer, const Floats& encoded, std::int64_t tokens, Floats& x) const {
  const std::int64_t d = spec_.d_model;
  const std::int64_t source = std::ssize(encoded) / d;
  Floats queries, keys, values;
  const auto append = [](const Floats& row, Floats& rows) { rows.insert(rows.end(), row.begin(), row.end()); };
  for (std::int64_t t = 0; t < source; ++t) {
    append(MatVec(layer.cross_k, RowOf(encoded, t, d)), keys);
    append(MatVec(layer.cross_v, RowOf(encoded, t, d)), values);
  }
  for (std::int64_t t = 0; t < tokens; ++t) {
    append(MatVec(layer.cross_q, Normed(RowOf(x, t, d), layer.cross_norm)), queries);
  }
  for (std::int64_t t = 0; t < tokens; ++t) {
    const Floats mixed = Attend(layer, {0, source - 1}, t, queries, keys, values);
    AddScaled(spec_.residual_scale, MatVec(layer.cross_output, mixed), RowOf(x, t, d));
  }
}

void Reference::QueryKeyValue(const Layer& layer, const LayerSpec& shape, std::int64_t token, const Floats& normed,
                              Floats& q, Floats& k, Floats& v) const {
  q = MatVec(layer.q, normed, layer.q_bias);
  k = MatVec(layer.k, normed, layer.k_bias);
  v = MatVec(layer.v, normed, layer.v_bias);
  NormAndRotate(layer.q_norm, shape.rope, spec_.attention.heads, token, q);
  NormAndRotate(layer.k_norm, shape.rope, spec_.attention.kv_heads, token, k);
  Clamp(v);
}

/// Queries of the latent: each head's W_UK times its unrotated part, then its rotated part. One key for all heads: the
/// normed latent, then the rotated shared part. The value is the latent.
void Reference::LatentQueryKeyValue(const Layer& layer, std::int64_t token, const Floats& normed, Floats& q, Floats& k,
                                    Floats& v) const {
  const LatentSpec& shape = spec_.attention.latent;
  k = MatVec(layer.latent.kv_down, normed);
  Norm(std::span(k).first(static_cast<std::size_t>(shape.kv_rank)), layer.latent.kv_norm, shape.norm_eps);
  v.assign(k.begin(), k.begin() + shape.kv_rank);
  Rotate(token, std::span(k).subspan(static_cast<std::size_t>(shape.kv_rank)));

  Floats input = normed;
  if (shape.q_rank > 0) {
    input = MatVec(layer.latent.q_down, normed);
    Norm(input, layer.latent.q_norm, shape.norm_eps);
  }
  Floats plain = MatVec(layer.q, input);
  for (std::int64_t h = 0; h < spec_.attention.heads; ++h) {
    const std::span<float> head = RowOf(plain, h, spec_.attention.head_dim);
    const std::span<float> rotated = head.subspan(static_cast<std::size_t>(shape.nope_dim));
    Rotate(token, rotated);
    const Matrix& k_up = layer.latent.k_up[static_cast<std::size_t>(h)];
    const Floats absorbed = MatVec(k_up, head.first(static_cast<std::size_t>(shape.nope_dim)));
    q.insert(q.end(), absorbed.begin(), absorbed.end());
    q.insert(q.end(), rotated.begin(), rotated.end());
  }
}

/// Each head's W_UV times what attention made of the latents.
std::vector<float> Reference::ValuesOfLatents(const Layer& layer, const Floats& mixed) const {
  Floats values;
  for (std::int64_t h = 0; h < spec_.attention.heads; ++h) {
    const Matrix& v_up = layer.latent.v_up[static_cast<std::size_t>(h)];
    const Floats value = MatVec(v_up, RowOf(mixed, h, spec_.attention.latent.kv_rank));
    values.insert(values.end(), value.begin(), value.end());
  }
  return values;
}

/// All heads of one token: softmax(scale * q k + bias) v over the positions that it sees.
Floats Reference::Attend(const Layer& layer, const Sight& sight, std::int64_t token, const Floats& q,
                         const Floats& keys, const Floats& values) const {
  const AttentionSpec& attention = spec_.attention;
  const std::int64_t dim = attention.cached_key_dim();
  const std::int64_t value_dim = attention.cached_value_dim();
  Floats mixed(static_cast<std::size_t>(attention.heads * value_dim));
  for (std::int64_t head = 0; head < attention.heads; ++head) {
    const std::int64_t kv_head = head / (attention.heads / attention.kv_heads);
    const std::span<const float> query = RowOf(q, token * attention.heads + head, dim);
    Floats weights;
    for (std::int64_t p = sight.first; p <= sight.last; ++p) {
      const double score = Dot(query, RowOf(keys, p * attention.kv_heads + kv_head, dim));
      auto scaled = static_cast<float>(score * static_cast<double>(attention.scale));
      if (sight.bias != nullptr && !sight.bias->empty()) {
        const std::int64_t bucket = RelativeBucket(spec_.relative_bias, sight.bidirectional, p - token);
        scaled += (*sight.bias)[static_cast<std::size_t>(bucket * attention.heads + head)];
      }
      weights.push_back(Softcap(attention.softcap, scaled));
    }
    if (attention.sinks) weights.push_back(layer.sinks[static_cast<std::size_t>(head)]);  // takes weight, has no value
    Softmax(weights);
    for (std::int64_t p = sight.first; p <= sight.last; ++p) {
      AddScaled(weights[static_cast<std::size_t>(p - sight.first)],
                RowOf(values, p * attention.kv_heads + kv_head, value_dim), RowOf(mixed, head, value_dim));
    }
  }
  return mixed;
}

void Reference::NormAndRotate(const Floats& norm, bool rotate, std::int64_t heads, std::int64_t position,
                              std::span<float> row) const {
  const std::int64_t dim = spec_.attention.head_dim;
  if (spec_.attention.qk_norm == QkNorm::kPerRow) Norm(row, norm, spec_.norm_eps);
  for (std::int64_t h = 0; h < heads; ++h) {
    const std::span<float> head = row.subspan(static_cast<std::size_t>(h * dim), static_cast<std::size_t>(dim));
    if (spec_.attention.qk_norm == QkNorm::kPerHead) Norm(head, norm, spec_.norm_eps);
    Clamp(head);
    if (rotate) Rotate(position, head);
  }
}

void Reference::Clamp(std::span<float> x) const {
  const float limit = spec_.attention.qkv_clamp;
  if (limit == 0) return;
  for (float& value : x) value = std::clamp(value, -limit, limit);
}

/// The first rope.dims dimensions.
void Reference::Rotate(std::int64_t position, std::span<float> head) const {
  const RopeTable table = MakeRopeTable(spec_.rope);
  const std::size_t pairs = table.frequencies.size();
  for (std::size_t i = 0; i < pairs; ++i) {
    const double angle = static_cast<double>(position) * table.frequencies[i];
    const auto cos = static_cast<float>(std::cos(angle) * table.magnitude);
    const auto sin = static_cast<float>(std::sin(angle) * table.magnitude);
    const bool neox = spec_.rope.pairs == RopePairs::kNeox;
    float& a = head[neox ? i : 2 * i];
    float& b = head[neox ? i + pairs : 2 * i + 1];
    const float turned = a * cos - b * sin;
    b = a * sin + b * cos;
    a = turned;
  }
}

void Reference::FeedForward(const Layer& layer, const LayerSpec& shape, std::span<float> x) const {
  const Floats normed = Normed(x, layer.ffn_norm);
  const Floats weights = Route(layer, shape, normed);
  Floats sum(x.size());
  for (std::size_t e = 0; e < layer.networks.size(); ++e) {
    if (weights[e] == 0.0F) continue;
    const Network& network = layer.networks[e];
    const Floats up = MatVec(network.up, normed, network.up_bias);
    const Floats gate = spec_.gated ? MatVec(network.gate, normed, network.gate_bias) : up;
    Floats hidden;
    for (std::size_t i = 0; i < up.size(); ++i) hidden.push_back(Activate(gate[i], spec_.gated ? up[i] : 1.0F));
    AddScaled(weights[e], MatVec(network.down, hidden, network.down_bias), sum);
  }
  AddBlock(sum, layer.ffn_post_norm, x);
}

float Reference::Activate(float gate, float up) const {
  switch (spec_.activation) {
    case Activation::kSilu: return gate / (1.0F + std::exp(-gate)) * up;
    case Activation::kGelu: {
      const float cubic = std::sqrt(2.0F / std::numbers::pi_v<float>) * (gate + 0.044715F * gate * gate * gate);
      return 0.5F * gate * (1.0F + std::tanh(cubic)) * up;
    }
    case Activation::kRelu: return std::max(gate, 0.0F) * up;
    case Activation::kClampedSwiGlu: {
      const float g = std::min(gate, spec_.swiglu_limit);
      const float u = std::clamp(up, -spec_.swiglu_limit, spec_.swiglu_limit);
      return g / (1.0F + std::exp(-spec_.swiglu_alpha * g)) * (u + 1.0F);
    }
  }
  return 0;
}

/// The experts that a token visits, best first.
std::vector<std::size_t> Reference::Choose(const Layer& layer, const Floats& logits) const {
  const RouterSpec& router = spec_.router;
  const std::size_t n = logits.size();
  Floats choice = logits;
  if (!layer.choice_bias.empty() || router.group_score == GroupScore::kTopTwo) {
    if (router.score == RouterScore::kSoftmax) Softmax(choice);
    for (std::size_t e = 0; e < n; ++e) {
      if (router.score == RouterScore::kSigmoid) choice[e] = 1.0F / (1.0F + std::exp(-choice[e]));
      if (!layer.choice_bias.empty()) choice[e] += layer.choice_bias[e];
    }
  }
  const auto best_first = [](const Floats& values) {
    std::vector<std::size_t> order(values.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] > values[b]; });
    return order;
  };
  if (router.groups > 1) {
    const std::size_t size = n / static_cast<std::size_t>(router.groups);
    Floats worth;
    for (std::size_t first = 0; first < n; first += size) {
      Floats members(choice.begin() + static_cast<std::ptrdiff_t>(first),
                     choice.begin() + static_cast<std::ptrdiff_t>(first + size));
      std::sort(members.begin(), members.end(), std::greater<>());
      worth.push_back(router.group_score == GroupScore::kTopTwo && size > 1 ? members[0] + members[1] : members[0]);
    }
    const std::vector<std::size_t> groups = best_first(worth);
    for (std::size_t i = static_cast<std::size_t>(router.top_groups); i < groups.size(); ++i) {
      std::fill_n(choice.begin() + static_cast<std::ptrdiff_t>(groups[i] * size), size,
                  -std::numeric_limits<float>::infinity());
    }
  }
  std::vector<std::size_t> order = best_first(choice);
  order.resize(static_cast<std::size_t>(router.top_k));
  return order;
}

/// The weight of every network for one token, 0 for those that it does not visit.
Floats Reference::Route(const Layer& layer, const LayerSpec& shape, std::span<const float> x) const {
  Floats weights(layer.networks.size());
  if (shape.experts == 0) {
    weights.front() = 1.0F;
    return weights;
  }
  Floats logits = MatVec(layer.router, x, layer.router_bias);
  for (float& logit : logits) logit = Softcap(spec_.router.softcap, logit);
  const std::vector<std::size_t> order = Choose(layer, logits);
  switch (spec_.router.score) {
    case RouterScore::kSoftmax: Softmax(logits); break;
    case RouterScore::kSigmoid:
      for (float& logit : logits) logit = 1.0F / (1.0F + std::exp(-logit));
      break;
    case RouterScore::kSparseMixer: logits = SparseMixer(logits, order, spec_.router.jitter); break;
    case RouterScore::kTopKSoftmax: {
      Floats chosen(logits.size(), -std::numeric_limits<float>::infinity());
      for (const std::size_t e : order) chosen[e] = logits[e];
      Softmax(chosen);
      logits = chosen;
      break;
    }
  }
  double sum = 0;
  for (const std::size_t e : order) sum += static_cast<double>(logits[e]);
  for (const std::size_t e : order) {
    weights[e] = spec_.router.renormalize ? static_cast<float>(static_cast<double>(logits[e]) / sum) : logits[e];
    weights[e] *= spec_.router.scale;
  }
  if (shape.shared_ff > 0) {
    weights.back() = spec_.shared_gate ? static_cast<float>(1.0 / (1.0 + std::exp(-Dot(layer.shared_gate, x)))) : 1.0F;
  }
  return weights;
}

}  // namespace quorum::engine
