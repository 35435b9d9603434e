// LongRoPE's two sets of factors: the context that a model is loaded for chooses, never the length of a sequence.
#include <cstring>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "engine/model.h"
#include "quant/safetensors.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"

namespace quorum::engine {
namespace {

template <typename T>
std::vector<T> Values(const quant::SafetensorsModel& file, std::string_view name) {
  const quant::SafeTensor* tensor = file.Find(name);
  REQUIRE(tensor != nullptr);
  std::vector<T> values(tensor->data.size() / sizeof(T));
  std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
  return values;
}

TEST_CASE("LongRoPE: the context that a model is loaded for chooses the factors") {
  SetLogLevel(LogLevel::kError);
  for (const std::string name : {"phimoe", "phimoe.gguf", "phi3", "phi3.gguf"}) {
    CAPTURE(name);
    const std::string path = std::string(QUORUM_FIXTURES) + "/model/" + name;
    const std::string answers = path.substr(0, path.find(".gguf")) + "/oracle.safetensors";
    const auto mapped = MappedFile::Open(answers);
    REQUIRE(mapped.ok());
    const auto oracle = quant::SafetensorsModel::Parse(mapped->bytes(), answers);
    REQUIRE(oracle.ok());
    const auto expected = Values<float>(*oracle, "short_logits");
    std::vector<tok::TokenId> tokens = Values<tok::TokenId>(*oracle, "tokens");
    ThreadPool pool(1);
    const auto run = [&](std::int32_t context) {
      LoadOptions options;
      options.pool = &pool;
      options.kv_type = KvType::kF32;
      options.context = context;
      const auto model = Model::Load(path, options);
      REQUIRE(model.ok());
      tokens.resize(expected.size() / static_cast<std::size_t>((*model)->vocab_size()));
      return testing::RunSequence(**model, tokens, 7);
    };
    constexpr std::int32_t kOriginal = 40;  // tests/oracle/families/phi.py
    CHECK(testing::LargestDifference(run(kOriginal), expected) < 1e-4);
    // One position more, and the other set is used from the first token on.
    CHECK(testing::LargestDifference(run(kOriginal + 1), expected) > 1e-2);
  }
}

}  // namespace
}  // namespace quorum::engine
