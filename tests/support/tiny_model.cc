#include "tests/support/tiny_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "engine/base/check.h"
#include "engine/model_config.h"
#include "quant/encode.h"
#include "quant/quantize.h"

namespace quorum::testing {
namespace {

using quant::DType;

/// SplitMix64 (Steele et al. 2014).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t Next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }
  /// Mean 0, deviation 1: the sum of four uniform numbers.
  float Normal() {
    double sum = -2.0;
    for (int i = 0; i < 4; ++i) sum += static_cast<double>(Next() >> 11) * 0x1p-53;
    return static_cast<float>(sum * std::sqrt(3.0));
  }

 private:
  std::uint64_t state_;
};

std::uint64_t SeedOf(std::uint64_t seed, std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325U ^ (seed * 0x100000001b3U);  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

struct HalfField {
  std::int64_t offset;
  double factor;  // of sigma
};

/// The f16 scales of a block format and how large they are for weights of deviation sigma.
std::vector<HalfField> ScalesOf(DType type) {
  switch (type) {
    case DType::kQ5_0: return {{0, 1.0 / 9}};
    case DType::kQ5_1: return {{0, 1.0 / 9}, {2, -1.7}};
    case DType::kIQ4_NL: return {{0, 1.0 / 70}};
    case DType::kIQ4_XS: return {{0, 1.0 / 1200}};
    case DType::kQ2_K: return {{80, 1.0 / 8}, {82, 1.0 / 6}};
    case DType::kQ3_K: return {{108, 1.0 / 40}};
    case DType::kQ4_K: return {{0, 1.0 / 150}, {2, 1.0 / 20}};
    case DType::kQ5_K: return {{0, 1.0 / 300}, {2, 1.0 / 20}};
    case DType::kQ6_K: return {{208, 1.0 / 1300}};
    default: return {};
  }
}

class Builder {
 public:
  explicit Builder(TinyShape shape) : shape_(std::move(shape)) {
    if (shape_.tokenizer) shape_.vocab = 260;
  }

  std::vector<std::byte> Build() {
    Keys();
    if (shape_.tokenizer) Tokenizer();
    Add("token_embd.weight", shape_.embedding_type, {shape_.d_model, shape_.vocab}, 0.05);
    if (!shape_.tied) Matrix("output.weight", shape_.d_model, shape_.vocab, shape_.type);
    Norm("output_norm.weight", shape_.d_model);
    if (Is("phimoe")) {
      Bias("output_norm.bias", {shape_.d_model});
      Bias("output.bias", {shape_.vocab});
    }
    for (std::int32_t i = 0; i < shape_.layers; ++i) Layer(fmt::format("blk.{}.", i));
    if (shape_.edit) shape_.edit(writer_);
    Result<std::vector<std::byte>> bytes = writer_.ToBytes();
    QUORUM_CHECK(bytes.ok());
    return std::move(bytes).value();
  }

 private:
  void Int(std::string_view key, std::int32_t value) {
    writer_.SetUint32(shape_.architecture + "." + std::string(key), static_cast<std::uint32_t>(value));
  }

  void Keys() {
    writer_.SetString("general.architecture", shape_.architecture);
    writer_.SetString("general.name", "tiny random model");
    Int("context_length", shape_.context);
    Int("embedding_length", shape_.d_model);
    Int("block_count", shape_.layers);
    Int("feed_forward_length", shape_.ff);
    Int("attention.head_count", shape_.heads);
    if (Latent()) {
      LatentKeys();
    } else {
      Int("attention.head_count_kv", shape_.kv_heads);
      Int("attention.key_length", shape_.head_dim);
      Int("attention.value_length", shape_.head_dim);
    }
    writer_.SetFloat32(shape_.architecture + ".attention.layer_norm_rms_epsilon", 1e-5F);
    writer_.SetFloat32(shape_.architecture + ".rope.freq_base", 10000.0F);
    if (shape_.window > 0) Int("attention.sliding_window", shape_.window);
    if (shape_.experts > 0) {
      Int("expert_count", shape_.experts);
      Int("expert_used_count", shape_.top_k);
    }
    if (shape_.shared_ff > 0) {
      Int("expert_feed_forward_length", shape_.ff);
      Int("expert_shared_feed_forward_length", shape_.shared_ff);
    }
  }

  bool Latent() const { return shape_.architecture == "deepseek2"; }

  void LatentKeys() {
    Int("attention.kv_lora_rank", shape_.kv_rank);
    if (shape_.q_rank > 0) Int("attention.q_lora_rank", shape_.q_rank);
    Int("attention.head_count_kv", shape_.split_kv_b ? 1 : shape_.heads);
    Int("attention.key_length", shape_.split_kv_b ? shape_.kv_rank + shape_.rope_dim : shape_.head_dim);
    Int("attention.value_length", shape_.split_kv_b ? shape_.kv_rank : shape_.value_dim);
    if (shape_.split_kv_b) {
      Int("attention.key_length_mla", shape_.head_dim);
      Int("attention.value_length_mla", shape_.value_dim);
    }
    Int("rope.dimension_count", shape_.rope_dim);
    if (shape_.groups > 0) {
      Int("expert_group_count", shape_.groups);
      Int("expert_group_used_count", shape_.top_groups);
      Int("expert_gating_func", 2);
      writer_.SetBool("deepseek2.expert_weights_norm", true);
      writer_.SetFloat32("deepseek2.expert_weights_scale", 2.5F);
    }
  }

  void LatentAttention(const std::string& prefix) {
    const std::int64_t heads = shape_.heads;
    const std::int64_t nope = shape_.head_dim - shape_.rope_dim;
    const DType type = shape_.type;
    const std::int64_t q_input = shape_.q_rank > 0 ? shape_.q_rank : shape_.d_model;
    if (shape_.q_rank > 0) {
      Matrix(prefix + "attn_q_a.weight", shape_.d_model, shape_.q_rank, type);
      Norm(prefix + "attn_q_a_norm.weight", shape_.q_rank);
    }
    Matrix(prefix + (shape_.q_rank > 0 ? "attn_q_b.weight" : "attn_q.weight"), q_input, heads * shape_.head_dim, type);
    Matrix(prefix + "attn_kv_a_mqa.weight", shape_.d_model, shape_.kv_rank + shape_.rope_dim, type);
    Norm(prefix + "attn_kv_a_norm.weight", shape_.kv_rank);
    const double sigma = 1.0 / std::sqrt(static_cast<double>(shape_.kv_rank));
    if (shape_.split_kv_b) {
      Add(prefix + "attn_k_b.weight", type, {nope, shape_.kv_rank, heads}, sigma);
      Add(prefix + "attn_v_b.weight", type, {shape_.kv_rank, shape_.value_dim, heads}, sigma);
    } else {
      Matrix(prefix + "attn_kv_b.weight", shape_.kv_rank, heads * (nope + shape_.value_dim), type);
    }
    Matrix(prefix + "attn_output.weight", heads * shape_.value_dim, shape_.d_model, type);
  }

  /// Tokens 0..255 are the bytes, spelled as GPT-2 does; then the ChatML control tokens.
  void Tokenizer() {
    std::vector<std::string> tokens;
    std::vector<std::int32_t> types(256, 1);
    int next = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool plain = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      const int code = plain ? byte : next++;
      std::string text;
      if (code < 128) {
        text = static_cast<char>(code);
      } else {
        text = {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 63))};
      }
      tokens.push_back(text);
    }
    for (const char* name : {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"}) {
      tokens.emplace_back(name);
      types.push_back(3);
    }
    writer_.SetString("tokenizer.ggml.model", "gpt2");
    writer_.SetString("tokenizer.ggml.pre", "smollm");
    writer_.SetStrings("tokenizer.ggml.tokens", tokens);
    writer_.SetInt32s("tokenizer.ggml.token_type", types);
    writer_.SetStrings("tokenizer.ggml.merges", {});
    writer_.SetUint32("tokenizer.ggml.bos_token_id", 257);
    writer_.SetUint32("tokenizer.ggml.eos_token_id", 258);
    writer_.SetUint32("tokenizer.ggml.unknown_token_id", 256);
    writer_.SetUint32("tokenizer.ggml.padding_token_id", 259);
    writer_.SetBool("tokenizer.ggml.add_bos_token", false);
    writer_.SetString("tokenizer.chat_template",
                      "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
                      "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
                      "{% endif %}");
  }

