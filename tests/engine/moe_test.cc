// Routing, upcycled models against their dense original, and the expert counters.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <vector>

#include "engine/base/cpu.h"
#include "engine/kernels/dispatch.h"
#include "engine/model.h"
#include "engine/moe_router.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace quorum::engine {
namespace {

using quant::DType;
using testing::LoadedTiny;
using testing::LoadTiny;
using testing::RandomTokens;
using testing::RunSequence;
using testing::TinyShape;

struct Routed {
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
};

Routed Route(const RouterSpec& spec, std::vector<float> logits, const std::vector<float>& choice_bias = {}) {
  Routed routed{std::vector<std::int32_t>(static_cast<std::size_t>(spec.top_k)),
                std::vector<float>(static_cast<std::size_t>(spec.top_k))};
  const float* bias = choice_bias.empty() ? nullptr : choice_bias.data();
  RouteToken(ScalarKernels(), spec, bias, logits, routed.ids.data(), routed.weights.data());
  return routed;
}

bool Near(float a, double b) { return std::abs(static_cast<double>(a) - b) < 1e-6; }

TEST_CASE("The router chooses the highest logits, ties to the lower id, ids ascending") {
  const RouterSpec spec{RouterScore::kSoftmax, 2, true, 1.0F};
  CHECK(Route(spec, {0.0F, 3.0F, 1.0F, 2.0F}).ids == std::vector<std::int32_t>{1, 3});
  CHECK(Route(spec, {1.0F, 1.0F, 1.0F, 1.0F}).ids == std::vector<std::int32_t>{0, 1});
  CHECK(Route(spec, {0.0F, 5.0F, 2.0F, 5.0F, 5.0F}).ids == std::vector<std::int32_t>{1, 3});
  CHECK(Route(spec, {2.0F, 0.0F, 0.0F, 7.0F}).ids == std::vector<std::int32_t>{0, 3});
}

TEST_CASE("Router weights follow the spec") {
  const std::vector<float> logits = {0.0F, std::log(2.0F), std::log(5.0F),
                                     std::log(2.0F)};  // softmax: 1, 2, 5, 2 tenths
  const Routed plain = Route({RouterScore::kSoftmax, 2, false, 1.0F}, logits);
  CHECK(plain.ids == std::vector<std::int32_t>{1, 2});
  CHECK(Near(plain.weights[0], 0.2));
  CHECK(Near(plain.weights[1], 0.5));
  const Routed renormalized = Route({RouterScore::kSoftmax, 2, true, 1.0F}, logits);
  CHECK(Near(renormalized.weights[0], 2.0 / 7));
  CHECK(Near(renormalized.weights[1], 5.0 / 7));
  const Routed chosen = Route({RouterScore::kTopKSoftmax, 2, false, 3.0F}, logits);
  CHECK(Near(chosen.weights[1], 15.0 / 7));
  const Routed sigmoid = Route({RouterScore::kSigmoid, 2, false, 1.0F}, logits);
  CHECK(Near(sigmoid.weights[0], 2.0 / 3));
  CHECK(Near(sigmoid.weights[1], 5.0 / 6));
}

TEST_CASE("Experts are chosen from the best groups") {
  RouterSpec spec{RouterScore::kSoftmax, 2, false, 1.0F};
  spec.groups = 3;
  spec.top_groups = 1;
  // Group 0 has the best expert, group 2 the best two, group 1 neither.
  const std::vector<float> logits = {4.0F, -9.0F, 3.0F, 1.0F, 3.9F, 3.8F};
  CHECK(Route(spec, logits).ids == std::vector<std::int32_t>{0, 1});
  // Weights are those of a softmax over all experts.
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  CHECK(Near(Route(spec, logits).weights[0], std::exp(4.0) / sum));
  spec.group_score = GroupScore::kTopTwo;
  CHECK(Route(spec, logits).ids == std::vector<std::int32_t>{4, 5});
  spec.top_groups = 2;
  CHECK(Route(spec, logits).ids == std::vector<std::int32_t>{0, 4});
  spec.top_k = 3;
  CHECK(Route(spec, logits).ids == std::vector<std::int32_t>{0, 4, 5});
  // Groups of one expert, equal groups, and logits that are no numbers.
  spec.groups = 6;
  spec.top_groups = 4;
  CHECK(Route(spec, logits).ids == std::vector<std::int32_t>{0, 4, 5});
  spec.groups = 2;
  spec.top_groups = 1;
  CHECK(Route(spec, {1, 1, 1, 1, 1, 1}).ids == std::vector<std::int32_t>{0, 1, 2});
  const Routed none = Route(spec, std::vector<float>(6, std::nanf("")));
  CHECK(std::set<std::int32_t>(none.ids.begin(), none.ids.end()).size() == 3);
}

TEST_CASE("A bias on the choice moves the choice and not the weights") {
  RouterSpec spec{RouterScore::kSigmoid, 2, true, 2.0F};
  const std::vector<float> logits = {0.0F, std::log(2.0F), std::log(4.0F), std::log(3.0F)};  // 1/2, 2/3, 4/5, 3/4
  CHECK(Route(spec, logits).ids == std::vector<std::int32_t>{2, 3});
  const Routed moved = Route(spec, logits, {1.0F, 0.0F, 0.0F, -0.1F});
  CHECK(moved.ids == std::vector<std::int32_t>{0, 2});
  CHECK(Near(moved.weights[0], 2 * 0.5 / 1.3));
  CHECK(Near(moved.weights[1], 2 * 0.8 / 1.3));
  // A bias also moves groups.
  spec.groups = 2;
  spec.top_groups = 1;
  spec.group_score = GroupScore::kTopTwo;
  CHECK(Route(spec, logits, {0, 0, 0, 0}).ids == std::vector<std::int32_t>{2, 3});
  CHECK(Route(spec, logits, {0.3F, 0.3F, 0, 0}).ids == std::vector<std::int32_t>{0, 1});
  // Scores that vanish have weights that do.
  const Routed vanished = Route(spec, {-100.0F, -100.0F, -101.0F, -102.0F});
  for (const float weight : vanished.weights) CHECK((weight >= 0.0F && weight < 1e-10F));
}

TEST_CASE("SparseMixer weights each choice among those near it") {
  RouterSpec spec{RouterScore::kSparseMixer, 2, false, 1.0F};
  spec.jitter = 0.1F;  // near: within a fifth of the larger of the two
  // Best 10: only 9 is near. Second 9: 7.5 is near, 10 is gone.
  const Routed routed = Route(spec, {7.5F, 9.0F, 10.0F, -50.0F});
  CHECK(routed.ids == std::vector<std::int32_t>{1, 2});
  CHECK(Near(routed.weights[0], 1 / (1 + std::exp(-1.5))));
  CHECK(Near(routed.weights[1], 1 / (1 + std::exp(-1.0))));
  // A negative best is compared with the other's size: -1 and -1.1 are near, -2 is not.
  const Routed negative = Route(spec, {-2.0F, -1.1F, -1.0F});
  CHECK(negative.ids == std::vector<std::int32_t>{1, 2});
  CHECK(Near(negative.weights[0], 1.0));
  CHECK(Near(negative.weights[1], 1 / (1 + std::exp(-0.1))));
  CHECK(Route(spec, {3.0F, 3.0F, 3.0F}).ids == std::vector<std::int32_t>{0, 1});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(Route(spec, {nan, nan, 1.0F}).ids == std::vector<std::int32_t>{0, 2});
}

TEST_CASE("Router logits are capped before the softmax") {
  RouterSpec spec{RouterScore::kSoftmax, 1, false, 1.0F};
  spec.softcap = 2.0F;
  const double high = std::exp(2.0 * std::tanh(3.0));
  CHECK(Near(Route(spec, {6.0F, 0.0F}).weights[0], high / (high + 1)));
}

TEST_CASE("One renormalised expert has weight exactly 1") {
  for (const float logit : {-100.0F, -3.7F, 0.0F, 1.3F, 88.0F}) {
    CHECK(Route({RouterScore::kSoftmax, 1, true, 1.0F}, {logit, logit - 0.1F, logit}).weights[0] == 1.0F);
  }
}

TEST_CASE("Logits that are not numbers still route to valid, distinct experts") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const RouterSpec spec{RouterScore::kSoftmax, 2, true, 1.0F};
  CHECK(Route(spec, {nan, nan, nan}).ids == std::vector<std::int32_t>{0, 1});
  CHECK(Route(spec, {nan, 1.0F, -inf, 2.0F}).ids == std::vector<std::int32_t>{1, 3});
  CHECK(Route(spec, {inf, inf, inf}).ids == std::vector<std::int32_t>{0, 1});
  CHECK(Route(spec, {-inf, -inf, nan}).ids == std::vector<std::int32_t>{0, 1});
}

