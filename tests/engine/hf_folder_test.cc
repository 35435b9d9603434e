// Hugging Face folders that are wrong in some way: the message names the file, the key or tensor and what was expected.
// And what the readers make of settings that no oracle has.
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "engine/hf_family.h"
#include "engine/model.h"
#include "engine/model_files.h"
#include "tests/support/catch.h"
#include "tests/support/safe_writer.h"

namespace quorum::engine {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// A copy of a fixture that a test may break.
class Copy {
 public:
  explicit Copy(const std::string& fixture)
      : path_(fs::temp_directory_path() / ("quorum-hf-" + fixture + "-" + std::to_string(::getpid()))) {
    SetLogLevel(LogLevel::kOff);
    fs::remove_all(path_);
    fs::copy(std::string(QUORUM_FIXTURES) + "/model/" + fixture, path_);
  }
  ~Copy() { fs::remove_all(path_); }
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;

  std::string path() const { return path_.string(); }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(file(name), std::ios::binary) << text;
  }

  Json Config() const { return Json::parse(std::ifstream(file("config.json"))); }

  /// The error of the folder with one key changed (null: taken away); empty: it can be opened.
  std::string ErrorWith(const std::string& key, const Json& value) const {
    const Json before = Config();
    Json config = before;
    config[key] = value;
    if (value.is_null()) config.erase(key);
    Write("config.json", config.dump());
    const std::string error = Error();
    Write("config.json", before.dump());
    return error;
  }

  std::string Error() const {
    const auto files = ModelFiles::Open(path());
    return files.ok() ? std::string() : files.error().message;
  }

  /// Writes model.safetensors anew; `edit` may change a tensor's name (empty: left out), type and shape. `added` is the
  /// name of one more tensor.
  void Rewrite(const std::function<void(std::string&, std::string&, std::vector<std::int64_t>&)>& edit,
               const std::string& added = {}) const {
    testing::SafeWriter writer;
    {
      const auto weights = quant::SafetensorsModel::Open(path());
      REQUIRE(weights.ok());
      for (const auto& [key, tensor] : weights->tensors()) {
        std::string name = key;
        std::string type(quant::NameOf(tensor.type));
        std::vector<std::int64_t> shape = tensor.shape;
        edit(name, type, shape);
        if (name.empty()) continue;
        writer.Add(name, type, shape, {reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()});
      }
    }
    if (!added.empty()) writer.Add(added, "F32", {2}, std::string(8, '\0'));
    Write("model.safetensors", writer.Bytes());
  }

 private:
  fs::path path_;
};

bool Has(const std::string& text, const std::string& part) {
  if (text.find(part) == std::string::npos) UNSCOPED_INFO("message: " << text);
  return text.find(part) != std::string::npos;
}

ModelSpec SpecOf(const Copy& copy, const std::function<void(Json&)>& edit) {
  const Json before = copy.Config();
  Json config = before;
  edit(config);
  copy.Write("config.json", config.dump());
  const auto folder = OpenHfFolder(copy.path());
  REQUIRE(folder.ok());
  const auto spec = SpecFromHf(*folder);
  copy.Write("config.json", before.dump());
  if (!spec.ok()) FAIL(spec.error().message);
  return *spec;
}

