// What one request changes about its experts: the same as a model made that way, whatever else is in the batch, and
// counted exactly.
#include "engine/expert_options.h"

#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "engine/kernels/dispatch.h"
#include "engine/model.h"
#include "engine/moe_router.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace quorum::engine {
namespace {

using testing::LoadedTiny;
using testing::LoadTiny;
using testing::RandomTokens;
using testing::RunSequence;
using testing::SameBits;
using testing::TinyShape;

TinyShape MoeShape(std::int32_t experts, std::int32_t top_k) {
  TinyShape shape;
  shape.experts = experts;
  shape.top_k = top_k;
  shape.single_experts = true;
  return shape;
}

ExpertOptions Resolve(const Model& model, const ExpertRequest& request) {
  auto options = ResolveExperts(request, model.experts());
  REQUIRE(options.ok());
  return *options;
}

std::string Refused(const ExpertRequest& request, const ExpertShape& shape) {
  const auto options = ResolveExperts(request, shape);
  return options.ok() ? "" : options.error().param;
}

TEST_CASE("Requests that no model could honour are refused with the field at fault") {
  const ExpertShape shape{2, {0, 4, 3}};
  CHECK(Refused({}, shape).empty());
  CHECK(Refused({.top_k = 4}, shape).empty());
  CHECK(Refused({.top_k = 5}, shape) == "moe.top_k");
  CHECK(Refused({.top_k = -1}, shape) == "moe.top_k");
  CHECK(Refused({.top_k = 2, .dense = true}, shape) == "moe.top_k");
  CHECK(Refused({.min_weight = 1.0F}, shape) == "moe.min_weight");
  CHECK(Refused({.min_weight = std::nanf("")}, shape) == "moe.min_weight");
  CHECK(Refused({.masked = {{-1, 3}}}, shape).empty());  // layer 2 never had it
  CHECK(Refused({.masked = {{2, 3}}}, shape) == "moe.mask");
  CHECK(Refused({.masked = {{0, 0}}}, shape) == "moe.mask");
  CHECK(Refused({.masked = {{3, 0}}}, shape) == "moe.mask");
  CHECK(Refused({.masked = {{-2, 0}}}, shape) == "moe.mask");
  CHECK(Refused({.masked = {{1, -1}}}, shape) == "moe.mask");
  CHECK(Refused({.masked = {{-1, 0}, {-1, 1}, {2, 2}}}, shape) == "moe.mask");  // nothing left in layer 2
  const ExpertShape dense{0, {0, 0}};
  CHECK(Refused({}, dense).empty());
  CHECK(Refused({.top_k = 1}, dense) == "moe");
  CHECK(Refused({.report = true}, dense) == "moe");
}

TEST_CASE("Options are told apart by what they change, and the model's own have no lineage") {
  const ExpertShape shape{2, {4, 4}};
  const auto lineage = [&](const ExpertRequest& request) { return ResolveExperts(request, shape)->Lineage(shape); };
  CHECK(lineage({}).empty());
  CHECK(lineage({.top_k = 2}).empty());
  CHECK(lineage({.report = true}).empty());
  CHECK(lineage({.top_k = 4}) == lineage({.dense = true}));
  const std::vector<std::string> all = {lineage({.top_k = 1}), lineage({.min_weight = 0.25F}),
                                        lineage({.masked = {{-1, 1}}}), lineage({.masked = {{0, 1}}}), lineage({})};
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) CHECK(all[i] != all[j]);
  }
}

TEST_CASE("A request's top_k, or all experts, gives the bits of a model that was made so") {
  const LoadedTiny two = LoadTiny(MoeShape(8, 2), KvType::kInt8, 2);
  const std::vector<tok::TokenId> tokens = RandomTokens(90, two.model->vocab_size(), 3);
  const std::vector<float> plain = RunSequence(*two.model, tokens, 64);
  const ExpertOptions same = Resolve(*two.model, {.top_k = 2});
  CHECK(SameBits(RunSequence(*two.model, tokens, 64, 0, &same), plain));
  for (const std::int32_t k : {1, 3, 8}) {
    const LoadedTiny made = LoadTiny(MoeShape(8, k), KvType::kInt8, 1);
    const std::vector<float> expected = RunSequence(*made.model, tokens, 64);
    CHECK_FALSE(SameBits(expected, plain));
    const ExpertOptions options = Resolve(*two.model, {.top_k = k});
    CHECK(SameBits(RunSequence(*two.model, tokens, 64, 0, &options), expected));
    CHECK(SameBits(RunSequence(*two.model, tokens, 1, 0, &options), expected));
  }
  const ExpertOptions dense = Resolve(*two.model, {.dense = true});
  CHECK(dense.top_k == 8);
}