  /// `values_of`: the name that the random values hang on, where it is not the tensor's own.
  void Add(const std::string& name, DType type, std::vector<std::int64_t> dims, double sigma,
           std::vector<std::string> values_of = {}) {
    std::int64_t n = 1;
    for (const std::int64_t dim : dims) n *= dim;
    if (values_of.empty()) values_of = {name};
    const std::int64_t each = n / std::ssize(values_of);
    auto data = std::make_shared<std::vector<std::byte>>();
    for (const std::string& values : values_of) {
      const std::vector<std::byte> part = Values(type, each, sigma, SeedOf(shape_.seed, values));
      data->insert(data->end(), part.begin(), part.end());
    }
    writer_.AddTensor(name, type, std::move(dims),
                      quant::GgufWriter::Source([data](const auto& sink) { return sink(*data); }));
  }

  std::vector<std::byte> Values(DType type, std::int64_t n, double sigma, std::uint64_t seed) const {
    if (!shape_.int8_exact || type != DType::kQ4_K) return RandomTensor(type, n, sigma, seed);
    const std::vector<std::byte> floats = RandomTensor(DType::kF32, n, sigma, seed);
    std::vector<std::byte> bytes(static_cast<std::size_t>(quant::BytesOf(type, n)));
    const auto* values = reinterpret_cast<const float*>(floats.data());
    QUORUM_CHECK(quant::Encode({type, true}, values, nullptr, bytes.data(), n));
    return bytes;
  }