TEST_CASE("Keys of config.json that are missing, absurd or of another type are named") {
  const Copy copy("mixtral");
  CHECK(copy.Error().empty());
  const std::string at = copy.file("config.json") + ": key ";
  CHECK(Has(copy.ErrorWith("hidden_size", nullptr),
            at + "'hidden_size' is missing, expected a whole number from 1 to 131072"));
  CHECK(Has(copy.ErrorWith("hidden_size", "48"), at + "'hidden_size' is '48', expected a whole number"));
  CHECK(Has(copy.ErrorWith("hidden_size", 48.5), at + "'hidden_size' is 48.5"));
  CHECK(Has(copy.ErrorWith("hidden_size", -1), at + "'hidden_size' is -1"));
  CHECK(Has(copy.ErrorWith("num_hidden_layers", 1000000000),
            at + "'num_hidden_layers' is 1000000000, expected a whole number from 1 to 1024"));
  CHECK(Has(copy.ErrorWith("num_hidden_layers", Json::array({1})), at + "'num_hidden_layers' is a list"));
  CHECK(Has(copy.ErrorWith("num_attention_heads", 5),
            at + "'num_attention_heads' is 5, which does not divide 'hidden_size' 48"));
  CHECK(Has(copy.ErrorWith("num_key_value_heads", 4), "not a multiple of the key/value heads (4)"));
  CHECK(Has(copy.ErrorWith("num_key_value_heads", 12),
            at + "'num_key_value_heads' is 12, expected a whole number from 1 to 6"));
  CHECK(Has(copy.ErrorWith("head_dim", 1025), at + "'head_dim' is 1025, expected a whole number from 1 to 1024"));
  CHECK(Has(copy.ErrorWith("head_dim", 7), "rotated dimensions are 7, expected an even number"));
  CHECK(Has(copy.ErrorWith("num_local_experts", 1 << 20), at + "'num_local_experts' is 1048576"));
  CHECK(Has(copy.ErrorWith("num_experts_per_tok", 7),
            at + "'num_experts_per_tok' is 7, expected a whole number from 1 to 6"));
  CHECK(Has(copy.ErrorWith("rms_norm_eps", 0), at + "'rms_norm_eps' is 0, expected a number between 0 and 1"));
  CHECK(Has(copy.ErrorWith("hidden_act", "gelu"), at + "'hidden_act' is 'gelu'"));
  CHECK(Has(copy.ErrorWith("tie_word_embeddings", 1), at + "'tie_word_embeddings' is 1, expected true or false"));
  CHECK(
      Has(copy.ErrorWith("model_type", "bert"), "family that is not supported; supported are llama, mistral, mixtral"));
  CHECK(Has(copy.ErrorWith("model_type", nullptr), at + "'model_type' is missing"));
  CHECK(Has(copy.ErrorWith("model_type", 3), at + "'model_type' is 3, expected a string"));
  CHECK(Has(copy.ErrorWith("is_encoder_decoder", true), at + "'is_encoder_decoder' is true"));
  const Json rope = {
      {"rope_type", "yarn"}, {"rope_theta", 1e4}, {"factor", 0}, {"original_max_position_embeddings", 32}};
  CHECK(Has(copy.ErrorWith("rope_parameters", rope), at + "'rope_parameters.factor' is 0"));
  CHECK(Has(copy.ErrorWith("rope_parameters", {{"rope_type", "spiral"}}),
            at + "'rope_parameters.rope_type' is 'spiral'"));
  CHECK(Has(copy.ErrorWith("rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}),
            "'rope_parameters.full_attention' describes a feature"));
  CHECK(Has(copy.ErrorWith("rope_parameters", {{"rope_theta", -1}}), at + "'rope_theta' is -1"));
  CHECK(Has(copy.ErrorWith("rope_parameters", 7), at + "'rope_parameters' is 7, expected an object"));
  CHECK(Has(copy.ErrorWith("quantization_config", {{"quant_method", "bitsandbytes"}}),
            "'quantization_config.quant_method' is 'bitsandbytes'"));
  CHECK(Has(copy.ErrorWith("quantization_config", {{"quant_method", "gptq"}, {"bits", 3}}),
            "'quantization_config.bits' is 3"));
}

TEST_CASE("A config.json that is no JSON, holds NaN or is not there") {
  const Copy copy("mixtral");
  const std::string good = copy.Config().dump();
  std::string bad = good;
  const std::size_t eps = bad.find("1e-05");
  REQUIRE(eps != std::string::npos);
  copy.Write("config.json", bad.replace(eps, 5, "NaN"));
  CHECK(Has(copy.Error(), copy.file("config.json") + ": key 'rms_norm_eps' is 'NaN', expected a finite number"));
  copy.Write("config.json", good.substr(0, good.size() / 2));
  CHECK(Has(copy.Error(), copy.file("config.json") + ": not valid JSON at byte"));
  copy.Write("config.json", "[]");
  CHECK(Has(copy.Error(), "it holds a list, expected an object"));
  fs::remove(copy.file("config.json"));
  CHECK(Has(copy.Error(), "the folder has no config.json"));
  fs::create_symlink("config.json", copy.file("config.json"));  // a cycle
  CHECK(!copy.Error().empty());
}

TEST_CASE("Tensors that are missing, too many or of another shape or type are named") {
  const auto error = [](const std::function<void(std::string&, std::string&, std::vector<std::int64_t>&)>& edit) {
    const Copy copy("mixtral");
    copy.Rewrite(edit);
    const std::string text = copy.Error();
    if (!text.empty()) CHECK(text.starts_with(copy.path() + ": "));
    return text;
  };
  using Shape = std::vector<std::int64_t>;
  const std::string w2 = "model.layers.1.block_sparse_moe.experts.5.w2.weight";
  CHECK(error([](std::string&, std::string&, Shape&) {}).empty());
  CHECK(Has(error([&](std::string& name, std::string&, Shape&) { name = name == w2 ? "" : name; }),
            "tensor '" + w2 + "' is missing"));
  CHECK(Has(error([](std::string& name, std::string&, Shape&) { name = name == "lm_head.weight" ? "" : name; }),
            "tensor 'lm_head.weight' is missing"));
  CHECK(Has(error([](std::string& name, std::string&, Shape&) { name = name == "model.norm.weight" ? "" : name; }),
            "tensor 'model.norm.weight' is missing"));
  CHECK(Has(error([&](std::string& name, std::string&, Shape&) { name = name == w2 ? "spare" : name; }), "is missing"));
  CHECK(Has(error([&](std::string& name, std::string&, Shape& shape) {
              if (name == w2) shape = {shape[1], shape[0]};
            }),
            "tensor '" + w2 + "' has 24 rows of 48, expected 48 rows of 24"));
  CHECK(Has(error([&](std::string& name, std::string&, Shape& shape) {
              if (name == w2) shape = {1, shape[0], shape[1]};
            }),
            "expected up to 2 axes"));
  CHECK(Has(error([&](std::string& name, std::string& type, Shape&) {
              if (name == w2) type = "I16";
            }),
            "tensor '" + w2 + "' is I16 [48, 24], expected F32, F16 or BF16"));
  const Copy copy("mixtral");
  copy.Write("config.json", [&] {
    Json config = copy.Config();
    config["num_hidden_layers"] = 1;
    return config.dump();
  }());
  CHECK(Has(copy.Error(), "tensor 'model.layers.1.block_sparse_moe.experts.0.w1.weight' belongs to a feature"));
}

TEST_CASE("Shards that are missing or cut are named") {
  const Copy copy("llama3");
  CHECK(copy.Error().empty());
  std::string shard;
  for (const auto& entry : fs::directory_iterator(copy.path())) {
    if (entry.path().filename().string().starts_with("model-00002")) shard = entry.path().string();
  }
  REQUIRE(!shard.empty());
  const auto size = fs::file_size(shard);
  fs::resize_file(shard, size - 8);
  CHECK(Has(copy.Error(), shard));
  CHECK(Has(copy.Error(), "(is it cut off?)"));
  fs::remove(shard);
  CHECK(Has(copy.Error(), shard));
  CHECK(Has(copy.Error(), "No such file"));
}

TEST_CASE("A file that is cut short after it was opened is an error, not the end of the process") {
  const Copy copy("llama");
  const auto files = ModelFiles::Open(copy.path());
  REQUIRE(files.ok());
  REQUIRE((*files)->CheckIntact().ok());
  fs::resize_file(copy.file("model.safetensors"), 4096);
  ThreadPool pool(2);
  LoadOptions options;
  options.pool = &pool;
  options.max_batch = 1;
  const auto model = Model::Create((*files)->spec(), (*files)->tensors(), options,
                                   [&](std::span<const std::byte> part) { return (*files)->Release(part); });
  REQUIRE_FALSE(model.ok());
  CHECK(model.error().code == ErrorCode::kDataLoss);
  CHECK(Has(model.error().message, copy.file("model.safetensors") + ": the file became shorter"));
}

TEST_CASE("Scaled positions are read in both spellings") {
  const Copy copy("llama3");
  const ModelSpec plain =
      SpecOf(copy, [](Json& c) { c["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5e5}}; });
  CHECK(plain.rope.base == 5e5);
  CHECK(plain.rope.scaling == RopeScaling::kNone);
  CHECK((plain.rope.dims == 16 && plain.rope.pairs == RopePairs::kNeox && plain.rope.factors.empty()));
  const ModelSpec part = SpecOf(copy, [](Json& c) { c["rope_parameters"]["partial_rotary_factor"] = 0.5; });
  CHECK(part.rope.dims == 8);
  for (const char* spelling : {"type", "rope_type"}) {
    const ModelSpec yarn = SpecOf(copy, [&](Json& c) {
      c.erase("rope_parameters");
      c["rope_theta"] = 2e4;
      c["rope_scaling"] = {{spelling, "yarn"}, {"factor", 40.0},        {"original_max_position_embeddings", 4096},
                           {"mscale", 1.0},    {"mscale_all_dim", 0.5}, {"beta_fast", 16}};
    });
    CHECK(yarn.rope.base == 2e4);
    CHECK(yarn.rope.scaling == RopeScaling::kYarn);
    CHECK((yarn.rope.factor == 40.0 && yarn.rope.original_context == 4096 && yarn.rope.beta_fast == 16.0));
    const double own = 0.1 * std::log(40.0) + 1.0;
    const double half = 0.05 * std::log(40.0) + 1.0;
    CHECK(std::abs(yarn.rope.attention_factor - 1.0 / half) < 1e-12);
    CHECK(std::abs(own * yarn.rope.attention_factor - own / half) < 1e-12);
  }
  const ModelSpec fixed = SpecOf(copy, [](Json& c) {
    c["rope_parameters"] = {{"rope_type", "yarn"},
                            {"rope_theta", 1e4},
                            {"factor", 4},
                            {"attention_factor", 1.25},
                            {"original_max_position_embeddings", 64}};
  });
  CHECK(std::abs(fixed.rope.attention_factor * (0.1 * std::log(4.0) + 1.0) - 1.25) < 1e-12);
}

TEST_CASE("Layers may differ") {
  const Copy qwen("qwen2_moe_sparse");
  const ModelSpec sparse = SpecOf(qwen, [](Json&) {});
  CHECK((sparse.layers[0].experts == 0 && sparse.layers[0].ff == 56 && sparse.layers[0].shared_ff == 0));
  CHECK((sparse.layers[1].experts == 60 && sparse.layers[1].ff == 8 && sparse.layers[1].shared_ff == 40));
  const Copy window("qwen2_window");
  const ModelSpec windows = SpecOf(window, [](Json&) {});
  CHECK((windows.layers[0].window == 0 && windows.layers[1].window == 7));
  const ModelSpec old = SpecOf(window, [](Json& c) { c.erase("layer_types"); });
  CHECK((old.layers[0].window == 0 && old.layers[1].window == 7));
  CHECK(Has(window.ErrorWith("layer_types", Json::array({"full_attention"})), "'layer_types' has 1 entries"));
  CHECK(Has(window.ErrorWith("layer_types", Json::array({"full_attention", "linear_attention"})),
            "has 'linear_attention'"));
}

TEST_CASE("Keys that are left out mean what they mean to transformers") {
  const Copy mixtral("mixtral");
  const ModelSpec bare = SpecOf(mixtral, [](Json& c) {
    c.erase("rms_norm_eps");
    c.erase("rope_parameters");
  });
  CHECK(bare.norm_eps == 1e-5F);
  CHECK(bare.rope.base == 1e6);
  CHECK(Has(mixtral.ErrorWith("num_key_value_heads", nullptr), "key/value heads is 8, expected 1 to 6"));

  const Copy mistral("mistral");
  CHECK(SpecOf(mistral, [](Json& c) { c.erase("sliding_window"); }).layers[0].window == 4096);
  CHECK(SpecOf(mistral, [](Json& c) { c["sliding_window"] = nullptr; }).layers[0].window == 0);
  const Copy oss("gpt_oss");
  CHECK(SpecOf(oss, [](Json& c) { c.erase("sliding_window"); }).layers[0].window == 128);

  const ModelSpec plain = SpecOf(oss, [](Json& c) { c.erase("rope_parameters"); });
  CHECK((plain.rope.scaling == RopeScaling::kYarn && plain.rope.factor == 32.0 && plain.rope.base == 150000.0));
  CHECK(SpecOf(mixtral, [](Json& c) { c.erase("num_experts_per_tok"); }).router.top_k == 2);
  CHECK(SpecOf(Copy("deepseek3"), [](Json& c) { c.erase("n_shared_experts"); }).layers.back().shared_ff == 24);
  const Copy qwen("qwen2_window");
  CHECK(SpecOf(qwen,
               [](Json& c) {
                 c.erase("layer_types");
                 c.erase("max_window_layers");
               })
            .layers[1]
            .window == 0);  // from layer 28 on
  const Copy moe("qwen2_moe");
  const auto windows = [&](const Json& more) {
    const ModelSpec spec = SpecOf(moe, [&](Json& c) {
      c.erase("layer_types");
      c.update(more);
    });
    return std::vector<std::int32_t>{spec.layers[0].window, spec.layers[1].window};
  };
  const Json used = {{"use_sliding_window", true}, {"sliding_window", 5}};
  CHECK(windows(used) == std::vector<std::int32_t>{5, 0});
  CHECK(windows({{"use_sliding_window", true}, {"sliding_window", 5}, {"max_window_layers", 0}}) ==
        std::vector<std::int32_t>{0, 0});
  CHECK(SpecOf(Copy("qwen3_moe"), [&](Json& c) { c.update(used); }).layers[1].window == 5);
}

TEST_CASE("The context of the first training counts beside the section before that in it") {
  const Copy phi("phi3");
  const auto context = [&](const std::function<void(Json&)>& edit) { return SpecOf(phi, edit).rope.original_context; };
  CHECK(context([](Json&) {}) == 40);
  CHECK(context([](Json& c) { c["rope_parameters"]["original_max_position_embeddings"] = 80; }) == 40);
  CHECK(context([](Json& c) { c.erase("original_max_position_embeddings"); }) == 4096);
  for (const char* old_name : {"su", "yarn"}) {
    const ModelSpec old = SpecOf(phi, [&](Json& c) { c["rope_parameters"]["rope_type"] = old_name; });
    CHECK(old.rope.scaling == RopeScaling::kLongRope);
  }
  const Copy llama("llama3");
  CHECK(SpecOf(llama, [](Json& c) {
          c["rope_parameters"] = {{"rope_type", "yarn"}, {"factor", 4.0}};
        }).rope.original_context == 256);
  // Phi-3-mini-4k has the key beside positions that are not scaled, where it means nothing: no warning.
  Json plain = phi.Config();
  plain.erase("rope_parameters");
  phi.Write("config.json", plain.dump());
  const auto folder = OpenHfFolder(phi.path());
  REQUIRE(folder.ok());
  CHECK(SpecFromHf(*folder).ok());
  CHECK(folder->config.Unread().empty());
}

TEST_CASE("mT5's logits are not scaled, and its networks have a gate") {
  const ModelSpec t5 = SpecOf(Copy("t5"), [](Json& c) { c.erase("feed_forward_proj"); });
  CHECK((t5.logit_scale != 1.0F && !t5.gated));
  const ModelSpec mt5 = SpecOf(Copy("t5"), [](Json& c) {
    c["model_type"] = "mt5";
    c.erase("feed_forward_proj");
    c.erase("scale_decoder_outputs");
  });
  CHECK((mt5.logit_scale == 1.0F && mt5.gated && mt5.activation == Activation::kGelu));
}

TEST_CASE("An output matrix that differs from a tied embedding is used") {
  const auto tied = [](bool differs) {
    const Copy copy("mistral");
    Json config = copy.Config();
    config["tie_word_embeddings"] = true;
    copy.Write("config.json", config.dump());
    testing::SafeWriter writer;
    {
      const auto weights = quant::SafetensorsModel::Open(copy.path());
      REQUIRE(weights.ok());
      for (const auto& [name, tensor] : weights->tensors()) {
        const auto& from = name == "lm_head.weight" && !differs ? *weights->Find("model.embed_tokens.weight") : tensor;
        writer.Add(name, std::string(quant::NameOf(from.type)), from.shape,
                   {reinterpret_cast<const char*>(from.data.data()), from.data.size()});
      }
    }
    copy.Write("model.safetensors", writer.Bytes());
    const auto files = ModelFiles::Open(copy.path());
    REQUIRE(files.ok());
    CHECK((*files)->tensors().output.has_value() == differs);
    return (*files)->spec().tied_embeddings;
  };
  CHECK(tied(false));
  CHECK_FALSE(tied(true));
}

TEST_CASE("Names of a decoder inside another model, or of one without its head") {
  for (const std::string prefix : {"language_model.model.", "model.language_model."}) {
    const Copy copy("mistral");
    testing::SafeWriter writer;
    {
      const auto weights = quant::SafetensorsModel::Open(copy.path());
      REQUIRE(weights.ok());
      for (const auto& [name, tensor] : weights->tensors()) {
        const bool head = name == "lm_head.weight";
        const std::string inner = head ? (prefix.starts_with('l') ? "language_model." : "") + name
                                       : prefix + name.substr(std::string("model.").size());
        writer.Add(inner, std::string(quant::NameOf(tensor.type)), tensor.shape,
                   {reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size()});
      }
    }
    copy.Write("model.safetensors", writer.Bytes());
    CHECK(copy.Error().empty());
    writer.Add("vision_tower.norm.weight", "F32", {1}, {"\0\0\0\0", 4});
    copy.Write("model.safetensors", writer.Bytes());
    CHECK(Has(copy.Error(), "tensor 'vision_tower.norm.weight' belongs to a feature"));
    const Json text = copy.Config();
    copy.Write("config.json", Json({{"model_type", "mistral3"}, {"text_config", text}}).dump());
    CHECK(copy.Error().empty());
    copy.Write("config.json", Json({{"model_type", "mistral3"}, {"text_config", {{"model_type", "bert"}}}}).dump());
    CHECK(Has(copy.Error(), "'model_type' is 'mistral3'"));
  }
  const Copy base("llama");  // tied
  base.Rewrite([](std::string& name, std::string&, std::vector<std::int64_t>&) { name = name.substr(6); });
  CHECK(base.Error().empty());
}

TEST_CASE("Rotary frequencies that old files hold beside the weights are left out in every family") {
  for (const char* fixture : {"mixtral", "phi3", "granitemoe", "gpt_oss", "deepseek3", "grok"}) {
    const Copy copy(fixture);
    CAPTURE(fixture);
    copy.Rewrite([](std::string&, std::string&, std::vector<std::int64_t>&) {},
                 "model.layers.0.self_attn.rotary_emb.inv_freq");
    CHECK(copy.Error().empty());
  }
}

TEST_CASE("Layers that predict further tokens are left out") {
  const Copy copy("deepseek3");
  Json config = copy.Config();
  config["num_hidden_layers"] = 2;
  copy.Write("config.json", config.dump());
  CHECK(Has(copy.Error(), "tensor 'model.layers.2."));
  copy.Rewrite([](std::string& name, std::string&, std::vector<std::int64_t>&) {
    if (name == "model.layers.2.input_layernorm.weight") name = "model.layers.2.eh_proj.weight";
  });
  CHECK(copy.Error().empty());
}

TEST_CASE("One file of weights counts before an index of shards that are gone") {
  const Copy copy("mixtral");
  copy.Write("model.safetensors.index.json",
             R"({"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}})");
  CHECK(copy.Error().empty());
  fs::remove(copy.file("model.safetensors"));
  CHECK(Has(copy.Error(), "model-00001-of-00002.safetensors"));
  fs::remove(copy.file("model.safetensors.index.json"));
  copy.Write("pytorch_model.bin", "");
  CHECK(Has(copy.Error(), "pytorch_model.bin is not read"));
}

TEST_CASE("A folder without a tied key is tied where it has no output matrix") {
  const Copy copy("llama");
  CHECK(SpecOf(copy, [](Json& c) { c.erase("tie_word_embeddings"); }).tied_embeddings);
  const Copy untied("mistral");
  CHECK_FALSE(SpecOf(untied, [](Json& c) { c.erase("tie_word_embeddings"); }).tied_embeddings);
}

}  // namespace
}  // namespace quorum::engine
