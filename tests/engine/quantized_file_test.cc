// Files that the quantizer made, run by the engine: experts of different types, equalized channels.
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/model.h"
#include "engine/model_config.h"
#include "engine/model_files.h"
#include "engine/reference.h"
#include "quant/equalize.h"
#include "quant/quantize_model.h"
#include "quant/upcycle.h"
#include "tests/quant/scratch.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"

namespace quorum::engine {
namespace {

constexpr std::int64_t kTokens = 40;

std::string ModelFixture(const std::string& name) { return QUORUM_FIXTURES "/model/" + name + ".gguf"; }

/// Quantizes `src` to `dst`; with `seed` equalized by an importance matrix of chance.
void Quantize(const std::string& src, const std::string& dst, const char* type, const std::string& plan,
              unsigned seed = 0) {
  const auto file = quant::GgufFile::Open(src);
  REQUIRE(file.ok());
  auto sources = quant::SourcesOf(*file);
  quant::QuantizeOptions options;
  options.plan.base = *quant::FindEncoding(type);
  const auto rules = quant::ParsePlan(plan);
  REQUIRE(rules.ok());
  options.plan.rules = *rules;
  if (seed > 0) {
    std::mt19937 random(seed);
    std::lognormal_distribution<float> square(0.0F, 3.0F);
    quant::ImportanceMatrix matrix;
    for (const quant::SourceTensor& source : sources) {
      if (source.dims.size() < 2) continue;
      const auto matrices = static_cast<std::size_t>(source.dims.size() > 2 ? source.dims[2] : 1);
      quant::ImportanceEntry& entry = matrix.entries[source.name];
      entry.counts.assign(matrices, 1.0F);
      entry.sums.resize(matrices * static_cast<std::size_t>(source.dims[0]));
      for (float& sum : entry.sums) sum = square(random);
    }
    const auto spec = SpecFromGguf(*file);
    REQUIRE(spec.ok());
    const auto pairs = quant::Equalize({spec->architecture, spec->attention.heads, spec->attention.kv_heads},
                                       {options.plan, 2, {}}, sources, matrix);
    REQUIRE(pairs.ok());
    CHECK(*pairs >= 3 * std::ssize(spec->layers));
  }
  quant::GgufWriter writer;
  quant::CopyMetadata(*file, writer);
  const auto made = quant::QuantizeTensors(writer, sources, options, dst);
  if (!made.ok()) FAIL(made.error().message);
}

std::unique_ptr<Model> Load(const std::string& path, ThreadPool& pool, WeightChoice weights, ActPrecision activations) {
  LoadOptions options;
  options.pool = &pool;
  options.weights = weights;
  options.activations = activations;
  options.kv_type = KvType::kF32;
  options.max_batch = 1;
  auto model = Model::Load(path, options);
  if (!model.ok()) FAIL(model.error().message);
  return std::move(model).value();
}

TEST_CASE("A layer whose experts have different types runs as the reference does") {
  const quant::Folder folder;
  ThreadPool pool(2);
  const std::string moe = folder / "moe.gguf";
  quant::UpcycleOptions upcycle;
  upcycle.experts = 4;
  upcycle.noise = 0.3;
  REQUIRE(quant::Upcycle(ModelFixture("llama"), moe, upcycle).ok());
  const std::string path = folder / "mixed.gguf";
  Quantize(moe, path, "q4_0", "blk.0.ffn_*_exps.weight[1] q8_0\nblk.1.ffn_down_exps.weight[0,2] f16\n");
  const auto files = ModelFiles::Open(path);
  if (!files.ok()) FAIL(files.error().message);
  const std::vector<LayerTensors>& layers = (*files)->tensors().layers;
  CHECK(layers[0].networks[0].gate.type == quant::DType::kQ4_0);
  CHECK(layers[0].networks[1].gate.type == quant::DType::kQ8_0);
  CHECK(layers[1].networks[1].down.type == quant::DType::kQ4_0);
  CHECK(layers[1].networks[2].down.type == quant::DType::kF16);
  const auto tokens = testing::RandomTokens(kTokens, (*files)->spec().vocab_size, 11);
  const auto expected = Reference((*files)->spec(), (*files)->tensors()).Logits(tokens);
  const auto in_floats = Load(path, pool, WeightChoice::kF32, ActPrecision::kInt8);
  CHECK(testing::RelativeError(testing::RunSequence(*in_floats, tokens, 16), expected) < 1e-4);
  const auto in_file = Load(path, pool, WeightChoice::kAuto, ActPrecision::kInt16);
  CHECK(testing::RelativeError(testing::RunSequence(*in_file, tokens, 16), expected) < 1e-2);
}

TEST_CASE("An equalized model computes what the original does") {
  const quant::Folder folder;
  ThreadPool pool(2);
  for (const char* name : {"llama", "mixtral", "qwen2_moe", "qwen3_moe", "olmoe"}) {
    INFO(name);
    const std::string path = folder / (std::string(name) + ".gguf");
    Quantize(ModelFixture(name), path, "f32", "", 5);
    const auto before = Load(ModelFixture(name), pool, WeightChoice::kF32, ActPrecision::kInt16);
    const auto after = Load(path, pool, WeightChoice::kF32, ActPrecision::kInt16);
    const auto tokens = testing::RandomTokens(kTokens, before->vocab_size(), 12);
    CHECK(testing::RelativeError(testing::RunSequence(*after, tokens, 16), testing::RunSequence(*before, tokens, 16)) <
          1e-3);
  }
}

}  // namespace
}  // namespace quorum::engine
