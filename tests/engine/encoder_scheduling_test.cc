// How an encoder-decoder model's sequences are scheduled, cached and answered; random loads: engine_property_test.cc.
#include <algorithm>
#include <cstdint>
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
using tok::TokenId;
using Ids = std::vector<TokenId>;

constexpr TokenId kStart = 5;

Ids Source(std::int32_t size, TokenId first = 0) {
  Ids source{first};
  for (std::int32_t i = 1; i < size; ++i) source.push_back((first + i * 7) % 31);
  return source;
}

GenerationRequest Greedy(Ids source, std::int32_t max_tokens) {
  GenerationRequest request;
  request.prompt = std::move(source);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  return request;
}

/// What a greedy request must reply under FakeModel::HashLogits, from the definition.
Ids Expected(Ids history, std::int32_t max_tokens) {
  Ids reply;
  history.push_back(kStart);
  std::vector<float> row(32);
  while (static_cast<std::int32_t>(reply.size()) < max_tokens) {
    FakeModel::HashLogits(history, row);
    reply.push_back(static_cast<TokenId>(std::max_element(row.begin(), row.end()) - row.begin()));
    history.push_back(reply.back());
  }
  return reply;
}

FakeModel::Options Encoder(FakeModel::Options options = {}) {
  options.decoder_start = kStart;
  return options;
}

TEST_CASE("A reply follows from the whole source and the start token, whoever runs beside") {
  for (const std::int32_t chunk : {1, 7, 64, 500}) {
    CoreBench bench({.max_batch = 4, .max_queue = 256, .prefill_chunk = chunk}, Encoder());
    const std::vector<std::int32_t> sizes = {1, 63, 64, 65, 200, 3};
    for (const std::int32_t size : sizes) bench.Submit(Greedy(Source(size, size % 31), 80));
    bench.Run();
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      CAPTURE(chunk, sizes[i]);
      CHECK(bench.outcome(i).choice(0).tokens == Expected(Source(sizes[i], sizes[i] % 31), 80));
    }
  }
}

TEST_CASE("A source goes in one step, others beside it as far as the chunk reaches, decoding always") {
  CoreBench bench({.max_batch = 8, .max_queue = 256, .prefill_chunk = 100}, Encoder({.max_step_tokens = 128}));
  using Record = FakeModel::SliceRecord;
  const auto last = [&] { return bench.model.steps().back(); };
  bench.Submit(Greedy(Source(3, 1), 50));
  bench.Step();
  CHECK(last() == std::vector<Record>{{1, 0, 3, 0}});
  bench.Submit(Greedy(Source(300, 2), 50));  // more than a chunk, and than a step's rows
  bench.Submit(Greedy(Source(60, 3), 50));
  bench.Submit(Greedy(Source(60, 4), 50));
  bench.Submit(Greedy(Source(40, 6), 50));
  bench.Step();
  CHECK(last() == std::vector<Record>{{1, 0, 1, 1}, {2, 0, 300, 0}});
  bench.Step();
  CHECK(last() == std::vector<Record>{{1, 1, 1, 1}, {2, 0, 1, 1}, {3, 0, 60, 0}, {6, 0, 40, 0}});
  bench.Step();
  CHECK(last() == std::vector<Record>{{1, 2, 1, 1}, {2, 1, 1, 1}, {3, 0, 1, 1}, {4, 0, 60, 0}, {6, 0, 1, 1}});
  bench.Run();
}

