#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "engine/kernels/dispatch.h"
#include "engine/rng.h"
#include "tests/support/catch.h"
#include "tests/support/kernel_tables.h"

namespace quorum::engine {
namespace {

using tok::TokenId;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

const KernelTable& Kernels() { return KernelsFor(Isa::kScalar); }

std::vector<float> LogsOf(const std::vector<double>& probs) {
  std::vector<float> logits;
  for (const double p : probs) logits.push_back(static_cast<float>(std::log(p)) + 3.0F);
  return logits;
}

TokenId SampleOne(const std::vector<float>& logits, const SamplingParams& params, const TokenCounts& counts = {},
                  std::int32_t position = 0) {
  Sampler sampler(Kernels());
  const auto token = sampler.Sample(logits, params, counts, 0, position);
  REQUIRE(token.ok());
  return *token;
}

/// How often each token comes in `draws` positions.
std::map<TokenId, int> Histogram(const std::vector<float>& logits, const SamplingParams& params, int draws = 3000) {
  Sampler sampler(Kernels());
  std::map<TokenId, int> histogram;
  for (int i = 0; i < draws; ++i) {
    const auto token = sampler.Sample(logits, params, {}, 0, i);
    REQUIRE(token.ok());
    ++histogram[*token];
  }
  return histogram;
}

std::set<TokenId> Support(const std::vector<float>& logits, const SamplingParams& params) {
  std::set<TokenId> support;
  for (const auto& [token, count] : Histogram(logits, params)) support.insert(token);
  return support;
}

SamplingParams Greedy() { return {.temperature = 0.0F, .logit_bias = {}}; }

TEST_CASE("Philox4x32-10 gives Random123's known answers") {
  using Block = std::array<std::uint32_t, 4>;
  CHECK(Philox4x32({0, 0, 0, 0}, {0, 0}) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(Philox4x32({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}) == Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("Draws are uniform in (0, 1) and differ by seed, choice and position") {
  std::set<double> seen;
  double sum = 0;
  for (int seed = 0; seed < 10; ++seed) {
    for (int choice = 0; choice < 10; ++choice) {
      for (int position = 0; position < 100; ++position) {
        // The seed's high word matters too.
        const double u = UniformDraw(static_cast<std::uint64_t>(seed) << 30, choice, position);
        REQUIRE(u > 0);
        REQUIRE(u < 1);
        seen.insert(u);
        sum += u;
      }
    }
  }
  CHECK(seen.size() == 10000);
  CHECK(std::abs(sum / 10000 - 0.5) < 0.01);
}

TEST_CASE("Greedy takes the highest, ties to the lowest id, at every place of a row") {
  for (std::size_t size : {1U, 2U, 15U, 16U, 17U, 100U}) {
    for (std::size_t best = 0; best < size; ++best) {
      std::vector<float> logits(size, -1.0F);
      logits[best] = 2.0F;
      CHECK(SampleOne(logits, Greedy()) == static_cast<TokenId>(best));
      if (best + 1 < size) logits[best + 1] = 2.0F;
      logits[size - 1] = 2.0F;
      CHECK(SampleOne(logits, Greedy()) == static_cast<TokenId>(best));
    }
  }
  CHECK(SampleOne({-5, -kInf, -4}, Greedy()) == 2);
}

TEST_CASE("Without truncation tokens come as often as softmax says, sharper at low temperature") {
  const auto logits = LogsOf({0.5, 0.25, 0.125, 0.0625, 0.0625});
  const auto plain = Histogram(logits, {}, 20000);
  const std::vector<double> want{0.5, 0.25, 0.125, 0.0625, 0.0625};
  double chi = 0;
  for (TokenId id = 0; id < 5; ++id) {
    const double expected = want[static_cast<std::size_t>(id)] * 20000;
    chi += (plain.at(id) - expected) * (plain.at(id) - expected) / expected;
  }
  CHECK(chi < 13.3);  // 1 % point of chi-square with 4 degrees; the draws are fixed

  // Temperature 0.5 squares the probabilities: 0.25 of 0.34 for the first.
  const auto sharp = Histogram(logits, {.temperature = 0.5F, .logit_bias = {}}, 20000);
  CHECK(std::abs(sharp.at(0) / 20000.0 - 0.25 / (0.25 + 0.0625 + 0.015625 + 2 * 0.00390625)) < 0.01);
  CHECK(Support(logits, {.temperature = 1e-30F, .logit_bias = {}}) == std::set<TokenId>{0});
  CHECK(Support(logits, {.temperature = std::numeric_limits<float>::max(), .logit_bias = {}}).size() == 5);
}

TEST_CASE("A large vocabulary is drawn from evenly too") {
  // 40,000 equal tokens: 2,000 draws hardly repeat and spread over all blocks.
  const std::vector<float> flat(40000, 0.25F);
  const auto histogram = Histogram(flat, {}, 2000);
  CHECK(histogram.size() > 1900);
  int low = 0;
  for (const auto& [id, count] : histogram) low += id < 20000 ? count : 0;
  CHECK(std::abs(low - 1000) < 100);
}

TEST_CASE("top_k, top_p, min_p and typical_p keep exactly the right tokens") {
  const auto logits = LogsOf({0.06, 0.5, 0.06, 0.25, 0.13});
  CHECK(Support(logits, {.top_k = 1, .logit_bias = {}}) == std::set<TokenId>{1});
  CHECK(Support(logits, {.top_k = 3, .logit_bias = {}}) == std::set<TokenId>{1, 3, 4});
  CHECK(Support(logits, {.top_k = 4, .logit_bias = {}}) == std::set<TokenId>{0, 1, 3, 4});  // tie: lower id
  CHECK(Support(logits, {.top_k = 99, .logit_bias = {}}).size() == 5);
  CHECK(Support(logits, {.top_p = 0.49F, .logit_bias = {}}) == std::set<TokenId>{1});
  CHECK(Support(logits, {.top_p = 0.51F, .logit_bias = {}}) == std::set<TokenId>{1, 3});
  CHECK(Support(logits, {.top_p = 0.76F, .logit_bias = {}}) == std::set<TokenId>{1, 3, 4});
  CHECK(Support(logits, {.top_p = 0.9F, .logit_bias = {}}) == std::set<TokenId>{0, 1, 3, 4});
  CHECK(Support(logits, {.top_p = 0.95F, .logit_bias = {}}).size() == 5);
  CHECK(Support(logits, {.top_p = 1e-9F, .logit_bias = {}}) == std::set<TokenId>{1});
  CHECK(Support(logits, {.min_p = 0.51F, .logit_bias = {}}) == std::set<TokenId>{1});
  CHECK(Support(logits, {.min_p = 0.25F, .logit_bias = {}}) == std::set<TokenId>{1, 3, 4});
  CHECK(Support(logits, {.min_p = 1.0F, .logit_bias = {}}) == std::set<TokenId>{1});
  // Renormalised after top_k: 0.5 of 0.75 is 0.67 and reaches 0.6, of the whole it would not.
  CHECK(Support(logits, {.top_k = 2, .top_p = 0.6F, .logit_bias = {}}) == std::set<TokenId>{1});
  CHECK(Support(logits, {.top_p = 0.6F, .min_p = 0.4F, .logit_bias = {}}) == std::set<TokenId>{1});
  CHECK(Support(logits, {.top_p = 0.7F, .min_p = 0.4F, .logit_bias = {}}) == std::set<TokenId>{1, 3});

  // Entropy 1.64: a token of 0.12 (surprise 2.12) is nearer to it than the one of 0.4 (0.92).
  const auto peaked = LogsOf({0.4, 0.12, 0.12, 0.12, 0.12, 0.12});
  CHECK(Support(peaked, {.typical_p = 0.3F, .logit_bias = {}}) == std::set<TokenId>{1, 2, 3});
  CHECK(Support(peaked, {.typical_p = 0.59F, .logit_bias = {}}) == std::set<TokenId>{1, 2, 3, 4, 5});
  CHECK(Support(peaked, {.typical_p = 0.7F, .logit_bias = {}}).size() == 6);
  CHECK(Support(peaked, {.top_p = 0.3F, .typical_p = 0.7F, .logit_bias = {}}) == std::set<TokenId>{0});
}

TEST_CASE("On random rows truncation agrees with sorting the whole vocabulary") {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    const std::size_t size = 1 + random() % 3000;
    std::vector<float> logits(size);
    // Rounded, so that there are many ties.
    for (float& x : logits) x = static_cast<float>(random() % 40) / 4.0F;
    SamplingParams params;
    params.temperature = 0.5F + static_cast<float>(random() % 3);
    params.top_k = random() % 2 ? static_cast<std::int32_t>(random() % 400) : 0;
    params.min_p = random() % 2 ? 0.02F : 0.0F;
    params.top_p = random() % 3 ? 0.3F + static_cast<float>(random() % 6) * 0.1F : 1.0F;

    std::vector<std::pair<double, TokenId>> sorted;  // (-p, id)
    const float max = *std::max_element(logits.begin(), logits.end());
    for (std::size_t i = 0; i < size; ++i) {
      sorted.emplace_back(-std::exp(static_cast<double>((logits[i] - max) / params.temperature)),
                          static_cast<TokenId>(i));
    }
    std::sort(sorted.begin(), sorted.end());
    if (params.top_k > 0) sorted.resize(std::min(size, static_cast<std::size_t>(params.top_k)));
    std::erase_if(sorted, [&](const auto& entry) { return -entry.first < static_cast<double>(params.min_p); });
    double mass = 0;
    for (const auto& [p, id] : sorted) mass -= p;
    double sum = 0;
    std::set<TokenId> surely;  // one less and one more at the border, where float and double may disagree
    std::set<TokenId> perhaps;
    for (const auto& [p, id] : sorted) {
      if (sum < mass * (static_cast<double>(params.top_p) - 1e-5)) surely.insert(id);
      if (sum < mass * (static_cast<double>(params.top_p) + 1e-5)) perhaps.insert(id);
      sum -= p;
    }
    const auto histogram = Histogram(logits, params, 500);
    bool inside = true;
    for (const auto& [id, count] : histogram) inside = inside && perhaps.contains(id);
    CAPTURE(round, size, params.top_k, params.top_p, params.min_p, params.temperature);
    CHECK(inside);
    // Few tokens of about equal weight: all must come.
    if (surely.size() <= 8 && -sorted[surely.size() - 1].first > 0.2) CHECK(histogram.size() >= surely.size());
  }
}

TEST_CASE("Penalties follow OpenAI and CTRL, in the documented order before the bias") {
  TokenCounts counts;
  counts.AddPrompt(std::vector<TokenId>{0, 0, 3});
  counts.AddGenerated(1);
  counts.AddGenerated(1);
  counts.AddGenerated(1);
  counts.AddGenerated(2);
  SamplingParams params = Greedy();

  // Presence: once for 1 and 2, nothing for the prompt's 0 and 3.
  params.presence_penalty = 1.0F;
  CHECK(SampleOne({1.0F, 3.0F, 2.5F, 0.0F}, params, counts) == 1);
  CHECK(SampleOne({2.1F, 3.0F, 2.5F, 0.0F}, params, counts) == 0);
  // Frequency: three times for 1.
  params = Greedy();
  params.frequency_penalty = 0.5F;
  CHECK(SampleOne({1.0F, 3.0F, 1.9F, 0.0F}, params, counts) == 1);  // 1.5 against 1.4
  CHECK(SampleOne({1.0F, 3.0F, 2.1F, 0.0F}, params, counts) == 2);
  // Repetition: once each, prompt too; positive logits shrink, negative ones fall.
  params = Greedy();
  params.repetition_penalty = 2.0F;
  CHECK(SampleOne({4.0F, 3.0F, 3.0F, 3.0F, 1.9F}, params, counts) == 0);
  CHECK(SampleOne({4.0F, 3.0F, 3.0F, 3.0F, 2.1F}, params, counts) == 4);
  CHECK(SampleOne({-1.0F, -3.0F, -3.0F, -3.0F, -1.9F}, params, counts) == 4);
  // Repetition first: (4 / 2) - 1 = 1, not (4 - 1) / 2 = 1.5.
  params.presence_penalty = 1.0F;
  CHECK(SampleOne({-9.0F, 4.0F, -9.0F, -9.0F, 1.2F}, params, counts) == 4);
  // The bias comes last: 0 / 2 + 1.
  params = Greedy();
  params.repetition_penalty = 2.0F;
  params.logit_bias = {{0, 1.0F}};
  CHECK(SampleOne({0.0F, -9.0F, -9.0F, -9.0F, 0.9F}, params, counts) == 0);
}

TEST_CASE("A bias of -100 bans, of 100 forces, and -infinity of the model stays impossible") {
  SamplingParams params;
  params.logit_bias = {{2, -100.0F}};
  CHECK(Support({0, 0, 50, -kInf, 0}, params) == std::set<TokenId>{0, 1, 4});
  params.logit_bias = {{1, 100.0F}};
  CHECK(Support({0, 0, 20, -kInf, 0}, params) == std::set<TokenId>{1});
  params.logit_bias = {{3, 100.0F}};
  CHECK(Support({0, 0, 0, -kInf, -kInf}, params) == std::set<TokenId>{0, 1, 2});
  params.top_k = 4;
  CHECK(Support({0, 0, 0, -kInf, -kInf}, params) == std::set<TokenId>{0, 1, 2});
  params.temperature = 0;
  params.logit_bias = {{0, -100.0F}};
  CHECK(SampleOne({5, 1, 2}, params) == 2);
}

TEST_CASE("Rows without an answer are errors, never undefined") {
  Sampler sampler(Kernels());
  for (const std::size_t at : {0U, 15U, 16U, 18U}) {
    for (const float bad : {kNan, kInf, -kNan}) {
      std::vector<float> logits(19, 1.0F);
      logits[at] = bad;
      for (const SamplingParams& params : {Greedy(), SamplingParams{}, SamplingParams{.top_k = 3, .logit_bias = {}}}) {
        const auto token = sampler.Sample(logits, params, {}, 0, 0);
        REQUIRE_FALSE(token.ok());
        CHECK(token.error().code == ErrorCode::kInternal);
      }
      CHECK_FALSE(RowLogprobs::Of(Kernels(), logits).ok());
    }
  }
  const std::vector<float> nothing(5, -kInf);
  CHECK(sampler.Sample(nothing, {}, {}, 0, 0).error().code == ErrorCode::kInternal);
  CHECK_FALSE(RowLogprobs::Of(Kernels(), nothing).ok());
  SamplingParams bans;
  bans.logit_bias = {{0, -100.0F}, {1, -100.0F}};
  const auto banned = sampler.Sample(std::vector<float>{1, 2}, bans, {}, 0, 0);
  REQUIRE_FALSE(banned.ok());
  CHECK(banned.error().code == ErrorCode::kInvalidArgument);
  CHECK(banned.error().param == "logit_bias");
  // Huge but finite logits overflow only where a bias is added.
  const std::vector<float> huge{std::numeric_limits<float>::max(), -std::numeric_limits<float>::max()};
  CHECK(*sampler.Sample(huge, {}, {}, 0, 0) == 0);
}

TEST_CASE("Log-probabilities come from the raw logits, best first, ties by id") {
  const auto row = LogsOf({0.1, 0.4, 0.1, 0.3, 0.1});
  const auto logprobs = RowLogprobs::Of(Kernels(), row);
  REQUIRE(logprobs.ok());
  CHECK(std::abs(logprobs->At(1).logprob - std::log(0.4F)) < 1e-6F);
  CHECK(logprobs->At(1).id == 1);
  const auto top = logprobs->Top(4);
  REQUIRE(top.size() == 4);
  CHECK(top[0].id == 1);
  CHECK(top[1].id == 3);
  CHECK(top[2].id == 0);
  CHECK(top[3].id == 2);
  CHECK(logprobs->Top(0).empty());
  double sum = 0;
  for (const TokenLogprob& entry : logprobs->Top(99)) sum += std::exp(static_cast<double>(entry.logprob));
  CHECK(std::abs(sum - 1.0) < 1e-6);
  // A certain token is not above zero.
  CHECK(RowLogprobs::Of(Kernels(), std::vector<float>{1000, 0, 0})->At(0).logprob == 0.0F);
}

TEST_CASE("TopTokens agrees with sorting everything, ties and all") {
  std::mt19937 random(3);
  for (const std::size_t size : {1U, 10U, 100U, 5000U}) {
    std::vector<float> values(size);
    for (float& x : values) x = static_cast<float>(random() % 50);
    values[size / 2] = -kInf;
    std::vector<TokenId> sorted(size);
    std::iota(sorted.begin(), sorted.end(), 0);
    std::stable_sort(sorted.begin(), sorted.end(), [&](TokenId a, TokenId b) {
      return values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
    });
    for (const std::size_t k : {std::size_t{0}, std::size_t{1}, std::size_t{7}, size / 10, size / 2, size, size + 5}) {
      const auto top = TopTokens(values, k);
      REQUIRE(top.size() == std::min(k, size));
      CHECK(std::equal(top.begin(), top.end(), sorted.begin()));
    }
  }
}

TEST_CASE("Every instruction set of this host draws the same tokens") {
  std::mt19937 random(11);
  std::vector<float> logits(7001);
  for (float& x : logits) x = static_cast<float>(random() % 100000) * 1e-4F;
  for (const SamplingParams& params :
       {SamplingParams{}, SamplingParams{.top_p = 0.9F, .logit_bias = {}},
        SamplingParams{.top_k = 40, .logit_bias = {}}, SamplingParams{.typical_p = 0.5F, .logit_bias = {}}}) {
    for (const KernelTable* table : testing::VectorTables()) {
      Sampler scalar(Kernels());
      Sampler other(*table);
      for (int position = 0; position < 50; ++position) {
        CHECK(*scalar.Sample(logits, params, {}, 0, position) == *other.Sample(logits, params, {}, 0, position));
      }
    }
  }
}

TEST_CASE("Parameters out of range are refused by name") {
  const auto param_of = [](SamplingParams params) {
    const Status status = CheckSampling(params, 10);
    return status.ok() ? std::string() : status.error().param;
  };
  CHECK(param_of({}).empty());
  CHECK(param_of({.temperature = -0.1F, .logit_bias = {}}) == "temperature");
  CHECK(param_of({.temperature = kNan, .logit_bias = {}}) == "temperature");
  CHECK(param_of({.temperature = kInf, .logit_bias = {}}) == "temperature");
  CHECK(param_of({.top_k = -1, .logit_bias = {}}) == "top_k");
  CHECK(param_of({.top_p = 0.0F, .logit_bias = {}}) == "top_p");
  CHECK(param_of({.top_p = 1.1F, .logit_bias = {}}) == "top_p");
  CHECK(param_of({.min_p = -0.1F, .logit_bias = {}}) == "min_p");
  CHECK(param_of({.typical_p = 0.0F, .logit_bias = {}}) == "typical_p");
  CHECK(param_of({.presence_penalty = kNan, .logit_bias = {}}) == "presence_penalty");
  CHECK(param_of({.frequency_penalty = 1e9F, .logit_bias = {}}) == "frequency_penalty");
  CHECK(param_of({.repetition_penalty = 0.0F, .logit_bias = {}}) == "repetition_penalty");
  CHECK(param_of({.logit_bias = {{10, 1.0F}}}) == "logit_bias");
  CHECK(param_of({.logit_bias = {{-1, 1.0F}}}) == "logit_bias");
  CHECK(param_of({.logit_bias = {{1, kNan}}}) == "logit_bias");
  CHECK(CheckSampling({.temperature = -1, .logit_bias = {}}, 10).error().message ==
        "temperature must be a number at least 0.");
}

}  // namespace
}  // namespace quorum::engine