TEST_CASE("More slots than the workspace was made for are computed in passes, with the same bits") {
  const LoadedTiny one = LoadTiny(MoeShape(12, 1), KvType::kInt8, 2);
  const LoadedTiny all = LoadTiny(MoeShape(12, 12), KvType::kInt8, 2);
  const std::vector<tok::TokenId> tokens = RandomTokens(500, one.model->vocab_size(), 8);
  const ExpertOptions dense = Resolve(*one.model, {.dense = true});
  // 500 rows of 12 experts in a workspace for 600 slots.
  CHECK(SameBits(RunSequence(*one.model, tokens, 500, 0, &dense), RunSequence(*all.model, tokens, 500)));
}

TEST_CASE("Masked experts are as if they did not exist") {
  const LoadedTiny six = LoadTiny(MoeShape(6, 2), KvType::kF32, 2);
  const LoadedTiny four = LoadTiny(MoeShape(4, 2), KvType::kF32, 1);
  const std::vector<tok::TokenId> tokens = RandomTokens(70, six.model->vocab_size(), 4);
  const ExpertOptions options = Resolve(*six.model, {.masked = {{-1, 4}, {-1, 5}}});
  ExpertTally tally(six.model->experts());
  const std::vector<float> masked = RunSequence(*six.model, tokens, 33, 0, &options, &tally);
  CHECK_FALSE(SameBits(masked, RunSequence(*six.model, tokens, 33)));
  // Tensors of the two files begin alike, so the model of four is the model of six without the last two.
  CHECK(SameBits(masked, RunSequence(*four.model, tokens, 33)));
  for (std::size_t layer = 0; layer < 2; ++layer) {
    CHECK(tally.tokens[layer * 6 + 4] + tally.tokens[layer * 6 + 5] == 0);
  }
}

struct Routed {
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
};

Routed Route(const RouterSpec& spec, std::vector<float> logits, const RouteLimits& limits) {
  Routed routed{std::vector<std::int32_t>(logits.size()), std::vector<float>(logits.size())};
  const std::int32_t n = RouteToken(ScalarKernels(), spec, nullptr, logits, routed.ids.data(), routed.weights.data(), limits);
  routed.ids.resize(static_cast<std::size_t>(n));
  routed.weights.resize(static_cast<std::size_t>(n));
  return routed;
}

TEST_CASE(
    "Experts below the minimum weight are left out, the heaviest never, and weights still sum to what they should") {
  const std::vector<float> logits = {0.0F, std::log(2.0F), std::log(5.0F), std::log(2.0F)};  // 1, 2, 5, 2 tenths
  const RouteLimits limits{.top_k = 4, .min_weight = 0.15F};
  const Routed plain = Route({RouterScore::kSoftmax, 2, false, 1.0F}, logits, limits);
  CHECK(plain.ids == std::vector<std::int32_t>{1, 2, 3});
  CHECK(std::abs(plain.weights[1] - 0.5F) < 1e-6F);
  const Routed normal = Route({RouterScore::kSoftmax, 2, true, 1.0F}, logits, limits);
  CHECK(normal.ids == plain.ids);
  CHECK(std::accumulate(normal.weights.begin(), normal.weights.end(), 0.0F) == 1.0F);
  CHECK(std::abs(normal.weights[1] - 5.0F / 9) < 1e-6F);
  const Routed chosen = Route({RouterScore::kTopKSoftmax, 2, false, 3.0F}, logits, limits);
  CHECK(std::abs(chosen.weights[1] - 15.0F / 9) < 1e-5F);
  const Routed alone = Route({RouterScore::kSoftmax, 2, true, 1.0F}, logits, {.top_k = 4, .min_weight = 0.9F});
  CHECK(alone.ids == std::vector<std::int32_t>{2});
  CHECK(alone.weights[0] == 1.0F);
}