TEST_CASE("Only a wholly equal source is shared, also while it is computed, and by all choices") {
  CoreBench bench({.max_batch = 16, .max_queue = 256, .prefill_chunk = 500}, Encoder());
  GenerationRequest three = Greedy(Source(130, 1), 4);
  three.n = 3;
  bench.Submit(three);
  bench.Submit(Greedy(Source(130, 1), 4));
  bench.Run();
  CHECK(bench.model.tokens_computed() == 130 + 2 * 4 + 2 * 3);  // two start tokens, and three tokens of each choice
  CHECK(bench.outcome(0).choice(2).tokens == Expected(Source(130, 1), 4));
  CHECK(bench.outcome(1).choice(0).tokens == Expected(Source(130, 1), 4));
  CHECK(bench.outcome(0).events.front().cached_tokens == 0);
  CHECK(bench.outcome(1).events.front().cached_tokens == 130);

  for (Ids other : {Source(129, 1), Source(131, 1), Source(128, 1), Source(64, 1)}) {
    const std::int64_t before = bench.model.tokens_computed();
    const auto size = static_cast<std::int64_t>(other.size());
    const std::size_t request = bench.Submit(Greedy(other, 2));
    bench.Run();
    CHECK(bench.model.tokens_computed() - before == size + 2);
    CHECK(bench.outcome(request).events.front().cached_tokens == 0);
    CHECK(bench.outcome(request).choice(0).tokens == Expected(other, 2));
  }
  Ids changed = Source(130, 1);
  changed.back() = (changed.back() + 1) % 31;  // alike in the first two pages
  const std::size_t request = bench.Submit(Greedy(changed, 2));
  bench.Run();
  CHECK(bench.outcome(request).events.front().cached_tokens == 0);
  CHECK(bench.outcome(request).choice(0).tokens == Expected(changed, 2));
}

TEST_CASE("Encodings are evicted and computed again; pages of a source and a reply are counted") {
  CoreBench bench({.max_batch = 4, .max_queue = 256, .prefill_chunk = 500}, Encoder({.pages = 6}));
  CHECK(ContextLength(bench.model) == 3 * kPageTokens);
  bench.Submit(Greedy(Source(100, 1), 4));
  bench.Step();
  CHECK(bench.core.stats().pages_used == 3);
  bench.Run();
  for (TokenId first = 2; first < 6; ++first) bench.Submit(Greedy(Source(100, first), 4));
  bench.Run();
  const std::size_t again = bench.Submit(Greedy(Source(100, 1), 4));
  bench.Run();
  CHECK(bench.outcome(again).events.front().cached_tokens == 0);
  CHECK(bench.outcome(again).choice(0).tokens == Expected(Source(100, 1), 4));
}

TEST_CASE("A preempted sequence encodes again and replies as if nothing had been") {
  CoreBench bench({.max_batch = 4, .max_queue = 256, .prefill_chunk = 500}, Encoder({.pages = 8}));
  for (TokenId first = 1; first < 4; ++first) bench.Submit(Greedy(Source(60, first), 150));
  bench.Run();
  CHECK(bench.core.stats().preemptions > 0);
  for (TokenId first = 1; first < 4; ++first) {
    CHECK(bench.outcome(static_cast<std::size_t>(first) - 1).choice(0).tokens == Expected(Source(60, first), 150));
  }
}

TEST_CASE("Source and reply may be as long as the context, each") {
  CoreBench bench({}, Encoder({.context = 100}));
  const std::size_t request = bench.Submit(Greedy(Source(100, 1), 1000));
  bench.Run();
  CHECK(bench.outcome(request).choice(0).tokens.size() == 99);  // and the start token
  CHECK(bench.outcome(request).choice(0).finish == FinishReason::kLength);
  CHECK(CheckRequest(Greedy(Source(100), 1), 32, 100, true).ok());
  const Status longer = CheckRequest(Greedy(Source(101), 1), 32, 100, true);
  REQUIRE_FALSE(longer.ok());
  CHECK(longer.error().reason == "context_length_exceeded");
  GenerationRequest scored = Greedy(Source(10), 1);
  scored.prompt_logprobs = true;
  const Status refused = CheckRequest(scored, 32, 100, true);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().param == "echo");
}

TEST_CASE("Penalties see the reply, not the source") {
  CoreBench bench({}, Encoder());
  bench.model.logits = [](std::span<const TokenId>, std::span<float> row) {
    std::fill(row.begin(), row.end(), 1.0F);
    row[7] = 2.0F;
    row[9] = 1.9F;
  };
  GenerationRequest request = Greedy({7, 7, 7}, 2);
  request.sampling.repetition_penalty = 1.5F;
  bench.Submit(request);
  bench.Run();
  CHECK(bench.outcome(0).choice(0).tokens == Ids{7, 9});
}

}  // namespace
}  // namespace quorum::engine