/// Shapes whose copies make an upcycled MoE: floats, blocks of 32, blocks of 256.
std::vector<TinyShape> DenseShapes() {
  TinyShape block32;
  block32.type = DType::kQ4_1;
  block32.embedding_type = DType::kQ8_0;
  TinyShape block256;
  block256.d_model = 256;
  block256.head_dim = 64;
  block256.ff = 512;
  block256.type = DType::kQ4_K;
  return {TinyShape{}, block32, block256};
}

TEST_CASE("A top-1 MoE of copies equals its dense original bit for bit") {
  for (const TinyShape& dense : DenseShapes()) {
    const LoadedTiny original = LoadTiny(dense, KvType::kInt8, 2);
    const std::vector<tok::TokenId> tokens = RandomTokens(90, original.model->vocab_size(), 3);
    const std::vector<float> expected = RunSequence(*original.model, tokens, 64);
    for (const bool single : {false, true}) {
      TinyShape moe = dense;
      moe.experts = 8;
      moe.top_k = 1;
      moe.copies = true;
      moe.single_experts = single;
      const LoadedTiny upcycled = LoadTiny(moe, KvType::kInt8, 2);
      CAPTURE(quant::Info(dense.type).name, single);
      CHECK(testing::SameBits(RunSequence(*upcycled.model, tokens, 64), expected));
      CHECK(testing::SameBits(RunSequence(*upcycled.model, tokens, 1), expected));
      // Not all tokens went to one expert, or this would say little.
      const ExpertStats stats = upcycled.model->expert_stats();
      CHECK(std::count_if(stats.tokens.begin(), stats.tokens.begin() + 8, [](auto n) { return n > 0; }) >= 3);
    }
  }
}