TEST_CASE("Masks and numbers that are none: still valid, distinct, unmasked experts") {
  const float nan = std::nanf("");
  const std::uint8_t mask[] = {1, 0, 0, 1};
  const RouterSpec spec{RouterScore::kSoftmax, 3, true, 1.0F};
  CHECK(Route(spec, {nan, nan, nan, nan}, {.masked = mask}).ids == std::vector<std::int32_t>{1, 2});
  CHECK(Route(spec, {5.0F, -INFINITY, nan, 9.0F}, {.top_k = 1, .masked = mask}).ids == std::vector<std::int32_t>{1});
}

TEST_CASE("Requests with different experts in one step: each as alone, and the counts of all add up") {
  const LoadedTiny tiny = LoadTiny(MoeShape(6, 2), KvType::kInt8, 2);
  Model& model = *tiny.model;
  const ExpertShape shape = model.experts();
  const std::vector<ExpertRequest> asked = {
      {}, {.top_k = 1}, {.dense = true}, {.min_weight = 0.4F}, {.masked = {{0, 1}, {1, 2}}}, {.top_k = 4}};
  const auto vocab = static_cast<std::size_t>(model.vocab_size());
  std::vector<std::vector<tok::TokenId>> tokens;
  std::vector<std::vector<float>> alone;
  std::vector<ExpertOptions> options;
  std::vector<ExpertTally> expected(asked.size(), ExpertTally(shape));
  for (std::size_t i = 0; i < asked.size(); ++i) {
    tokens.push_back(RandomTokens(20 + 7 * static_cast<std::int64_t>(i), model.vocab_size(), i));
    options.push_back(Resolve(model, asked[i]));
    alone.push_back(RunSequence(model, tokens[i], 5, 0, &options[i], &expected[i]));
  }
  const ExpertStats before = model.expert_stats();
  std::vector<ExpertTally> tallies(asked.size(), ExpertTally(shape));
  std::vector<StepSlice> slices;
  std::vector<std::int32_t> pages(asked.size());
  std::iota(pages.begin(), pages.end(), 0);
  std::size_t rows = 0;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    slices.push_back({.tokens = tokens[i],
                      .pages = std::span(pages).subspan(i, 1),
                      .experts = i == 0 ? nullptr : &options[i],
                      .tally = &tallies[i]});
    rows += tokens[i].size();
  }
  std::vector<float> logits(rows * vocab);
  REQUIRE(model.Step(slices, logits).ok());
  std::span<const float> left = logits;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    CAPTURE(i);
    CHECK(SameBits(left.first(alone[i].size()), alone[i]));
    left = left.subspan(alone[i].size());
    CHECK(tallies[i].rows == std::ssize(tokens[i]));
    CHECK(tallies[i].tokens == expected[i].tokens);
    CHECK(tallies[i].mass == expected[i].mass);
  }
  const ExpertStats after = model.expert_stats();
  for (std::size_t cell = 0; cell < after.tokens.size(); ++cell) {
    std::uint64_t sum = 0;
    double mass = 0;
    for (const ExpertTally& tally : tallies) {
      sum += tally.tokens[cell];
      mass += static_cast<double>(tally.mass[cell]) * ExpertTally::kMassUnit;
    }
    CHECK(after.tokens[cell] - before.tokens[cell] == sum);
    CHECK(std::abs(after.gate_mass[cell] - before.gate_mass[cell] - mass) < 1e-5);
  }
  const auto per_layer = [&](std::size_t i) {
    return std::accumulate(tallies[i].tokens.begin(), tallies[i].tokens.begin() + 6, std::uint64_t{0});
  };
  CHECK(per_layer(0) == 2 * tokens[0].size());
  CHECK(per_layer(1) == tokens[1].size());
  CHECK(per_layer(2) == 6 * tokens[2].size());
  CHECK(per_layer(5) == 4 * tokens[5].size());
}

TEST_CASE("Options made for another model are refused by the step") {
  const LoadedTiny tiny = LoadTiny(MoeShape(6, 2));
  const ExpertOptions other{.top_k = 1, .experts = 4};
  const std::vector<tok::TokenId> tokens = {1};
  const std::vector<std::int32_t> pages = {0};
  const StepSlice slice{.tokens = tokens, .pages = pages, .first_logits = 1, .experts = &other};
  CHECK_FALSE(tiny.model->Step({&slice, 1}, {}).ok());
}

}  // namespace
}  // namespace quorum::engine