  void Matrix(const std::string& name, std::int64_t k, std::int64_t n, DType type) {
    Add(name, type, {k, n}, 1.0 / std::sqrt(static_cast<double>(k)));
  }

  void Norm(const std::string& name, std::int64_t n) {
    Random random(SeedOf(shape_.seed, name));
    auto values = std::make_shared<std::vector<float>>();
    for (std::int64_t i = 0; i < n; ++i) values->push_back(1.0F + 0.2F * random.Normal());
    writer_.AddTensor(name, DType::kF32, {n}, quant::GgufWriter::Source([values](const auto& sink) {
                        return sink(std::as_bytes(std::span(*values)));
                      }));
  }

  bool Is(std::string_view architecture) const { return shape_.architecture == architecture; }

  void Bias(const std::string& name, std::vector<std::int64_t> dims) { Add(name, DType::kF32, std::move(dims), 0.3); }

  void Layer(const std::string& prefix) {
    const std::int64_t q = std::int64_t{shape_.heads} * shape_.head_dim;
    const std::int64_t kv = std::int64_t{shape_.kv_heads} * shape_.head_dim;
    const std::string& architecture = shape_.architecture;
    Norm(prefix + "attn_norm.weight", shape_.d_model);
    if (Latent()) {
      LatentAttention(prefix);
    } else {
      Matrix(prefix + "attn_q.weight", shape_.d_model, q, shape_.type);
      Matrix(prefix + "attn_k.weight", shape_.d_model, kv, shape_.type);
      Matrix(prefix + "attn_v.weight", shape_.d_model, kv, shape_.type);
      Matrix(prefix + "attn_output.weight", q, shape_.d_model, shape_.type);
    }
    const bool all_biases = Is("gpt-oss") || Is("phimoe");
    if (shape_.biases || all_biases || architecture.starts_with("qwen2")) {
      Bias(prefix + "attn_q.bias", {q});
      Bias(prefix + "attn_k.bias", {kv});
      Bias(prefix + "attn_v.bias", {kv});
    }
    if (all_biases || (shape_.biases && Is("llama"))) Bias(prefix + "attn_output.bias", {shape_.d_model});
    if (Is("gpt-oss")) Add(prefix + "attn_sinks.weight", DType::kF32, {shape_.heads}, 1.0);
    if (architecture.starts_with("qwen3") || architecture == "olmoe") {
      const bool row = architecture == "olmoe";
      Norm(prefix + "attn_q_norm.weight", row ? q : shape_.head_dim);
      Norm(prefix + "attn_k_norm.weight", row ? kv : shape_.head_dim);
    }
    Norm(prefix + (Is("gpt-oss") ? "post_attention_norm.weight" : "ffn_norm.weight"), shape_.d_model);
    if (Is("phimoe")) {
      Bias(prefix + "attn_norm.bias", {shape_.d_model});
      Bias(prefix + "ffn_norm.bias", {shape_.d_model});
    }
    if (Is("grok")) {
      Norm(prefix + "attn_output_norm.weight", shape_.d_model);
      Norm(prefix + "layer_output_norm.weight", shape_.d_model);
    }
    Ffn(prefix);
  }

