// Logits, the router's choices and greedy text against Hugging Face transformers, for small random models of each
// family, from safetensors and from GGUF (tests/oracle/make_fixtures.py). Every folder of tests/fixtures/model with an
// oracle is run, or of QUORUM_ORACLE_FIXTURES (random_cases.py).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "engine/model.h"
#include "engine/model_files.h"
#include "engine/reference.h"
#include "engine/tensor_views.h"
#include "quant/safetensors.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"
#include "tests/support/oracle_folder.h"

namespace quorum::engine {
namespace {

namespace fs = std::filesystem;

/// What transformers computed.
struct Oracle {
  std::vector<tok::TokenId> tokens, greedy;
  std::vector<float> logits;  // (tokens, vocabulary)
  std::vector<std::int32_t>
      experts;                // (layers, tokens, k), ascending ids; -1: a layer without experts; empty: no experts
  std::vector<float> margin;  // (layers, tokens)
  std::size_t layers = 0, k = 0;
};

template <typename T>
std::vector<T> Values(const quant::SafetensorsModel& file, std::string_view name) {
  const quant::SafeTensor* tensor = file.Find(name);
  REQUIRE(tensor != nullptr);
  REQUIRE(tensor->data.size() % sizeof(T) == 0);
  std::vector<T> values(tensor->data.size() / sizeof(T));
  std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
  return values;
}

Oracle ReadOracle(const std::string& path) {
  const auto mapped = MappedFile::Open(path);
  REQUIRE(mapped.ok());
  const auto file = quant::SafetensorsModel::Parse(mapped->bytes(), path);
  REQUIRE(file.ok());
  Oracle oracle;
  oracle.tokens = Values<tok::TokenId>(*file, "tokens");
  oracle.greedy = Values<tok::TokenId>(*file, "greedy");
  oracle.logits = Values<float>(*file, "logits");
  REQUIRE((!oracle.tokens.empty() && !oracle.greedy.empty()));
  if (const quant::SafeTensor* experts = file->Find("experts")) {
    oracle.experts = Values<std::int32_t>(*file, "experts");
    oracle.margin = Values<float>(*file, "margin");
    oracle.layers = static_cast<std::size_t>(experts->shape.at(0));
    oracle.k = static_cast<std::size_t>(experts->shape.at(2));
  }
  return oracle;
}

/// The largest difference, relative to the largest logit.
double ErrorOf(const std::vector<float>& logits, const std::vector<float>& expected) {
  double largest = 0;
  for (const float logit : expected) largest = std::max(largest, std::abs(static_cast<double>(logit)));
  return testing::LargestDifference(logits, expected) / largest;
}

/// Whether a matrix is kept in a type that rounds activations, or would be rounded to one.
bool IsQuantized(const TensorRef& matrix) {
  return !IsUnquantized(matrix.type) || (matrix.source != nullptr && matrix.source->Smaller());
}

/// Quantized files are computed in floats here: the oracle does not round activations.
std::unique_ptr<Model> Load(const std::string& path, bool quantized, ThreadPool& pool) {
  LoadOptions options;
  if (quantized) options.weights = WeightChoice::kF32;
  options.pool = &pool;
  options.kv_type = KvType::kF32;
  options.max_batch = 1;
  options.max_step_logits = 256;  // a whole prompt
  auto model = Model::Load(path, options);
  if (!model.ok()) FAIL_CHECK(model.error().message);
  return model.ok() ? std::move(model).value() : nullptr;
}

/// Pages of one sequence of `tokens` tokens.
std::vector<std::int32_t> PagesFor(std::size_t tokens) {
  std::vector<std::int32_t> pages((tokens + kPageTokens - 1) / kPageTokens);
  std::iota(pages.begin(), pages.end(), 0);
  return pages;
}

/// Token by token: which experts each one visited, in every layer.
void CheckRouting(Model& model, const Oracle& oracle) {
  const std::vector<std::int32_t> pages = PagesFor(oracle.tokens.size());
  std::vector<float> logits(static_cast<std::size_t>(model.vocab_size()));
  const std::size_t experts = static_cast<std::size_t>(model.spec().max_experts());
  std::vector<std::uint64_t> last(oracle.layers * experts);
  for (std::size_t t = 0; t < oracle.tokens.size(); ++t) {
    const StepSlice slice{.tokens = std::span(oracle.tokens).subspan(t, 1),
                          .pos = static_cast<std::int32_t>(t),
                          .pages = pages,
                          .first_logits = 0};
    REQUIRE(model.Step({&slice, 1}, logits).ok());
    const ExpertStats stats = model.expert_stats();
    for (std::size_t layer = 0; layer < oracle.layers; ++layer) {
      std::vector<std::int32_t> chosen;
      for (std::size_t e = 0; e < experts; ++e) {
        const std::uint64_t count = stats.tokens[layer * experts + e];
        if (count != last[layer * experts + e]) chosen.push_back(static_cast<std::int32_t>(e));
        last[layer * experts + e] = count;
      }
      const auto* row = oracle.experts.data() + (layer * oracle.tokens.size() + t) * oracle.k;
      std::vector<std::int32_t> expected(row, row + oracle.k);
      if (expected.front() < 0) expected.clear();
      CAPTURE(t, layer);
      if (oracle.margin[layer * oracle.tokens.size() + t] > 1e-4F) CHECK(chosen == expected);
    }
  }
}

std::vector<tok::TokenId> Greedy(Model& model, const Oracle& oracle) {
  std::vector<tok::TokenId> text = oracle.tokens;
  const std::vector<std::int32_t> pages = PagesFor(oracle.tokens.size() + oracle.greedy.size());
  std::vector<float> logits(static_cast<std::size_t>(model.vocab_size()));
  std::size_t done = 0;
  while (text.size() < oracle.tokens.size() + oracle.greedy.size()) {
    const std::size_t n = text.size() - done;
    const StepSlice slice{.tokens = std::span(text).subspan(done),
                          .pos = static_cast<std::int32_t>(done),
                          .pages = pages,
                          .first_logits = static_cast<std::int32_t>(n - 1)};
    REQUIRE(model.Step({&slice, 1}, logits).ok());
    done = text.size();
    text.push_back(static_cast<tok::TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
  }
  return {text.begin() + static_cast<std::ptrdiff_t>(oracle.tokens.size()), text.end()};
}

TEST_CASE("Models compute what transformers computes") {
  SetLogLevel(LogLevel::kError);
  int run = 0;
  for (const auto& entry : fs::directory_iterator(testing::OracleFolder())) {
    const std::string folder = entry.path().string();
    if (!fs::exists(folder + "/oracle.safetensors")) continue;
    const Oracle oracle = ReadOracle(folder + "/oracle.safetensors");
    for (const std::string& path : {folder, folder + ".gguf"}) {
      if (!fs::exists(path)) continue;
      CAPTURE(path);
      ++run;
      bool quantized = false;
      double bound = 1e-4;
      {
        const auto files = ModelFiles::Open(path);
        if (!files.ok()) {
          FAIL_CHECK(files.error().message);
          continue;
        }
        const LayerTensors& layer = (*files)->tensors().layers.front();
        quantized = IsQuantized(layer.q);
        // gpt-oss as it is published: floats but for the experts, whose inputs are rounded to int16.
        if (!quantized && IsQuantized(layer.networks.front().gate)) bound = 1e-3;
        const Reference reference((*files)->spec(), (*files)->tensors());
        CHECK(ErrorOf(reference.Logits(oracle.tokens), oracle.logits) < 1e-4);
      }
      ThreadPool pool(2);
      const std::unique_ptr<Model> model = Load(path, quantized, pool);
      if (model == nullptr) continue;
      const std::vector<float> logits = testing::RunSequence(*model, oracle.tokens, std::ssize(oracle.tokens));
      CHECK(ErrorOf(logits, oracle.logits) < bound);
      for (const std::int64_t chunk : {1, 7}) {
        CHECK(testing::SameBits(testing::RunSequence(*model, oracle.tokens, chunk), logits));
      }
      CHECK(Greedy(*model, oracle) == oracle.greedy);
      if (!oracle.experts.empty()) CheckRouting(*Load(path, quantized, pool), oracle);
    }
  }
  CHECK((run >= 20 || testing::IsOwnOracleFolder()));
}

}  // namespace
}  // namespace quorum::engine
