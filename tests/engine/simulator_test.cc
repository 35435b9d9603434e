// Thousands of simulated requests through the real scheduler: what must hold for every trace.
#include "engine/simulator.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/support/catch.h"

namespace quorum::engine {
namespace {

/// A machine like two cores with a small MoE: 20 ms a step, 3 ms a row, 0.3 ms an expert.
SimOptions Machine() {
  SimOptions options;
  options.limits = {.max_running = 32,
                    .prefill_chunk = 512,
                    .max_step_tokens = 544,
                    .max_step_logits = 64,
                    .num_pages = 2000,
                    .max_itl_seconds = 0.25};
  options.experts = {8, std::vector<std::int32_t>(4, 128)};
  options.cost = {0.020, 0.001, 0.003, 0.0003, 1e-7, 0.0005};
  options.noise = 0.1;
  return options;
}

std::vector<SimRequest> RandomTrace(unsigned seed, int count, double rate) {
  std::mt19937 random(seed);
  const auto uniform = [&random] { return (static_cast<double>(random()) + 0.5) / 4294967296.0; };
  std::vector<SimRequest> trace;
  double at = 0;
  for (int i = 0; i < count; ++i) {
    at += -std::log(uniform()) / rate;
    SimRequest request;
    request.at = at;
    request.prompt = 1 + static_cast<std::int32_t>(random() % (random() % 20 == 0 ? 8000 : 300));
    request.reply = 1 + static_cast<std::int32_t>(random() % 60);
    if (random() % 2 == 0) {
      request.prefix = static_cast<std::int32_t>(random() % 4);
      request.prefix_tokens = 200;
    }
    if (random() % 10 == 0) request.cancel_after = uniform() * 20;
    trace.push_back(request);
  }
  return trace;
}

TEST_CASE("Every request of a long random trace ends, pages come back, and no gap between tokens is too long") {
  for (const unsigned seed : {1U, 2U, 3U}) {
    const SimOptions options = Machine();
    const std::vector<SimRequest> trace = RandomTrace(seed, 2000, 0.7);
    SimResult result = Simulate(trace, options);
    CHECK(result.pages_left == 0);
    std::int64_t expected = 0;
    for (std::size_t i = 0; i < trace.size(); ++i) {
      const SimOutcome& outcome = result.outcomes[i];
      REQUIRE(outcome.end != SimOutcome::End::kRefused);
      if (outcome.end == SimOutcome::End::kCancelled) continue;
      REQUIRE(outcome.generated == trace[i].reply);
      REQUIRE(outcome.first_token > 0);
      expected += trace[i].reply;
    }
    CHECK(result.generated_tokens() >= expected);
    CHECK(Percentile(result.gaps, 0.99) <= 1.2 * 0.25);
    CHECK(Percentile(result.gaps, 0.5) < 0.25);
  }
}

TEST_CASE("The limit on gaps is kept although the scheduler must first learn what steps cost") {
  SimOptions options = Machine();
  std::vector<SimRequest> trace = {{.at = 0, .prompt = 20, .reply = 800}};
  trace.push_back({.at = 1, .prompt = 8000, .reply = 10});
  for (int i = 0; i < 20; ++i) trace.push_back({.at = 2.0 + 0.1 * i, .prompt = 50, .reply = 4});
  for (const double itl : {0.15, 0.25, 0.6}) {
    options.limits.max_itl_seconds = itl;
    SimResult limited = Simulate(trace, options);
    CHECK(Percentile(limited.gaps, 0.99) <= 1.2 * itl);
    // Short requests that came behind the long prompt are done before it has its first token.
    for (std::size_t i = 2; i < trace.size(); ++i) {
      CHECK(trace[i].at + limited.outcomes[i].finish < trace[1].at + limited.outcomes[1].first_token);
    }
  }
  options.limits.max_itl_seconds = 0;
  SimResult open = Simulate(trace, options);
  CHECK(Percentile(open.gaps, 0.99) > 1.0);  // what the limit saves the stream from
}

TEST_CASE("No starvation: a long prompt gets half of what is left however many short ones keep coming") {
  SimOptions options = Machine();
  std::vector<SimRequest> trace = {{.at = 0, .prompt = 6000, .reply = 5}};
  for (int i = 0; i < 3000; ++i) trace.push_back({.at = 0.1 * i, .prompt = 150, .reply = 2});
  const SimResult result = Simulate(trace, options);
  CHECK(result.outcomes[0].finish < 6 * result.outcomes[0].alone);
}

TEST_CASE("Lower priority numbers are served first, and the others still end") {
  SimOptions options = Machine();
  options.limits.max_running = 4;
  std::vector<SimRequest> trace;
  for (int i = 0; i < 400; ++i) {
    trace.push_back({.at = 0.3 * i, .prompt = 200, .reply = 20, .priority = i % 4 == 0 ? -1 : 0});
  }
  const SimResult result = Simulate(trace, options);
  std::vector<double> first;
  std::vector<double> rest;
  for (std::size_t i = 0; i < trace.size(); ++i) {
    CHECK(result.outcomes[i].generated == 20);
    (trace[i].priority < 0 ? first : rest).push_back(result.outcomes[i].first_token);
  }
  CHECK(Percentile(first, 0.9) < 0.2 * Percentile(rest, 0.9));
}

TEST_CASE("A common prefix is computed once for all who come with it, and a full queue refuses") {
  SimOptions options = Machine();
  std::vector<SimRequest> trace;
  for (int i = 0; i < 8; ++i)
    trace.push_back({.at = 0, .prompt = 1030, .reply = 1, .prefix = 1, .prefix_tokens = 1000});
  const SimResult result = Simulate(trace, options);
  CHECK(result.computed_tokens == 1000 + 8 * 30);

  options.max_queue = 3;
  options.limits.max_running = 2;
  const SimResult crowded = Simulate(trace, options);
  CHECK(std::count_if(crowded.outcomes.begin(), crowded.outcomes.end(),
                      [](const SimOutcome& outcome) { return outcome.end == SimOutcome::End::kRefused; }) > 0);
}

TEST_CASE(
    "The cost model learns a machine from its steps, follows it when it changes, and never expects less for more") {
  const CostModel machine({8, {128}}, {0.020, 0.001, 0.003, 0.0003, 1e-6, 0.0005});
  CostModel learned({8, {128}});
  std::mt19937 random(4);
  const auto random_work = [&random] {
    StepWork work;
    for (auto n = random() % 8; n > 0; --n) work.Add(1, static_cast<std::int64_t>(random() % 2000), 1);
    if (random() % 2 == 0)
      work.Add(1 + static_cast<std::int64_t>(random() % 300), static_cast<std::int64_t>(random() % 4000), 1);
    if (work.rows == 0) work.Add(1, 0, 1);
    return work;
  };
  const auto teach = [&](double slower, int steps) {
    for (int i = 0; i < steps; ++i) {
      const StepWork work = random_work();
      learned.Observe(work, slower * machine.Predict(work) * (0.95 + 0.0001 * static_cast<double>(random() % 1000)));
    }
  };
  for (const double slower : {1.0, 3.0, 0.5}) {
    teach(slower, 1500);
    for (int i = 0; i < 100; ++i) {
      const StepWork work = random_work();
      const double truth = slower * machine.Predict(work);
      CHECK(std::abs(learned.Predict(work) - truth) < 0.12 * truth);
      CHECK(learned.PredictSafe(work) >= learned.Predict(work));
      StepWork more = work;
      more.Add(3, 100, 1);
      CHECK(learned.Predict(more) >= learned.Predict(work));
    }
  }
  CHECK(CostModel(ExpertShape{8, {128}}).DistinctExperts(1) == 8);
  CHECK(CostModel(ExpertShape{}).DistinctExperts(100) == 0);
}

}  // namespace
}  // namespace quorum::engine
