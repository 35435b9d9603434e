// Every family against its reference implementation, for small random models (tests/oracle/): logits in every chunking
// of the prompt, the experts chosen, and what greedy decoding goes on with.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/model.h"
#include "engine/model_config.h"
#include "engine/reference.h"
#include "quant/gguf.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"

namespace quorum::engine {
namespace {

using Tokens = std::vector<tok::TokenId>;

struct Family {
  std::string fixture;
  double tolerance = 1e-4;  // of a row's logits, against the largest of the row
};

std::string PathOf(const std::string& name) { return std::string(QUORUM_FIXTURES) + "/model/" + name + ".gguf"; }

std::vector<std::int64_t> Ints(const quant::GgufFile& file, const char* key) {
  const auto values = file.GetInts(key);
  REQUIRE(values.ok());
  return *values;
}

Tokens TokensOf(const quant::GgufFile& file, const char* key) {
  Tokens tokens;
  for (const std::int64_t id : Ints(file, key)) tokens.push_back(static_cast<tok::TokenId>(id));
  return tokens;
}

std::vector<float> FloatsOf(const quant::GgufFile& file, const char* key) {
  const auto values = file.GetFloats(key);
  REQUIRE(values.ok());
  std::vector<float> floats;
  for (const double value : *values) floats.push_back(static_cast<float>(value));
  return floats;
}

/// The worst row's largest difference, relative to the row's largest logit.
double WorstRow(std::span<const float> logits, std::span<const float> expected, std::size_t vocab) {
  REQUIRE(logits.size() == expected.size());
  double worst = 0;
  for (std::size_t at = 0; at < logits.size(); at += vocab) {
    const std::span<const float> row = expected.subspan(at, vocab);
    float largest = 0;
    for (const float logit : row) largest = std::max(largest, std::abs(logit));
    worst = std::max(worst, testing::LargestDifference(logits.subspan(at, vocab), row) / static_cast<double>(largest));
  }
  return worst;
}

std::unique_ptr<Model> Load(const std::string& path, ThreadPool& pool, std::int32_t context = 0) {
  LoadOptions options;
  options.pool = &pool;
  options.kv_type = KvType::kF32;
  options.activations = ActPrecision::kInt16;
  options.context = context;
  Result<std::unique_ptr<Model>> model = Model::Load(path, options);
  if (!model.ok()) FAIL(model.error().message);
  return std::move(model).value();
}

/// Feeds one token after the other. -> experts (layers, tokens, top_k), ids ascending
std::vector<std::int64_t> ExpertsOf(Model& model, const Tokens& tokens) {
  const auto layers = static_cast<std::size_t>(model.spec().layers.size());
  std::vector<std::vector<std::int64_t>> chosen(layers);
  ExpertStats before = model.expert_stats();
  const std::vector<std::int32_t> pages = {0, 1, 2};
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    const StepSlice slice{std::span(tokens).subspan(t, 1), static_cast<std::int32_t>(t), pages, 1};
    REQUIRE(model.Step(std::span(&slice, 1), {}).ok());
    const ExpertStats after = model.expert_stats();
    for (std::size_t cell = 0; cell < after.tokens.size(); ++cell) {
      const auto experts = static_cast<std::size_t>(after.experts);
      if (after.tokens[cell] != before.tokens[cell]) {
        chosen[cell / experts].push_back(static_cast<std::int64_t>(cell % experts));
      }
    }
    before = after;
  }
  std::vector<std::int64_t> all;
  for (const auto& layer : chosen) all.insert(all.end(), layer.begin(), layer.end());
  return all;
}

Tokens Greedy(Model& model, Tokens tokens, std::size_t count) {
  const auto vocab = static_cast<std::size_t>(model.vocab_size());
  std::vector<float> logits(vocab);
  const std::vector<std::int32_t> pages = {0, 1, 2};
  std::size_t done = 0;
  Tokens added;
  while (added.size() < count) {
    const auto n = static_cast<std::int32_t>(tokens.size() - done);
    const StepSlice slice{std::span(tokens).subspan(done), static_cast<std::int32_t>(done), pages, n - 1};
    REQUIRE(model.Step(std::span(&slice, 1), logits).ok());
    done = tokens.size();
    added.push_back(static_cast<tok::TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    tokens.push_back(added.back());
  }
  return added;
}

TEST_CASE("Every family gives the logits, experts and continuations of its reference implementation") {
  SetLogLevel(LogLevel::kError);
  const std::vector<Family> families = {{"gpt_oss"},
                                        {"gpt_oss_mxfp4", 1e-3},
                                        {"granite"},
                                        {"granitemoe"},
                                        {"granitemoe_shared"},
                                        {"phimoe"},
                                        {"phi3"},
                                        {"smollm3"},
                                        {"grok"},
                                        {"grok_caps"}};
  for (const Family& family : families) {
    CAPTURE(family.fixture);
    const Result<quant::GgufFile> file = quant::GgufFile::Open(PathOf(family.fixture));
    REQUIRE(file.ok());
    const Tokens tokens = TokensOf(*file, "quorum.test.tokens");
    const std::vector<float> expected = FloatsOf(*file, "quorum.test.logits");
    const Result<ModelSpec> spec = SpecFromGguf(*file);
    if (!spec.ok()) FAIL(spec.error().message);
    const Result<ModelTensors> tensors = TensorsFromGguf(*file, *spec);
    if (!tensors.ok()) FAIL(tensors.error().message);
    const auto vocab = static_cast<std::size_t>(spec->vocab_size);
    REQUIRE((tokens.size() == 48 && expected.size() == tokens.size() * vocab));
    CHECK(WorstRow(Reference(*spec, *tensors).Logits(tokens), expected, vocab) < 1e-4);

    ThreadPool pool(2);
    const std::unique_ptr<Model> model = Load(PathOf(family.fixture), pool);
    for (const std::int64_t chunk : {1, 7, 48}) {
      CAPTURE(chunk);
      CHECK(WorstRow(testing::RunSequence(*model, tokens, chunk), expected, vocab) < family.tolerance);
    }
    if (spec->has_experts()) CHECK(ExpertsOf(*model, tokens) == Ints(*file, "quorum.test.experts"));
    const Tokens greedy = TokensOf(*file, "quorum.test.greedy");
    REQUIRE(greedy.size() == 32);
    CHECK(Greedy(*model, tokens, greedy.size()) == greedy);
  }
}

TEST_CASE("LongRoPE: the context that a model is loaded for chooses the factors") {
  SetLogLevel(LogLevel::kError);
  for (const char* name : {"phimoe", "phi3"}) {
    CAPTURE(name);
    const Result<quant::GgufFile> file = quant::GgufFile::Open(PathOf(name));
    REQUIRE(file.ok());
    const auto context = static_cast<std::int32_t>(Ints(*file, "quorum.test.short_context").at(0));
    Tokens tokens = TokensOf(*file, "quorum.test.tokens");
    tokens.resize(static_cast<std::size_t>(context));
    const std::vector<float> expected = FloatsOf(*file, "quorum.test.short_logits");
    ThreadPool pool(1);
    const std::unique_ptr<Model> model = Load(PathOf(name), pool, context);
    const auto vocab = static_cast<std::size_t>(model->vocab_size());
    CHECK(WorstRow(testing::RunSequence(*model, tokens, 7), expected, vocab) < 1e-4);
    // One position more, and the other set is used from the first token on.
    const std::unique_ptr<Model> longer = Load(PathOf(name), pool, context + 1);
    CHECK(WorstRow(testing::RunSequence(*longer, tokens, 7), expected, vocab) > 1e-2);
  }
}

}  // namespace
}  // namespace quorum::engine
