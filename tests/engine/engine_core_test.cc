// The engine core: what is refused, what fails, what is cancelled, preempted or timed out.
#include "engine/engine_core.h"

#include <functional>
#include <limits>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/core_bench.h"
#include "tests/support/core_requests.h"
#include "tests/support/fake_model.h"

namespace quorum::engine {
namespace {

using test::CoreBench;
using test::Expected;
using test::FakeModel;
using test::Greedy;
using test::Prompt;
using tok::TokenId;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST_CASE("Broken logits fail their request only") {
  CoreBench bench;
  bench.model.logits = [](std::span<const TokenId> history, std::span<float> row) {
    FakeModel::HashLogits(history, row);
    if (history[0] == 5 && history.size() > 12) row[17] = kNan;
    if (history[0] == 6 && history.size() == 4) row[17] = kNan;
  };
  GenerationRequest broken = Greedy(Prompt(10, 5), 40);
  broken.ignore_eos = true;
  broken.n = 3;
  GenerationRequest scored = Greedy(Prompt(10, 6), 4);
  scored.prompt_logprobs = true;
  bench.Submit(Greedy(Prompt(10, 1), 40));
  bench.Submit(broken);
  bench.Submit(scored);
  bench.Submit(Greedy(Prompt(10, 2), 40));
  bench.Run();
  CHECK(bench.outcome(0).choice(0).tokens == Expected(Prompt(10, 1), 40, 31));
  CHECK(bench.outcome(3).choice(0).tokens == Expected(Prompt(10, 2), 40, 31));
  for (const std::size_t i : {1U, 2U}) {
    REQUIRE(bench.outcome(i).events.back().kind == Event::Kind::kError);
    CHECK(bench.outcome(i).events.back().error.code == ErrorCode::kInternal);
    CHECK(bench.outcome(i).over);
  }
  CHECK(bench.outcome(1).choice(0).tokens.size() == 3);
  CHECK(bench.core.stats().failed == 2);
  CHECK(bench.core.stats().finished == 2);
}

TEST_CASE("A step that fails takes the running requests with it, and the engine lives") {
  CoreBench bench({.max_batch = 2, .max_queue = 256, .prefill_chunk = 512});
  for (TokenId i = 0; i < 4; ++i) bench.Submit(Greedy(Prompt(10, i), 20));
  bench.Step();
  bench.model.before_step = [](std::span<const StepSlice>) -> Status { return Internal("out of luck"); };
  bench.Step();
  bench.model.before_step = nullptr;
  bench.Run();
  for (const std::size_t i : {0U, 1U}) {
    REQUIRE(bench.outcome(i).events.back().kind == Event::Kind::kError);
    CHECK(bench.outcome(i).events.back().error.message == "out of luck");
  }
  for (const TokenId i : {2, 3}) {
    CHECK(bench.outcome(static_cast<std::size_t>(i)).choice(0).tokens == Expected(Prompt(10, i), 20, 31));
  }
  CHECK(bench.core.stats().failed == 2);
  CHECK(bench.core.stats().finished == 2);
}

TEST_CASE("Cancelling works at every stage within one step and changes nothing for others") {
  CoreBench bench({.max_batch = 3, .max_queue = 256, .prefill_chunk = 32});
  const auto endless = [](TokenId first, std::int32_t size, std::int32_t n) {
    GenerationRequest request = Greedy(Prompt(size, first), 100);
    request.ignore_eos = true;
    request.n = n;
    return request;
  };
  const std::size_t other = bench.Submit(endless(1, 5, 1));
  const std::size_t decoding = bench.Submit(endless(2, 5, 2));
  bench.Step();
  bench.Step();
  const std::size_t prompting = bench.Submit(endless(3, 500, 2));
  const std::size_t queued = bench.Submit(endless(4, 5, 1));
  // The second choice of `decoding` may still wait; one slot is taken by it or by the long prompt.
  for (int i = 0; i < 3; ++i) bench.Step();
  bench.Cancel(queued);
  bench.Cancel(decoding);
  bench.Step();
  CHECK(bench.outcome(queued).over);
  CHECK(bench.outcome(queued).choice(0).finish == FinishReason::kCancelled);
  CHECK(bench.outcome(queued).choice(0).completion_tokens == 0);
  CHECK(bench.outcome(decoding).over);
  CHECK(bench.outcome(decoding).choice(0).finish == FinishReason::kCancelled);
  CHECK(bench.outcome(decoding).choice(1).finish == FinishReason::kCancelled);
  CHECK(bench.outcome(decoding).choice(0).tokens.size() >= 3);
  bench.Step();
  bench.Cancel(prompting);
  bench.Step();
  CHECK(bench.outcome(prompting).over);
  CHECK(bench.outcome(prompting).events.size() == 2);
  CHECK(bench.core.stats().running == 1);
  CHECK(bench.core.stats().pages_used == 1);
  CHECK(bench.core.stats().cancelled == 3);
  bench.Run();
  CHECK(bench.outcome(other).choice(0).tokens.size() == 100);
  CoreBench alone;
  alone.Submit(endless(1, 5, 1));
  alone.Run();
  CHECK(alone.outcome(0).choice(0).tokens == bench.outcome(other).choice(0).tokens);
}

TEST_CASE("Sequences that are preempted and computed again reply as if they had not been") {
  CoreBench tight({}, {.pages = 5});
  CoreBench ample;
  for (CoreBench* bench : {&tight, &ample}) {
    for (TokenId i = 0; i < 6; ++i) {
      GenerationRequest request;
      request.prompt = Prompt(40, i);
      request.max_tokens = 150;
      request.ignore_eos = true;
      request.logprobs = true;
      request.sampling.seed = static_cast<std::uint64_t>(i);
      request.sampling.frequency_penalty = 0.5F;
      bench->Submit(std::move(request));
    }
    bench->Run();
  }
  CHECK(tight.core.stats().preemptions > 0);
  CHECK(ample.core.stats().preemptions == 0);
  for (std::size_t i = 0; i < 6; ++i) CHECK(tight.outcome(i) == ample.outcome(i));
}

TEST_CASE("Requests are refused with the field at fault") {
  const auto fault = [](const std::function<void(GenerationRequest&)>& change) {
    GenerationRequest request = Greedy(Prompt(5), 5);
    change(request);
    const Status status = CheckRequest(request, 32, 100);
    if (status.ok()) return std::string("ok");
    CHECK(status.error().code == ErrorCode::kInvalidArgument);
    return status.error().param + "/" + status.error().reason;
  };
  CHECK(fault([](GenerationRequest&) {}) == "ok");
  CHECK(fault([](GenerationRequest& r) { r.prompt.clear(); }) == "prompt/");
  CHECK(fault([](GenerationRequest& r) { r.prompt[3] = 32; }) == "prompt/");
  CHECK(fault([](GenerationRequest& r) { r.prompt[3] = -1; }) == "prompt/");
  CHECK(fault([](GenerationRequest& r) { r.max_tokens = -1; }) == "max_tokens/");
  CHECK(fault([](GenerationRequest& r) { r.n = 0; }) == "n/");
  CHECK(fault([](GenerationRequest& r) { r.n = 129; }) == "n/");
  CHECK(fault([](GenerationRequest& r) { r.top_logprobs = -1; }) == "top_logprobs/");
  CHECK(fault([](GenerationRequest& r) { r.stop = {"\xFF"}; }) == "stop/");
  CHECK(fault([](GenerationRequest& r) { r.stop.assign(65, "x"); }) == "stop/");
  CHECK(fault([](GenerationRequest& r) { r.stop = {std::string(70000, 'x')}; }) == "stop/");
  CHECK(fault([](GenerationRequest& r) { r.sampling.top_p = 2; }) == "top_p/");
  CHECK(fault([](GenerationRequest& r) { r.prompt = Prompt(99); }) == "ok");
  CHECK(fault([](GenerationRequest& r) { r.prompt = Prompt(100); }) == "prompt/context_length_exceeded");
  CHECK(fault([](GenerationRequest& r) {
          r.prompt = Prompt(100);
          r.max_tokens = 0;
        }) == "ok");
  GenerationRequest request = Greedy(Prompt(120), 5);
  CHECK(CheckRequest(request, 32, 100).error().message ==
        "prompt is too long: 120 tokens > 99 maximum. This model's maximum context length is 100 tokens, and the reply "
        "needs at least 1.");
}

TEST_CASE("A time limit ends a request as it is, or refuses it when its turn never came") {
  CoreBench bench({.max_batch = 1});
  GenerationRequest slow = Greedy(Prompt(10), 1000);
  slow.ignore_eos = true;
  slow.time_limit = std::chrono::seconds(5);
  GenerationRequest waits = slow;
  waits.time_limit = std::chrono::seconds(3);
  bench.Submit(slow);
  bench.Submit(waits);
  for (int i = 0; i < 20; ++i) bench.Step();
  CHECK_FALSE(bench.outcome(1).over);
  bench.now += std::chrono::seconds(4);
  bench.Step();
  CHECK(bench.outcome(1).over);
  CHECK(bench.outcome(1).events.back().kind == Event::Kind::kError);
  CHECK(bench.outcome(1).events.back().error.reason == "timeout");
  CHECK_FALSE(bench.outcome(0).over);
  bench.now += std::chrono::seconds(2);
  bench.Step();
  CHECK(bench.outcome(0).over);
  CHECK(bench.outcome(0).choice(0).finish == FinishReason::kTimeLimit);
  CHECK(bench.outcome(0).choice(0).tokens.size() > 10);
  CHECK(bench.core.idle());
  CHECK(bench.core.stats().timed_out == 2);
}

TEST_CASE("A short prompt behind a long one has its first token long before the long one is done") {
  CoreBench bench({.max_batch = 4, .prefill_chunk = 64}, {.pages = 256});
  bench.Submit(Greedy(Prompt(4000), 1));
  bench.Step();
  bench.Submit(Greedy(Prompt(40, 3), 1));
  int steps = 0;
  for (; !bench.outcome(1).over; ++steps) bench.Step();
  CHECK(steps <= 3);
  CHECK_FALSE(bench.outcome(0).over);
}

}  // namespace
}  // namespace quorum::engine
