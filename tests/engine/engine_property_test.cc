// Random requests of every kind under random limits: each must get the answer that it gets when it runs alone.
#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "engine/engine_core.h"
#include "tests/support/catch.h"
#include "tests/support/core_bench.h"
#include "tests/support/fake_model.h"

namespace quorum::engine {
namespace {

using test::CoreBench;
using test::FakeModel;
using test::Outcome;

class Dice {
 public:
  explicit Dice(unsigned seed) : random_(seed) {}
  /// A number in [low, high].
  std::int32_t In(std::int32_t low, std::int32_t high) {
    return low + static_cast<std::int32_t>(random_() % static_cast<unsigned>(high - low + 1));
  }
  bool OneIn(std::int32_t n) { return In(1, n) == 1; }

 private:
  std::mt19937 random_;
};

GenerationRequest RandomRequest(Dice& dice) {
  GenerationRequest request;
  // One of three stems, so that prefixes are shared, and an end of its own.
  const std::int32_t stem = dice.In(0, 2);
  for (std::int32_t i = dice.In(0, dice.OneIn(3) ? 200 : 20); i > 0; --i) request.prompt.push_back((stem + i / 9) % 31);
  std::reverse(request.prompt.begin(), request.prompt.end());
  for (std::int32_t i = dice.In(1, dice.OneIn(4) ? 150 : 10); i > 0; --i) request.prompt.push_back(dice.In(0, 31));
  request.max_tokens = dice.OneIn(10) ? 0 : dice.In(1, dice.OneIn(2) ? 250 : 20);
  request.n = dice.OneIn(4) ? dice.In(2, 4) : 1;
  request.ignore_eos = !dice.OneIn(3);
  request.logprobs = dice.OneIn(4);
  request.top_logprobs = dice.In(0, 3);
  request.prompt_logprobs = dice.OneIn(6);
  if (dice.OneIn(4)) request.stop = {"ab", "c3", std::string(1, static_cast<char>('a' + dice.In(0, 25)))};
  if (dice.OneIn(8)) request.stop_ids = {dice.In(0, 31)};
  if (dice.OneIn(3)) request.experts.top_k = dice.In(1, 4);
  if (dice.OneIn(6)) request.experts.masked = {{-1, dice.In(0, 3)}, {0, dice.In(0, 3)}};
  request.experts.report = dice.OneIn(8);
  request.priority = dice.OneIn(3) ? dice.In(-2, 2) : 0;
  request.explain_cache = dice.OneIn(5);
  request.reuse_prefix = !dice.OneIn(6);
  if (dice.OneIn(8)) request.thinking = {.open = {5}, .close = {6}, .forced = {7, 6}, .budget = dice.In(-1, 9)};
  SamplingParams& sampling = request.sampling;
  sampling.temperature = dice.OneIn(3) ? 0.0F : static_cast<float>(dice.In(1, 4)) * 0.5F;
  sampling.seed = static_cast<std::uint64_t>(dice.In(0, 1000));
  if (dice.OneIn(4)) sampling.top_k = dice.In(1, 40);
  if (dice.OneIn(4)) sampling.top_p = 0.8F;
  if (dice.OneIn(6)) sampling.min_p = 0.1F;
  if (dice.OneIn(6)) sampling.typical_p = 0.7F;
  if (dice.OneIn(5)) sampling.presence_penalty = 0.7F;
  if (dice.OneIn(5)) sampling.frequency_penalty = -0.3F;
  if (dice.OneIn(5)) sampling.repetition_penalty = 1.3F;
  if (dice.OneIn(6)) sampling.logit_bias = {{dice.In(0, 31), -100.0F}, {dice.In(0, 31), 3.0F}};
  return request;
}

/// Which kind of model; `window`: of layers that have no memory for more (0: there are none).
struct Kind {
  std::optional<tok::TokenId> decoder_start = {};
  std::int32_t window = 0;
};

FakeModel::Options Fake(const std::optional<tok::TokenId>& decoder_start, std::int32_t pages = 64,
                        std::int32_t tokens = 512, std::int32_t logits = 64) {
  return {.pages = pages,
          .max_step_tokens = tokens,
          .max_step_logits = logits,
          .decoder_start = decoder_start,
          .experts = {2, {4, 0, 4}}};
}

Outcome RunAlone(const GenerationRequest& request, std::optional<tok::TokenId> decoder_start) {
  CoreBench bench({}, Fake(decoder_start));
  bench.Submit(request);
  bench.Run();
  return bench.outcome(0);
}

void RunRounds(const Kind& kind) {
  const auto& decoder_start = kind.decoder_start;
  std::int64_t preemptions = 0;
  std::int64_t cached = 0;
  std::int64_t cancelled = 0;
  std::int64_t accepted = 0;
  for (unsigned round = 0; round < 24; ++round) {
    Dice dice(round);
    const EngineOptions options{.max_batch = dice.In(1, 16),
                                .max_queue = 256,
                                .prefill_chunk = dice.In(1, 200),
                                .max_itl_ms = dice.OneIn(2) ? 1e-3 * dice.In(1, 1000) : 0,
                                .speculate = dice.OneIn(3) ? 0 : dice.In(1, 6),
                                .speculate_always = dice.OneIn(2)};
    FakeModel::Options model =
        Fake(decoder_start, dice.In(10, 14) + (decoder_start ? 2 : 0), dice.In(8, 256), dice.In(1, 40));
    if (kind.window > 0) {  // enough for some sequences, and little more
      const std::int64_t places = WindowPages::Enough(dice.In(1, 6), kind.window, model.max_step_tokens);
      model.window = {kind.window, static_cast<std::int32_t>(places) + dice.In(0, 2)};
    }
    CoreBench bench(options, model);
    constexpr std::size_t kRequests = 100;
    std::vector<GenerationRequest> requests;
    std::vector<bool> was_cancelled(kRequests, false);
    while (requests.size() < kRequests || !bench.core.idle()) {
      if (requests.size() < kRequests && dice.OneIn(2)) {
        requests.push_back(RandomRequest(dice));
        if (decoder_start) {  // whose prompts are shared as a whole, or not at all
          requests.back().prompt_logprobs = false;
          const std::int32_t before = static_cast<std::int32_t>(requests.size()) - 2;
          if (before >= 0 && dice.OneIn(2)) {
            requests.back().prompt = requests[static_cast<std::size_t>(dice.In(0, before))].prompt;
          }
        }
        bench.Submit(requests.back());
      }
      if (!requests.empty() && dice.OneIn(20)) {
        const auto victim = static_cast<std::size_t>(dice.In(0, static_cast<std::int32_t>(requests.size()) - 1));
        was_cancelled[victim] = was_cancelled[victim] || !bench.outcome(victim).over;
        bench.Cancel(victim);
      }
      bench.Step();
      REQUIRE(bench.model.faults().empty());
    }
    for (std::size_t i = 0; i < kRequests; ++i) {
      CAPTURE(round, i);
      const Outcome alone = RunAlone(requests[i], decoder_start);
      if (was_cancelled[i]) {
        CHECK(bench.outcome(i).over);
        CHECK(bench.outcome(i).IsBeginningOf(alone));
      } else {
        CHECK(bench.outcome(i) == alone);
      }
      const std::vector<Event>& events = bench.outcome(i).events;
      if (!requests[i].reuse_prefix && !events.empty()) CHECK(events.front().cached_tokens == 0);
    }
    const EngineStats stats = bench.core.stats();
    CHECK(stats.finished + stats.cancelled == kRequests);
    CHECK(stats.running + stats.waiting + stats.pages_used == 0);
    preemptions += stats.preemptions;
    cached += stats.cached_tokens;
    cancelled += stats.cancelled;
    accepted += stats.accepted_tokens;
  }
  // The rounds did meet what they are about.
  CHECK(preemptions > 20);
  CHECK(cached > 5000);
  CHECK(cancelled > 50);
  CHECK(accepted > 100);
}

TEST_CASE("Thousands of random requests: each answer equals the one when alone, and all pages come back") {
  RunRounds({});
}

TEST_CASE("The same of an encoder-decoder model") { RunRounds({.decoder_start = 5}); }

TEST_CASE("The same of a model with windowed layers that have memory for little more than the windows") {
  for (const std::int32_t window : {1, 70}) RunRounds({.window = window});
}

}  // namespace
}  // namespace quorum::engine
