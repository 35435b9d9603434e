// Logits against Hugging Face transformers, for a small random model of each family
// (tests/tools/make_model_fixtures.py).
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

TEST_CASE("Logits equal those of transformers") {
  SetLogLevel(LogLevel::kError);
  for (const std::string name :
       {"llama", "llama3", "llama_bias", "mistral", "mixtral", "qwen2", "qwen3", "qwen2moe", "qwen3moe", "olmoe"}) {
    CAPTURE(name);
    const std::string path = std::string(QUORUM_FIXTURES) + "/model/" + name + ".gguf";
    const Result<quant::GgufFile> file = quant::GgufFile::Open(path);
    REQUIRE(file.ok());
    const auto ids = file->GetInts("quorum.test.tokens");
    const auto logits = file->GetFloats("quorum.test.logits");
    REQUIRE((ids.ok() && ids->size() == 48 && logits.ok()));
    std::vector<tok::TokenId> tokens;
    for (const std::int64_t id : *ids) tokens.push_back(static_cast<tok::TokenId>(id));
    std::vector<float> expected;
    for (const double logit : *logits) expected.push_back(static_cast<float>(logit));

    const Result<ModelSpec> spec = SpecFromGguf(*file);
    REQUIRE(spec.ok());
    const Result<ModelTensors> tensors = TensorsFromGguf(*file, *spec);
    REQUIRE(tensors.ok());
    CHECK(testing::LargestDifference(Reference(*spec, *tensors).Logits(tokens), expected) < 1e-4);

    ThreadPool pool(1);
    LoadOptions options;
    options.pool = &pool;
    options.kv_type = KvType::kF32;
    const Result<std::unique_ptr<Model>> model = Model::Load(path, options);
    REQUIRE(model.ok());
    CHECK(testing::LargestDifference(testing::RunSequence(**model, tokens, 20), expected) < 1e-4);
  }
}

}  // namespace
}  // namespace quorum::engine