  void Ffn(const std::string& prefix) {
    const DType up = shape_.up_type == DType::kF32 ? shape_.type : shape_.up_type;
    const DType down = shape_.down_type == DType::kF32 ? shape_.type : shape_.down_type;
    Network(prefix, "ffn_gate", shape_.d_model, shape_.ff, shape_.type);
    Network(prefix, "ffn_up", shape_.d_model, shape_.ff, up);
    Network(prefix, "ffn_down", shape_.ff, shape_.d_model, down);
    if (shape_.experts > 0) Add(prefix + "ffn_gate_inp.weight", DType::kF32, {shape_.d_model, shape_.experts}, 0.5);
    if (Latent() && shape_.groups > 0) Bias(prefix + "exp_probs_b.bias", {shape_.experts});
    if (Is("gpt-oss")) {
      Bias(prefix + "ffn_gate_inp.bias", {shape_.experts});
      Bias(prefix + "ffn_gate_exps.bias", {shape_.ff, shape_.experts});
      Bias(prefix + "ffn_up_exps.bias", {shape_.ff, shape_.experts});
      Bias(prefix + "ffn_down_exps.bias", {shape_.d_model, shape_.experts});
    }
    if (shape_.shared_ff > 0) {
      Matrix(prefix + "ffn_gate_shexp.weight", shape_.d_model, shape_.shared_ff, shape_.type);
      Matrix(prefix + "ffn_up_shexp.weight", shape_.d_model, shape_.shared_ff, up);
      Matrix(prefix + "ffn_down_shexp.weight", shape_.shared_ff, shape_.d_model, down);
      if (Is("qwen2moe")) Add(prefix + "ffn_gate_inp_shexp.weight", DType::kF32, {shape_.d_model}, 0.5);
    }
  }

  /// A dense matrix, or one an expert.
  void Network(const std::string& prefix, const std::string& role, std::int64_t k, std::int64_t n, DType type) {
    const double sigma = 1.0 / std::sqrt(static_cast<double>(k));
    const std::string dense = prefix + role + ".weight";
    if (shape_.experts == 0) return Add(dense, type, {k, n}, sigma);
    std::vector<std::string> values;
    for (std::int32_t e = 0; e < shape_.experts; ++e) {
      values.push_back(shape_.copies ? dense : fmt::format("{}{}.{}.weight", prefix, role, e));
    }
    if (!shape_.single_experts) return Add(prefix + role + "_exps.weight", type, {k, n, shape_.experts}, sigma, values);
    for (std::int32_t e = 0; e < shape_.experts; ++e) {
      Add(fmt::format("{}{}.{}.weight", prefix, role, e), type, {k, n}, sigma, {values[static_cast<std::size_t>(e)]});
    }
  }

  TinyShape shape_;
  quant::GgufWriter writer_;
};

}  // namespace

std::vector<std::byte> RandomTensor(DType type, std::int64_t n, double sigma, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::byte> bytes(static_cast<std::size_t>(quant::BytesOf(type, n)));
  if (quant::CanQuantize(type)) {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& value : values) value = static_cast<float>(sigma) * random.Normal();
    QUORUM_CHECK(quant::Quantize(type, values.data(), bytes.data(), n));
    return bytes;
  }
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.Next());
  const quant::DTypeInfo& info = quant::Info(type);
  for (std::size_t block = 0; block < bytes.size(); block += static_cast<std::size_t>(info.bytes)) {
    for (const HalfField& field : ScalesOf(type)) {
      const auto scale = static_cast<float>(sigma * field.factor) * (1.0F + 0.1F * random.Normal());
      const std::uint16_t half = quant::FloatToHalf(scale);
      std::memcpy(bytes.data() + block + field.offset, &half, sizeof half);
    }
    if (type == DType::kMXFP4) bytes[block] = static_cast<std::byte>(120 + random.Next() % 3);  // 2^-7 .. 2^-5
  }
  return bytes;
}

std::vector<std::byte> MakeTinyGguf(const TinyShape& shape) { return Builder(shape).Build(); }

std::unique_ptr<TinyModel> MakeTinyModel(const TinyShape& shape) {
  std::vector<std::byte> bytes = MakeTinyGguf(shape);
  Result<quant::GgufFile> file = quant::GgufFile::Parse(bytes, "tiny.gguf");
  QUORUM_CHECK(file.ok());
  Result<engine::ModelSpec> spec = engine::SpecFromGguf(*file);
  QUORUM_CHECK(spec.ok());
  Result<engine::ModelTensors> tensors = engine::TensorsFromGguf(*file, *spec);
  QUORUM_CHECK(tensors.ok());
  return std::make_unique<TinyModel>(
      TinyModel{std::move(bytes), std::move(file).value(), std::move(spec).value(), std::move(tensors).value()});
}

}  // namespace quorum::testing
