// What a GGUF file says about its model: accepted, or refused with file, key and values.
#include <functional>
#include <string>
#include <vector>

#include "engine/model_config.h"
#include "tests/support/catch.h"
#include "tests/support/tiny_model.h"

namespace quorum::engine {
namespace {

using quant::GgufWriter;
using testing::MakeTinyGguf;
using testing::TinyShape;

/// The error of reading a file, or "" for none.
Error ReadError(const TinyShape& shape) {
  const std::vector<std::byte> bytes = MakeTinyGguf(shape);
  const Result<quant::GgufFile> file = quant::GgufFile::Parse(bytes, "some.gguf");
  REQUIRE(file.ok());
  const Result<ModelSpec> spec = SpecFromGguf(*file);
  if (!spec.ok()) return spec.error();
  const Result<ModelTensors> tensors = TensorsFromGguf(*file, *spec);
  return tensors.ok() ? Error{} : tensors.error();
}

Error ReadError(const std::function<void(GgufWriter&)>& edit, TinyShape shape = {}) {
  shape.edit = edit;
  return ReadError(shape);
}

bool Says(const Error& error, ErrorCode code, const std::vector<std::string>& parts) {
  bool all = error.code == code && error.message.starts_with("some.gguf: ");
  for (const std::string& part : parts) all = all && error.message.find(part) != std::string::npos;
  if (!all) WARN(ErrorCodeName(error.code) << ": " << error.message);
  return all;
}

TEST_CASE("A spec says what the file says") {
  TinyShape shape;
  shape.architecture = "qwen2moe";
  shape.experts = 5;
  shape.top_k = 3;
  shape.shared_ff = 80;
  shape.tied = false;
  const auto tiny = testing::MakeTinyModel(shape);
  const ModelSpec& spec = tiny->spec;
  CHECK(spec.architecture == "qwen2moe");
  CHECK(spec.name == "tiny random model");
  CHECK(spec.vocab_size == 72);
  CHECK(spec.d_model == 64);
  CHECK(spec.context_length == 512);
  CHECK(spec.norm_eps == 1e-5F);
  CHECK(spec.attention.heads == 4);
  CHECK(spec.attention.kv_heads == 2);
  CHECK(spec.attention.head_dim == 16);
  CHECK(spec.attention.scale == 0.25F);
  CHECK(spec.attention.qkv_bias);
  CHECK(spec.rope.pairs == RopePairs::kNeox);
  CHECK(spec.rope.dims == 16);
  CHECK(spec.rope.base == 10000.0);
  CHECK_FALSE(spec.tied_embeddings);
  CHECK(spec.router.score == RouterScore::kSoftmax);
  CHECK(spec.router.top_k == 3);
  CHECK_FALSE(spec.router.renormalize);
  CHECK(spec.shared_gate);
  REQUIRE(spec.layers.size() == 2);
  CHECK(spec.layers[1].experts == 5);
  CHECK(spec.layers[1].ff == 96);
  CHECK(spec.layers[1].shared_ff == 80);
  CHECK(spec.max_ff() == 96);

  const auto mixtral = testing::MakeTinyModel({.experts = 4});
  CHECK(mixtral->spec.router.renormalize);
  CHECK(mixtral->spec.rope.pairs == RopePairs::kInterleaved);
  CHECK(mixtral->spec.tied_embeddings);
  TinyShape first_dense{.experts = 4,
                        .edit = [](GgufWriter& file) { file.SetBool("llama.expert_weights_norm", false); }};
  CHECK_FALSE(testing::MakeTinyModel(first_dense)->spec.router.renormalize);
}

TEST_CASE("An unknown architecture is refused with the list of known ones") {
  const Error error = ReadError([](GgufWriter& file) { file.SetString("general.architecture", "mamba2"); });
  CHECK(Says(error, ErrorCode::kUnsupported, {"'mamba2'", "llama, qwen2, qwen2moe, qwen3, qwen3moe, olmoe, smollm3"}));
  CHECK(SupportedGgufArchitectures().size() >= 13);
  const Error adapter = ReadError([](GgufWriter& file) { file.SetString("general.type", "adapter"); });
  CHECK(Says(adapter, ErrorCode::kUnsupported, {"general.type", "'adapter'"}));
}

TEST_CASE("Keys out of range name file, key, found and expected") {
  const auto set = [](const char* key, std::uint32_t value) {
    return [=](GgufWriter& file) { file.SetUint32(key, value); };
  };
  constexpr ErrorCode kBad = ErrorCode::kInvalidArgument;
  CHECK(Says(ReadError(set("llama.block_count", 0)), kBad, {"'llama.block_count' is 0", "1 to 1024"}));
  CHECK(Says(ReadError(set("llama.block_count", 3)), kBad, {"'blk.2.attn_norm.weight' is missing"}));
  CHECK(Says(ReadError(set("llama.embedding_length", 63)), kBad, {"'token_embd.weight'", "64", "63"}));
  CHECK(Says(ReadError(set("llama.attention.head_count", 0)), kBad, {"'llama.attention.head_count' is 0"}));
  CHECK(Says(ReadError(set("llama.attention.head_count_kv", 3)), kBad, {"(4)", "(3)"}));
  CHECK(Says(ReadError(set("llama.attention.key_length", 12)), ErrorCode::kUnsupported, {"16", "12"}));
  CHECK(Says(ReadError(set("llama.vocab_size", 73)), kBad, {"'llama.vocab_size' is 73", "72"}));
  CHECK(Says(ReadError(set("llama.feed_forward_length", 95)), kBad, {"'blk.0.ffn_gate.weight'", "96", "95"}));
  CHECK(Says(ReadError([](GgufWriter& file) { file.SetFloat32("llama.attention.clamp_kqv", -8.0F); }), kBad,
             {"clamp", "-8"}));
  CHECK(Says(ReadError(set("llama.rope.dimension_count", 18)), kBad, {"18", "16"}));
  CHECK(Says(ReadError(set("llama.rope.dimension_count", 7)), kBad, {"7", "even"}));
  CHECK(Says(ReadError(set("llama.expert_count", 4)), kBad, {"'llama.expert_used_count' is missing"}));
  CHECK(Says(ReadError(set("llama.expert_used_count", 5), {.experts = 4}), kBad, {"is 5", "1 to 4"}));
  CHECK(Says(ReadError(set("llama.expert_count", 3), {.experts = 4}), kBad,
             {"'blk.0.ffn_gate_exps.weight' holds 4", "3"}));
  CHECK(Says(ReadError([](GgufWriter& file) { file.Erase("llama.context_length"); }), kBad,
             {"'llama.context_length' is missing"}));
  for (const float eps : {0.0F, -1e-5F, 2.0F}) {
    CHECK(Says(ReadError([=](GgufWriter& file) { file.SetFloat32("llama.attention.layer_norm_rms_epsilon", eps); }),
               kBad, {"layer_norm_rms_epsilon"}));
  }
  CHECK(
      Says(ReadError([](GgufWriter& file) { file.SetFloat32("llama.rope.freq_base", -5.0F); }), kBad, {"base", "-5"}));
  CHECK(Says(ReadError([](GgufWriter& file) { file.SetString("llama.block_count", "two"); }), kBad,
             {"llama.block_count"}));
}

TEST_CASE("What the forward pass does not do is refused, never ignored") {
  constexpr ErrorCode kNo = ErrorCode::kUnsupported;
  CHECK(Says(ReadError([](GgufWriter& file) { file.SetBool("llama.attention.causal", false); }), kNo,
             {"causal", "false"}));
  CHECK(Says(ReadError([](GgufWriter& file) { file.SetFloat32("llama.final_logit_softcapping", 30.0F); }), kNo,
             {"'llama.final_logit_softcapping'"}));
  CHECK(Says(ReadError([](GgufWriter& file) { file.SetString("llama.rope.scaling.type", "dynamic"); }), kNo,
             {"dynamic"}));
  CHECK(Says(ReadError([](GgufWriter& file) { file.SetString("llama.rope.scaling.type", "longrope"); }),
             ErrorCode::kInvalidArgument, {"0 frequency factors", "8"}));
  CHECK(Says(ReadError([](GgufWriter& file) { file.SetInt32s("llama.attention.head_count_kv", {2, 1}); }), kNo,
             {"head_count_kv", "layers"}));
  static const std::vector<float> values(64, 1.0F);
  const auto extra = [](const char* name) {
    return [=](GgufWriter& file) { file.AddTensor(name, quant::DType::kF32, {64}, std::as_bytes(std::span(values))); };
  };
  CHECK(Says(ReadError(extra("blk.0.attn_sub_norm.weight")), kNo, {"'blk.0.attn_sub_norm.weight'"}));
  CHECK(
      Says(ReadError(extra("blk.0.attn_q_norm.weight")), ErrorCode::kInvalidArgument, {"'blk.0.attn_q_norm.weight'"}));
  // Settings that say nothing new are fine.
  const Error none = ReadError([](GgufWriter& file) {
    file.SetFloat32("llama.attention.clamp_kqv", 0.0F);
    file.SetBool("llama.attention.causal", true);
    file.SetString("llama.rope.scaling.type", "none");
    file.SetUint32("llama.expert_count", 0);
    file.SetUint32("llama.expert_used_count", 0);
    file.SetInt32s("llama.attention.head_count_kv", {2, 2});
    file.SetString("llama.tensor_data_layout", "Meta AI original pth");
  });
  CHECK(none.message.empty());
}

TEST_CASE("What layers have by turns: windows and rotation") {
  TinyShape shape{.architecture = "gpt-oss", .layers = 3, .experts = 4, .window = 20, .tied = false};
  const auto windows = [&] {
    std::vector<std::int32_t> found;
    const auto tiny = testing::MakeTinyModel(shape);
    for (const LayerSpec& layer : tiny->spec.layers) found.push_back(layer.window);
    return found;
  };
  CHECK(windows() == std::vector<std::int32_t>{20, 0, 20});
  shape.edit = [](GgufWriter& file) { file.SetUint32("gpt-oss.attention.sliding_window_pattern", 3); };
  CHECK(windows() == std::vector<std::int32_t>{20, 20, 0});
  shape.edit = [](GgufWriter& file) { file.SetInt32s("gpt-oss.attention.sliding_window_pattern", {0, 1, 1}); };
  CHECK(windows() == std::vector<std::int32_t>{0, 20, 20});
  const auto three = testing::MakeTinyModel({.architecture = "smollm3", .layers = 5});
  CHECK((three->spec.layers[2].rope && !three->spec.layers[3].rope && three->spec.layers[4].rope));
  TinyShape granite{.architecture = "granite"};
  CHECK(testing::MakeTinyModel(granite)->spec.rope.dims == 16);
  granite.edit = [](GgufWriter& file) { file.SetBool("granite.rope.scaling.finetuned", false); };
  CHECK(testing::MakeTinyModel(granite)->spec.rope.dims == 0);
}

TEST_CASE("Settings of single families out of range are named") {
  constexpr ErrorCode kBad = ErrorCode::kInvalidArgument;
  const TinyShape oss{.architecture = "gpt-oss", .experts = 4, .window = 20, .tied = false};
  CHECK(Says(ReadError([](auto& file) { file.SetInt32s("gpt-oss.attention.sliding_window_pattern", {1, 0, 1}); }, oss),
             kBad, {"'gpt-oss.attention.sliding_window_pattern' has 3 entries, expected 1 or 2"}));
  CHECK(Says(ReadError([](auto& file) { file.SetFloat32("granite.logit_scale", 0.0F); }, {.architecture = "granite"}),
             kBad, {"'granite.logit_scale' is 0, expected a positive number"}));
  const TinyShape grok{.architecture = "grok", .experts = 4};
  CHECK(Says(ReadError([](auto& file) { file.SetFloat32("grok.router_logit_softcapping", -1.0F); }, grok), kBad,
             {"router soft-cap is -1"}));
  CHECK(Says(ReadError([](auto& file) { file.SetUint32("grok.attention.temperature_length", 9); }, grok),
             ErrorCode::kUnsupported, {"'grok.attention.temperature_length'"}));
  CHECK(testing::MakeTinyModel(grok)->spec.attention.softcap == 30.0F);
  // A dense Llama by its shape has none of these tensors.
  const auto as = [](const std::string& architecture) {
    return [=](GgufWriter& file) {
      file.SetString("general.architecture", architecture);
      constexpr std::pair<const char*, std::uint32_t> kKeys[] = {
          {"context_length", 64},      {"embedding_length", 64},       {"block_count", 2},  {"feed_forward_length", 96},
          {"attention.head_count", 4}, {"attention.head_count_kv", 2}, {"expert_count", 4}, {"expert_used_count", 2}};
      for (const auto& [key, value] : kKeys) file.SetUint32(architecture + "." + key, value);
      file.SetFloat32(architecture + ".attention.layer_norm_rms_epsilon", 1e-5F);
    };
  };
  CHECK(Says(ReadError(as("gpt-oss"), {.experts = 4}), kBad, {"attention sinks", "missing"}));
  CHECK(Says(ReadError(as("phimoe"), {.experts = 4}), kBad, {"norm bias", "missing"}));
  CHECK(Says(ReadError(as("grok"), {.experts = 4}), kBad, {"norm after attention", "missing"}));
  static const std::vector<float> factors(8, 2.0F);
  CHECK(Says(ReadError([](auto& file) {
               file.AddTensor("rope_factors_long.weight", quant::DType::kF32, {8}, std::as_bytes(std::span(factors)));
             }),
             kBad, {"0 frequency factors", "8"}));
}

TEST_CASE("Tensors of a wrong shape or type name tensor, found and expected") {
  static const std::vector<float> values(64, 1.0F);
  const auto bytes = std::as_bytes(std::span(values));
  TinyShape biased;
  biased.architecture = "qwen2";
  CHECK(ReadError(biased).message.empty());
  const Error factors = ReadError(
      [=](GgufWriter& file) { file.AddTensor("rope_freqs.weight", quant::DType::kF32, {7}, bytes.first(28)); });
  CHECK(Says(factors, ErrorCode::kInvalidArgument, {"rope_freqs.weight", "7", "8"}));
  const Error integers = ReadError([=](GgufWriter& file) {
    file.AddTensor("output.weight", quant::DType::kI8, {64, 72},
                   quant::GgufWriter::Source([](const auto& sink) { return sink(std::vector<std::byte>(64 * 72)); }));
  });
  CHECK(Says(integers, ErrorCode::kUnsupported, {"'output.weight'", "I8"}));
}

TEST_CASE("Latent attention and groups of experts") {
  TinyShape shape;
  shape.architecture = "deepseek2";
  shape.heads = 3;
  shape.head_dim = 20;
  shape.experts = 6;
  shape.groups = 3;
  shape.top_groups = 2;
  shape.split_kv_b = true;
  const auto tiny = testing::MakeTinyModel(shape);
  const AttentionSpec& attention = tiny->spec.attention;
  CHECK(attention.latent.kv_rank == 24);
  CHECK(attention.latent.nope_dim == 12);
  CHECK(attention.latent.rope_dim == 8);
  CHECK(attention.latent.value_dim == 12);
  CHECK(attention.kv_heads == 1);
  CHECK(attention.cached_key_dim() == 32);
  CHECK(tiny->spec.rope.pairs == RopePairs::kInterleaved);
  CHECK(tiny->spec.router.score == RouterScore::kSigmoid);
  CHECK(tiny->spec.router.choice_bias);
  CHECK(tiny->spec.router.groups == 3);
  CHECK(tiny->spec.router.top_groups == 2);
  CHECK(tiny->spec.router.group_score == GroupScore::kTopTwo);
  // d * vocabulary, then for each of 2 layers: queries, latent, up-projections, output; router; 2 experts.
  const std::int64_t layer = 64 * 60 + 64 * 32 + 3 * 24 * 24 + 36 * 64 + 64 * 6 + 2 * 3 * 64 * 96;
  CHECK(tiny->spec.active_weights() == 64 * 72 + 2 * layer);

  // A file of before there were these keys: experts chosen by plain softmax.
  TinyShape old = shape;
  old.groups = 0;
  old.split_kv_b = false;
  CHECK(testing::MakeTinyModel(old)->spec.router.score == RouterScore::kSoftmax);
  CHECK(testing::MakeTinyModel(old)->spec.router.groups == 1);

  const auto set = [](const char* key, std::uint32_t value) {
    return [=](GgufWriter& file) { file.SetUint32(key, value); };
  };
  using enum ErrorCode;
  CHECK(Says(ReadError(set("deepseek2.expert_group_count", 4), shape), kInvalidArgument, {"6 experts", "4 groups"}));
  CHECK(Says(ReadError(set("deepseek2.expert_group_used_count", 4), shape), kInvalidArgument, {"is 4", "1 to 3"}));
  CHECK(Says(ReadError(set("deepseek2.expert_used_count", 5), shape), kInvalidArgument, {"uses 5", "hold only 4"}));
  CHECK(Says(ReadError(set("deepseek2.rope.dimension_count", 20), shape), kInvalidArgument, {"key_length"}));
  CHECK(Says(ReadError(set("deepseek2.attention.key_length", 31), shape), kInvalidArgument, {"is 31", "expected 32"}));
  CHECK(Says(ReadError(set("deepseek2.attention.kv_lora_rank", 28), old), kInvalidArgument,
             {"blk.0.attn_kv_a_mqa", "36"}));
  CHECK(Says(ReadError(set("deepseek2.attention.head_count", 4), shape), kInvalidArgument, {"expected"}));
  CHECK(Says(ReadError(set("deepseek2.attention.head_count", 4), old), kInvalidArgument, {"head_count_kv"}));
}

TEST_CASE("Keys that files of early 2024 lack, and that say nothing here") {
  TinyShape shape;
  shape.architecture = "qwen2moe";
  shape.experts = 5;
  shape.shared_ff = 80;
  shape.edit = [](GgufWriter& file) {
    file.SetUint32("qwen2moe.feed_forward_length", 80);  // Qwen1.5-MoE: the shared expert's; the experts' had no key
    file.Erase("qwen2moe.expert_feed_forward_length");
    file.Erase("qwen2moe.expert_shared_feed_forward_length");
    file.SetUint32("qwen2moe.pooling_type", 3);
  };
  const std::vector<std::byte> bytes = MakeTinyGguf(shape);
  const Result<quant::GgufFile> file = quant::GgufFile::Parse(bytes, "some.gguf");
  REQUIRE(file.ok());
  const Result<ModelSpec> spec = SpecFromGguf(*file);
  REQUIRE(spec.ok());
  CHECK(spec->layers.front().ff == 96);
  CHECK(spec->layers.front().shared_ff == 80);
  CHECK(TensorsFromGguf(*file, *spec).ok());
}

TEST_CASE("Blocks for multi-token prediction are left out") {
  TinyShape shape;
  shape.layers = 3;
  shape.edit = [](GgufWriter& file) {
    file.SetUint32("llama.nextn_predict_layers", 1);
    static const std::vector<float> values(64, 1.0F);
    file.AddTensor("blk.2.nextn.eh_proj.weight", quant::DType::kF32, {64}, std::as_bytes(std::span(values)));
  };
  const auto tiny = testing::MakeTinyModel(shape);
  CHECK(tiny->spec.layers.size() == 2);
  CHECK(tiny->tensors.layers.size() == 2);
}

}  // namespace
}  // namespace quorum::engine
