// Every key of every family's config.json and GGUF file with values that it should not have: an error that names the
// file and, where the value is of another kind, the key; or a model that can be run. QUORUM_MUTATIONS=all tries each
// value with each key instead of a few.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/log.h"
#include "engine/model.h"
#include "engine/model_config.h"
#include "engine/model_files.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"

namespace quorum::engine {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using quant::GgufWriter;

bool TryAll() { return std::getenv("QUORUM_MUTATIONS") != nullptr; }

/// Some of `count` choices for the `i`th key, or all.
std::vector<std::size_t> Choices(std::size_t i, std::size_t count) {
  constexpr std::size_t kEvery = 23;
  std::vector<std::size_t> chosen;
  for (std::size_t c = 0; c < count; ++c) {
    if (TryAll() || (i + c) % kEvery == 0) chosen.push_back(c);
  }
  return chosen;
}

/// Loads what was accepted for a short context and runs a few tokens. Refusing it now is fine, too.
void RunIfItLoads(const ModelSpec& spec, const ModelTensors& tensors) {
  ThreadPool pool(1);
  LoadOptions options;
  options.pool = &pool;
  options.max_batch = 1;
  options.context = std::min(spec.context_length, 64);
  options.memory.available = std::int64_t{256} << 20;
  const auto model = Model::Create(spec, tensors, options);
  if (!model.ok()) {
    CHECK_FALSE(model.error().message.empty());
    return;
  }
  if (!spec.encoder.empty()) return;
  const std::int64_t n = std::min(spec.context_length, 3);
  testing::RunSequence(**model, testing::RandomTokens(n, spec.vocab_size, 5), n);
}

const std::vector<Json>& Values() {
  static const std::vector<Json> values = {-1,
                                           0,
                                           1,
                                           2,
                                           3,
                                           1 << 20,
                                           2147483647,
                                           4294967296,
                                           INT64_MAX,
                                           INT64_MIN,
                                           18446744073709551615U,
                                           0.5,
                                           -0.0,
                                           1e-300,
                                           1e300,
                                           -1e300,
                                           "",
                                           "x",
                                           "yarn",
                                           true,
                                           false,
                                           nullptr,
                                           Json::array(),
                                           Json::array({0}),
                                           Json::array({-1, 1e300, "x", nullptr}),
                                           Json(std::vector<double>(4, 1e300)),
                                           Json(std::vector<int>(1000, 1)),
                                           Json::object(),
                                           {{"rope_type", "longrope"}},
                                           {{"rope_type", "yarn"}, {"factor", 1e300}},
                                           {{"rope_type", "yarn"}, {"beta_fast", 1e308}, {"beta_slow", 1e-308}}};
  return values;
}

/// The paths of all members of `json`, lists left whole.
void Paths(const Json& json, const std::string& prefix, std::vector<Json::json_pointer>& paths) {
  for (const auto& [key, value] : json.items()) {
    paths.emplace_back(prefix + "/" + key);
    if (value.is_object()) Paths(value, prefix + "/" + key, paths);
  }
}

bool SameKind(const Json& a, const Json& b) { return a.type() == b.type() || (a.is_number() && b.is_number()); }

TEST_CASE("Every key of config.json may hold anything") {
  SetLogLevel(LogLevel::kOff);
  const fs::path copy = fs::temp_directory_path() / ("quorum-mutation-" + std::to_string(::getpid()));
  std::size_t tried = 0;
  for (const auto& entry : fs::directory_iterator(std::string(QUORUM_FIXTURES) + "/model")) {
    if (!fs::exists(entry.path() / "config.json")) continue;
    fs::remove_all(copy);
    fs::copy(entry.path(), copy);
    const Json before = Json::parse(std::ifstream(entry.path() / "config.json"));
    std::vector<Json::json_pointer> paths;
    Paths(before, "", paths);
    for (std::size_t p = 0; p < paths.size(); ++p) {
      for (const std::size_t choice : Choices(p, Values().size())) {
        const Json& value = Values()[choice];
        Json config = before;
        config[paths[p]] = value;
        std::ofstream(copy / "config.json") << config.dump();
        CAPTURE(entry.path().string(), paths[p].to_string(), value.dump());
        ++tried;
        const auto files = ModelFiles::Open(copy.string());
        if (files.ok()) {
          RunIfItLoads((*files)->spec(), (*files)->tensors());
          continue;
        }
        const std::string& message = files.error().message;
        CHECK(message.starts_with(copy.string()));
        CHECK(message.size() < 2000);
        if (!SameKind(value, before[paths[p]]) && !value.is_null() && !before[paths[p]].is_null()) {
          INFO(message);
          CHECK(message.find(paths[p].back()) != std::string::npos);
        }
      }
    }
  }
  fs::remove_all(copy);
  CHECK(tried > 400);
}

std::vector<std::function<void(GgufWriter&)>> Settings(const std::string& key) {
  std::vector<std::function<void(GgufWriter&)>> settings;
  for (const std::uint32_t value : {0U, 1U, 2U, 3U, 7U, 1U << 20, 2147483647U, 4294967295U}) {
    settings.emplace_back([=](GgufWriter& file) { file.SetUint32(key, value); });
  }
  for (const float value : {0.0F, -1.0F, 0.5F, 1e-38F, 3e38F, HUGE_VALF, -HUGE_VALF, std::nanf("")}) {
    settings.emplace_back([=](GgufWriter& file) { file.SetFloat32(key, value); });
  }
  settings.emplace_back([=](GgufWriter& file) { file.SetUint64(key, UINT64_MAX); });
  settings.emplace_back([=](GgufWriter& file) { file.SetBool(key, true); });
  settings.emplace_back([=](GgufWriter& file) { file.SetString(key, "yarn"); });
  settings.emplace_back([=](GgufWriter& file) { file.SetStrings(key, {"a", ""}); });
  settings.emplace_back([=](GgufWriter& file) { file.SetInt32s(key, {}); });
  settings.emplace_back([=](GgufWriter& file) { file.SetInt32s(key, {-1, 2}); });
  settings.emplace_back([=](GgufWriter& file) { file.SetInt32s(key, std::vector<std::int32_t>(1000, 2)); });
  return settings;
}

/// Keys that files have beside those of the tiny models.
constexpr const char* kFurtherKeys[] = {"rope.scaling.type",
                                        "rope.scaling.factor",
                                        "rope.scaling.attn_factor",
                                        "rope.scaling.original_context_length",
                                        "rope.scaling.yarn_beta_fast",
                                        "rope.scaling.yarn_log_multiplier",
                                        "rope.scale_linear",
                                        "rope.freq_base",
                                        "attention.scale",
                                        "attention.key_length",
                                        "attention.value_length",
                                        "attention.sliding_window",
                                        "attention.sliding_window_pattern",
                                        "attention.clamp_kqv",
                                        "expert_weights_scale",
                                        "expert_weights_norm",
                                        "expert_gating_func",
                                        "expert_group_count",
                                        "expert_group_used_count",
                                        "expert_shared_count",
                                        "leading_dense_block_count",
                                        "logit_scale",
                                        "embedding_scale",
                                        "residual_scale",
                                        "final_logit_softcapping",
                                        "vocab_size"};

TEST_CASE("Every key of a GGUF file may hold anything") {
  SetLogLevel(LogLevel::kOff);
  std::size_t tried = 0;
  for (const std::string& architecture : SupportedGgufArchitectures()) {
    if (architecture == "t5") continue;
    testing::TinyShape shape;
    shape.architecture = architecture;
    shape.d_model = 16;
    shape.ff = 8;
    shape.head_dim = architecture == "deepseek2" ? 20 : 8;
    const bool dense = architecture == "qwen2" || architecture == "qwen3" || architecture == "smollm3" ||
                       architecture == "phi3" || architecture == "granite";
    shape.experts = dense ? 0 : 4;
    shape.shared_ff = architecture == "qwen2moe" ? 8 : 0;
    shape.tied = false;
    std::vector<std::string> keys;
    {
      const auto tiny = testing::MakeTinyModel(shape);
      for (const auto& [key, value] : tiny->file.metadata()) keys.push_back(key);
    }
    for (const char* key : kFurtherKeys) keys.push_back(architecture + "." + key);
    for (std::size_t k = 0; k < keys.size(); ++k) {
      const auto settings = Settings(keys[k]);
      for (const std::size_t choice : Choices(k, settings.size())) {
        shape.edit = settings[choice];
        const std::vector<std::byte> bytes = testing::MakeTinyGguf(shape);
        CAPTURE(keys[k], choice);
        ++tried;
        const Result<quant::GgufFile> file = quant::GgufFile::Parse(bytes, "some.gguf");
        if (!file.ok()) {
          CHECK(file.error().message.starts_with("some.gguf: "));
          continue;
        }
        const Result<ModelSpec> spec = SpecFromGguf(*file);
        if (!spec.ok()) {
          CHECK(spec.error().message.starts_with("some.gguf: "));
          continue;
        }
        const Result<ModelTensors> tensors = TensorsFromGguf(*file, *spec);
        if (!tensors.ok()) {
          CHECK(tensors.error().message.starts_with("some.gguf: "));
          continue;
        }
        RunIfItLoads(*spec, *tensors);
      }
    }
  }
  CHECK(tried > 50);
}

}  // namespace
}  // namespace quorum::engine
