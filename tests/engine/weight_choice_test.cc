// --weights: what conversion while loading does to types, sizes and logits.
#include "engine/weight_choice.h"

#include <cmath>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/model.h"
#include "engine/model_files.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace quorum::engine {
namespace {

using quant::DType;

std::unique_ptr<Model> Make(const ModelSpec& spec, const ModelTensors& tensors, WeightChoice choice, ThreadPool& pool) {
  SetLogLevel(LogLevel::kOff);
  LoadOptions options;
  options.pool = &pool;
  options.max_batch = 1;
  options.kv_type = KvType::kF32;
  options.weights = choice;
  auto model = Model::Create(spec, tensors, options);
  if (!model.ok()) FAIL(model.error().message);
  return std::move(model).value();
}

/// Mean over rows of KL(softmax(p) || softmax(q)).
double MeanKl(const std::vector<float>& p, const std::vector<float>& q, std::size_t vocab) {
  double sum = 0;
  for (std::size_t row = 0; row < p.size(); row += vocab) {
    const auto log_sum = [&](const std::vector<float>& x) {
      double total = 0;
      for (std::size_t i = 0; i < vocab; ++i) total += std::exp(static_cast<double>(x[row + i]));
      return std::log(total);
    };
    const double zp = log_sum(p);
    const double zq = log_sum(q);
    for (std::size_t i = 0; i < vocab; ++i) {
      const double lp = static_cast<double>(p[row + i]) - zp;
      sum += std::exp(lp) * (lp - (static_cast<double>(q[row + i]) - zq));
    }
  }
  return sum / static_cast<double>(p.size() / vocab);
}

TEST_CASE("Logits of a model quantized to Q8_0 while loading stay close to float32") {
  const auto files = ModelFiles::Open(QUORUM_FIXTURES "/model/llama");
  REQUIRE(files.ok());
  const ModelSpec& spec = (*files)->spec();
  const ModelTensors& tensors = (*files)->tensors();
  const auto tokens = testing::RandomTokens(48, spec.vocab_size, 3);
  const auto vocab = static_cast<std::size_t>(spec.vocab_size);
  ThreadPool pool(1);
  const auto logits = [&](WeightChoice choice) {
    return testing::RunSequence(*Make(spec, tensors, choice, pool), tokens, 48);
  };
  const auto exact = logits(WeightChoice::kF32);
  CHECK(testing::SameBits(logits(WeightChoice::kAuto), exact));  // the file is in F32
  const double q8 = MeanKl(exact, logits(WeightChoice::kQ8), vocab);
  const double bf16 = MeanKl(exact, logits(WeightChoice::kBf16), vocab);
  const double q4 = MeanKl(exact, logits(WeightChoice::kQ4), vocab);
  CAPTURE(q8, bf16, q4);
  CHECK(q8 <= 1e-3);
  CHECK((q8 > 0 && bf16 > 0));
  CHECK(bf16 <= 1e-3);
  CHECK(q4 > q8);
  CHECK(q4 < 1);
}

TEST_CASE("Each choice touches the matrices that it should") {
  testing::TinyShape shape;
  shape.type = DType::kF16;
  shape.down_type = DType::kQ4_1;
  shape.embedding_type = DType::kBF16;
  shape.tied = false;
  shape.experts = 3;
  const auto tiny = testing::MakeTinyModel(shape);
  const auto types = [&](WeightChoice choice) {
    SetLogLevel(LogLevel::kOff);
    const ModelTensors chosen = ChooseWeights(tiny->tensors, choice);
    const LayerTensors& layer = chosen.layers[1];
    CHECK(layer.router->type == tiny->tensors.layers[1].router->type);
    CHECK(layer.ffn_norm.type == DType::kF32);
    return std::vector{chosen.embedding.type, chosen.output->type, layer.q.type, layer.networks[2].up.type,
                       layer.networks[2].down.type};
  };
  using Types = std::vector<DType>;
  CHECK(types(WeightChoice::kAuto) == Types{DType::kBF16, DType::kF16, DType::kF16, DType::kF16, DType::kQ4_1});
  CHECK(types(WeightChoice::kF32) == Types(5, DType::kF32));
  CHECK(types(WeightChoice::kBf16) == Types(5, DType::kBF16));
  CHECK(types(WeightChoice::kQ8) == Types{DType::kQ8_0, DType::kQ8_0, DType::kQ8_0, DType::kQ8_0, DType::kQ4_1});
  CHECK(types(WeightChoice::kQ4) == Types{DType::kQ8_0, DType::kQ8_0, DType::kQ4_0, DType::kQ4_0, DType::kQ4_1});
}

TEST_CASE("Quantized matrices computed in floats are what the file says, and smaller choices need less memory") {
  testing::TinyShape shape;
  shape.type = shape.embedding_type = DType::kQ8_0;
  const auto tiny = testing::MakeTinyModel(shape);
  ThreadPool pool(1);
  const auto f32 = Make(tiny->spec, tiny->tensors, WeightChoice::kF32, pool);
  const auto as_is = Make(tiny->spec, tiny->tensors, WeightChoice::kAuto, pool);
  CHECK(f32->memory().weights > 3 * as_is->memory().weights);
  const auto tokens = testing::RandomTokens(20, tiny->spec.vocab_size, 5);
  const auto vocab = static_cast<std::size_t>(tiny->spec.vocab_size);
  CHECK(MeanKl(testing::RunSequence(*f32, tokens, 20), testing::RunSequence(*as_is, tokens, 20), vocab) < 1e-3);
}

TEST_CASE("Rows that are no multiple of 32 stay in floats") {
  const auto files = ModelFiles::Open(QUORUM_FIXTURES "/model/mixtral");
  REQUIRE(files.ok());
  SetLogLevel(LogLevel::kOff);
  const ModelTensors chosen = ChooseWeights((*files)->tensors(), WeightChoice::kQ4);
  CHECK(chosen.layers[0].q.type == DType::kBF16);
  ThreadPool pool(1);
  const auto model = Make((*files)->spec(), (*files)->tensors(), WeightChoice::kQ4, pool);
  CHECK(model->vocab_size() == 67);
}

}  // namespace
}  // namespace quorum::engine