TEST_CASE("Renormalised weights sum to 1 without rounding") {
  std::vector<float> logits = {0.3F, -1.7F, 2.2F, 0.9F, -4.0F, 1.1F};
  for (std::int32_t k = 1; k <= 6; ++k) {
    const Routed routed = Route({RouterScore::kSoftmax, k, true, 1.0F}, logits);
    double sum = 0;
    double all = 0;
    for (const float weight : routed.weights) sum += static_cast<double>(weight);
    CHECK(sum == 1.0);
    for (const std::int32_t id : routed.ids) all += std::exp(static_cast<double>(logits[static_cast<std::size_t>(id)]));
    for (std::size_t i = 0; i < routed.ids.size(); ++i) {
      CHECK(Near(routed.weights[i],
                 std::exp(static_cast<double>(logits[static_cast<std::size_t>(routed.ids[i])])) / all));
    }
  }
}

TEST_CASE("A MoE of copies with more experts a token equals its dense original") {
  for (const TinyShape& dense : DenseShapes()) {
    const LoadedTiny original = LoadTiny(dense, KvType::kInt8, 2);
    const std::vector<tok::TokenId> tokens = RandomTokens(90, original.model->vocab_size(), 4);
    const std::vector<float> expected = RunSequence(*original.model, tokens, 64);
    TinyShape moe = dense;
    moe.experts = 8;
    moe.copies = true;
    moe.top_k = 2;
    CHECK(testing::SameBits(RunSequence(*LoadTiny(moe, KvType::kInt8, 2).model, tokens, 64), expected));
  }
  // With three or more the sums round, which int8 activations would blow up: floats only.
  const LoadedTiny original = LoadTiny(TinyShape{});
  const std::vector<tok::TokenId> tokens = RandomTokens(90, original.model->vocab_size(), 4);
  const std::vector<float> expected = RunSequence(*original.model, tokens, 64);
  for (const std::int32_t k : {3, 8}) {
    TinyShape moe;
    moe.experts = 8;
    moe.copies = true;
    moe.top_k = k;
    CHECK(testing::LargestDifference(RunSequence(*LoadTiny(moe).model, tokens, 64), expected) < 2e-5);
  }
}

TEST_CASE("Expert counters are exact and do not depend on steps or threads") {
  TinyShape shape;
  shape.experts = 6;
  shape.top_k = 2;
  shape.layers = 3;
  const LoadedTiny one = LoadTiny(shape, KvType::kInt8, 1);
  const LoadedTiny two = LoadTiny(shape, KvType::kInt8, 2);
  const std::vector<tok::TokenId> tokens = RandomTokens(75, one.model->vocab_size(), 5);
  RunSequence(*one.model, tokens, 75);
  RunSequence(*two.model, tokens, 4);
  const ExpertStats stats = one.model->expert_stats();
  CHECK(stats.layers == 3);
  CHECK(stats.experts == 6);
  CHECK(stats.tokens == two.model->expert_stats().tokens);
  for (std::size_t layer = 0; layer < 3; ++layer) {
    std::uint64_t routed = 0;
    double mass = 0;
    for (std::size_t expert = 0; expert < 6; ++expert) {
      routed += stats.tokens[layer * 6 + expert];
      mass += stats.gate_mass[layer * 6 + expert];
      CHECK(stats.gate_mass[layer * 6 + expert] <= static_cast<double>(stats.tokens[layer * 6 + expert]));
    }
    CHECK(routed == 150);
    CHECK(std::abs(mass - 75.0) < 1e-4);  // each token's two weights sum to 1
  }
}

TEST_CASE("A dense model has no expert counters") {
  const LoadedTiny dense = LoadTiny(TinyShape{});
  RunSequence(*dense.model, RandomTokens(5, dense.model->vocab_size(), 6), 5);
  CHECK(dense.model->expert_stats().experts == 0);
  CHECK(dense.model->expert_stats().tokens.empty());
}

}  // namespace
}  // namespace quorum::engine
