// What requests may ask for besides tokens: guesses, experts, thoughts.
#include "engine/engine_core.h"

#include <vector>

#include "tests/support/catch.h"
#include "tests/support/core_bench.h"
#include "tests/support/core_requests.h"
#include "tests/support/fake_model.h"

namespace quorum::engine {
namespace {

using test::CoreBench;
using test::FakeModel;
using test::Greedy;
using test::Prompt;
using tok::TokenId;

/// Replies that repeat themselves, so that guesses are often right.
void RepeatingLogits(std::span<const TokenId> history, std::span<float> row) {
  FakeModel::HashLogits(history.last(1), row);
  std::vector<float> noise(row.size());
  FakeModel::HashLogits(history, noise);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = 3 * row[i] + 0.4F * noise[i];
}

TEST_CASE("Guessing tokens changes no answer: greedy, sampled, scored, with penalties, stops and choices") {
  std::vector<GenerationRequest> requests;
  for (const float temperature : {0.0F, 0.6F}) {
    for (int kind = 0; kind < 6; ++kind) {
      GenerationRequest request = Greedy(Prompt(20 + kind, kind), 120);
      request.sampling.temperature = temperature;
      request.sampling.seed = 5;
      request.ignore_eos = kind != 1;
      request.logprobs = kind == 2;
      request.top_logprobs = 3;
      if (kind == 3) request.sampling.frequency_penalty = 0.2F;
      if (kind == 4) request.stop = {"zq", "ab"};
      if (kind == 5) request.n = 3;
      requests.push_back(std::move(request));
    }
  }
  for (const std::int32_t batch : {1, 4}) {
    CoreBench plain({.max_batch = batch});
    CoreBench guessing({.max_batch = batch, .speculate = 5, .speculate_always = true});
    plain.model.logits = guessing.model.logits = RepeatingLogits;
    for (const GenerationRequest& request : requests) {
      plain.Submit(request);
      guessing.Submit(request);
    }
    plain.Run();
    guessing.Run();
    for (std::size_t i = 0; i < requests.size(); ++i) {
      CAPTURE(batch, i);
      CHECK(guessing.outcome(i) == plain.outcome(i));
    }
    const EngineStats stats = guessing.core.stats();
    CHECK(stats.accepted_tokens > 200);
    CHECK(stats.accepted_tokens < stats.drafted_tokens);
    CHECK(plain.core.stats().drafted_tokens == 0);
    if (batch == 1) CHECK(stats.steps < plain.core.stats().steps);
  }
}

TEST_CASE("A request may forbid guesses, and one that counts its experts makes none") {
  for (const bool report : {false, true}) {
    CoreBench bench({.speculate = 5, .speculate_always = true}, {.experts = {2, {4}}});
    bench.model.logits = RepeatingLogits;
    GenerationRequest request = Greedy(Prompt(20), 60);
    request.ignore_eos = true;
    request.speculate = report;
    request.experts.report = report;
    bench.Submit(request);
    bench.Run();
    CHECK(bench.core.stats().drafted_tokens == 0);
  }
}

TEST_CASE("The gate closes where guesses are wrong or cost too much, and opens where they save time") {
  const CostModel cheap({}, {0.010, 0.0001, 0.001, 0, 0, 0});  // rows are nearly free
  const CostModel costly({}, {0, 0.010, 0.010, 0, 0, 0});      // each row costs a step
  StepWork step;
  step.Add(1, 100, 1);
  DraftGate gate;
  CHECK(gate.Choose(4, 1, step, 100, cheap) == 4);
  CHECK(gate.Choose(4, 1, step, 100, costly) == 0);
  for (int i = 0; i < 40; ++i) gate.Learn(1, 0);
  CHECK(gate.rate() < 0.05);
  for (int i = 0; i < 40; ++i) gate.Learn(4, 4);
  CHECK(gate.rate() > 0.95);
  CHECK(gate.Choose(4, 1, step, 100, cheap) == 4);
  // Among sixteen, one sequence's token is a sixteenth of the step.
  CHECK(gate.Choose(4, 16, step, 100, CostModel({}, {0.010, 0.001, 0.001, 0, 0, 0})) == 0);
  // A closed gate tries again now and then.
  int tries = 0;
  for (int i = 0; i < 640; ++i) tries += gate.Choose(4, 1, step, 100, costly);
  CHECK(tries == 10);
}

TEST_CASE("Requests with different experts in one batch: no page is shared between them, and each is counted exactly") {
  CoreBench bench({.max_batch = 8}, {.pages = 128, .experts = {2, {4, 0, 4}}});
  const auto submit = [&bench](const ExpertRequest& experts, std::int32_t n) {
    GenerationRequest request = Greedy(Prompt(150), 10);
    request.ignore_eos = true;
    request.experts = experts;
    request.n = n;
    return bench.Submit(request);
  };
  const std::size_t first = submit({.top_k = 3, .report = true}, 2);
  bench.Run();
  const std::size_t plain = submit({}, 1);
  const std::size_t same = submit({.top_k = 3, .report = true}, 1);
  const std::size_t dense = submit({.dense = true, .report = true}, 1);
  const std::size_t masked = submit({.masked = {{0, 1}}, .report = true}, 1);
  bench.Run();
  CHECK(bench.outcome(plain).events.front().cached_tokens == 0);
  CHECK(bench.outcome(same).events.front().cached_tokens == 149);
  CHECK(bench.outcome(dense).events.front().cached_tokens == 0);
  CHECK(bench.outcome(masked).events.front().cached_tokens == 0);
  const auto report = [&bench](std::size_t index) {
    std::shared_ptr<const ExpertTally> tally;
    int found = 0;
    for (const Event& event : bench.outcome(index).events) {
      if (event.experts == nullptr) continue;
      tally = event.experts;
      ++found;
    }
    CHECK(found == 1);
    REQUIRE(tally != nullptr);
    return *tally;
  };
  const auto visits = [](const ExpertTally& tally, std::size_t layer) {
    std::uint64_t sum = 0;
    for (std::size_t e = 0; e < 4; ++e) sum += tally.tokens[layer * 4 + e];
    return sum;
  };
  CHECK(report(first).rows == 150 + 9 + 9);  // both choices; the last token of each is never computed
  CHECK(visits(report(first), 0) == 3 * 168);
  CHECK(visits(report(first), 1) == 0);
  CHECK(report(same).rows == 1 + 9);
  CHECK(visits(report(dense), 2) == 4 * 159);
  CHECK(report(masked).rows == 159);
  for (const Event& event : bench.outcome(plain).events) CHECK(event.experts == nullptr);
}

TEST_CASE("A thinking budget ends the thought with the model's own words, and the answer follows") {
  // The model thinks (token 5 ... 6) for ever unless it is told to stop, then says 8 and ends.
  const auto logits = [](std::span<const TokenId> history, std::span<float> row) {
    std::fill(row.begin(), row.end(), 0.0F);
    const TokenId last = history.back();
    row[static_cast<std::size_t>(last == 6 ? 8 : last == 8 ? 31 : last == 5 || last == 9 ? 9 : 5)] = 10.0F;
  };
  std::int32_t reasoning = 0;
  const auto reply = [&](const ThinkingRules& rules, TokenId first) {
    CoreBench bench;
    bench.model.logits = logits;
    GenerationRequest request = Greedy({first}, 20);
    request.thinking = rules;
    bench.Submit(request);
    bench.Run();
    reasoning = bench.outcome(0).events.back().reasoning_tokens;
    return bench.outcome(0).choice(0).tokens;
  };
  const ThinkingRules rules{.open = {5}, .close = {6}, .forced = {7, 6}, .budget = 3};
  using Tokens = std::vector<TokenId>;
  CHECK(reply(rules, 0) == Tokens{5, 9, 9, 9, 7, 6, 8, 31});
  CHECK(reasoning == 3);
  ThinkingRules open = rules;
  open.open_at_start = true;
  CHECK(reply(open, 9) == Tokens{9, 9, 9, 7, 6, 8, 31});
  CHECK(reasoning == 3);
  open.budget = 0;
  CHECK(reply(open, 9) == Tokens{7, 6, 8, 31});
  CHECK(reasoning == 0);
  open.budget = -1;
  CHECK(reply(open, 9).size() == 20);
  CHECK(reasoning == 20);
  CHECK(reply({}, 0).size() == 20);
  CHECK(reasoning == 0);
  CHECK(reply(rules, 6) == Tokens{8, 31});  // never thinks

  GenerationRequest bad = Greedy({0}, 5);
  bad.thinking = {.open = {5}, .close = {6}, .forced = {7}, .budget = 3};
  CHECK(CheckRequest(bad, 32, 100).error().param == "thinking_budget");
  bad.thinking = {.open = {5}, .close = {99}, .forced = {99}, .budget = 3};
  CHECK_FALSE(CheckRequest(bad, 32, 100).ok());
  bad.thinking = {.budget = 3};
  CHECK_FALSE(CheckRequest(bad, 32, 100).ok());
}

TEST_CASE("Thoughts are followed by markers of any length") {
  const ThinkingRules rules{.open = {1, 2}, .close = {3, 4}, .forced = {3, 4}, .budget = 100};
  ThinkingState state(rules);
  for (const TokenId token : {1, 1, 2, 9, 3, 9, 3}) state.Push(token);
  CHECK(state.thinking());
  state.Push(4);
  CHECK_FALSE(state.thinking());
  CHECK(state.tokens() == 3);  // 9, 3, 9
  state.Push(5);
  CHECK(state.tokens() == 3);
}

}  // namespace
}  // namespace quorum::engine
