// Two models side by side: nothing between a model and itself, and what the reference says between others.
#include "engine/layer_comparison.h"

#include <vector>

#include "engine/expert_trace.h"
#include "engine/text_run.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"

namespace quorum::engine {
namespace {

constexpr std::int64_t kTokens = 150;

std::vector<LayerDifference> Compared(Model& reference, Model& other, std::span<const tok::TokenId> tokens) {
  auto comparison = LayerComparison::Create(reference, other);
  REQUIRE(comparison.ok());
  for (int times = 0; times < 2; ++times) {  // sums of both, not the last alone
    testing::RunSequence(reference, tokens, 1000);
    testing::RunSequence(other, tokens, 1000);
    comparison->Compare();
  }
  return comparison->Differences();
}

TEST_CASE("Layers are compared: nothing between a model and itself, something behind each layer of rounded weights") {
  testing::TinyShape shape;
  shape.layers = 4;
  const auto exact = testing::LoadTiny(shape);
  const auto same = testing::LoadTiny(shape);
  shape.type = quant::DType::kQ4_0;
  const auto rounded = testing::LoadTiny(shape);
  const auto tokens = testing::RandomTokens(kTokens, exact.model->vocab_size(), 3);
  for (const LayerDifference& layer : Compared(*exact.model, *same.model, tokens)) {
    CHECK(layer.error == 0.0);
    CHECK_FALSE(layer.other_experts);
  }
  const auto drift = Compared(*exact.model, *rounded.model, tokens);
  REQUIRE(drift.size() == 4);
  for (const LayerDifference& layer : drift) CHECK((layer.error > 1e-4 && layer.error < 1));
  shape.layers = 3;
  CHECK_FALSE(LayerComparison::Create(*exact.model, *testing::LoadTiny(shape).model).ok());
}

/// Sets of experts of each row and layer, from traces.
std::vector<std::vector<std::int32_t>> Choices(Model& model, std::span<const tok::TokenId> tokens) {
  std::vector<std::vector<std::int32_t>> sets;
  REQUIRE(RunText(model, tokens, {.window = 512, .trace = true}, [&](const TextRows& rows) -> Status {
            for (std::int64_t i = 0; i < std::ssize(rows.losses); ++i) {
              for (std::int32_t layer = 0; layer < rows.trace->layers(); ++layer) {
                const auto experts = rows.trace->At(layer, i).experts;
                sets.emplace_back(experts.begin(), experts.end());
              }
            }
            return {};
          }).ok());
  return sets;
}

TEST_CASE("The share of tokens that go to other experts is what their traces say") {
  testing::TinyShape shape;
  shape.architecture = "qwen3moe";
  shape.experts = 8;
  const auto exact = testing::LoadTiny(shape);
  shape.type = quant::DType::kQ4_0;
  const auto rounded = testing::LoadTiny(shape);
  const auto tokens = testing::RandomTokens(kTokens, exact.model->vocab_size(), 3);
  const auto a = Choices(*exact.model, tokens);
  const auto b = Choices(*rounded.model, tokens);
  std::vector<double> other(2);
  for (std::size_t i = 0; i < a.size(); ++i) other[i % 2] += a[i] == b[i] ? 0 : 1;
  const auto layers = Compared(*exact.model, *rounded.model, tokens);
  REQUIRE(layers.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    REQUIRE(layers[i].other_experts);
    CHECK(*layers[i].other_experts == other[i] / static_cast<double>(kTokens));
  }
  CHECK(other[1] > 0);
}

}  // namespace
}  // namespace quorum::engine
