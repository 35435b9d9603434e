// What is shared between requests: prefixes of live, finished, cancelled and stored sequences.
#include "engine/engine_core.h"

#include <algorithm>
#include <vector>

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

TEST_CASE("A repeated prompt reports exactly the tokens that were not computed") {
  CoreBench bench;
  bench.Submit(Greedy(Prompt(150), 1));
  bench.Run();
  const std::int64_t before = bench.model.tokens_computed();
  bench.Submit(Greedy(Prompt(150), 1));
  bench.Run();
  CHECK(bench.outcome(0).events[0].cached_tokens == 0);
  CHECK(bench.outcome(1).events[0].cached_tokens == 149);
  CHECK(bench.model.tokens_computed() - before == 1);
  CHECK(bench.core.stats().cached_tokens == 149);
  CHECK(bench.core.stats().prompt_tokens == 300);
}

TEST_CASE(
    "Eight requests at once with one system prompt compute it once, and a second identical one computes one token") {
  CoreBench bench({.max_batch = 8, .max_queue = 256, .prefill_chunk = 256}, {.pages = 256});
  const std::vector<TokenId> system = Prompt(1000);
  for (TokenId i = 0; i < 8; ++i) {
    std::vector<TokenId> prompt = system;
    for (int j = 0; j < 20; ++j) prompt.push_back((i * 3 + j * j) % 31);
    prompt[1000] = i;  // they part right behind it
    bench.Submit(Greedy(std::move(prompt), 1));
  }
  bench.Run();
  CHECK(bench.core.stats().computed_tokens == 1000 + 8 * 20);
  CHECK(bench.core.stats().cached_tokens == 7 * 1000);
  CHECK(bench.core.stats().prompt_tokens == 8 * 1020);

  const std::int64_t before = bench.core.stats().computed_tokens;
  const std::size_t again = bench.Submit(Greedy(Prompt(1000), 1));
  bench.Run();
  CHECK(bench.core.stats().computed_tokens == before + 1);
  CHECK(bench.outcome(again).events.front().cached_tokens == 999);
}

TEST_CASE("n choices share one prefill to the token") {
  CoreBench bench;
  GenerationRequest request = Greedy(Prompt(150), 2);
  request.sampling.temperature = 1;
  request.n = 5;
  request.ignore_eos = true;
  bench.Submit(request);
  bench.Run();
  CHECK(bench.core.stats().computed_tokens == 150 + 5);  // and each choice's first token
}

TEST_CASE("What a cancelled request computed of its prompt serves the next try") {
  CoreBench bench({.max_batch = 4, .max_queue = 4, .prefill_chunk = 100});
  bench.Submit(Greedy(Prompt(500), 5));
  for (int i = 0; i < 3; ++i) bench.Step();
  bench.Cancel(0);
  bench.Step();
  CHECK(bench.outcome(0).over);
  const std::size_t retry = bench.Submit(Greedy(Prompt(500), 5));
  bench.Run();
  CHECK(bench.outcome(retry).events.front().cached_tokens == 300);
  CHECK(bench.outcome(retry).choice(0).tokens == Expected(Prompt(500), 5, 31));
}

TEST_CASE("The cache can say where a prompt departs from what it knew") {
  CoreBench bench;
  bench.Submit(Greedy(Prompt(200), 1));
  bench.Run();
  std::vector<TokenId> other = Prompt(200);
  other[130] = (other[130] + 1) % 31;
  GenerationRequest request = Greedy(other, 1);
  request.explain_cache = true;
  const std::size_t differs = bench.Submit(request);
  bench.Run();
  request.prompt = Prompt(200);
  const std::size_t same = bench.Submit(request);
  bench.Run();
  CHECK(bench.outcome(differs).events.front().known_tokens == 130);
  CHECK(bench.outcome(differs).events.front().cached_tokens == 130);
  CHECK(bench.outcome(same).events.front().known_tokens == 200);
  CHECK(bench.outcome(same).events.front().cached_tokens == 199);
  CHECK(bench.outcome(0).events.front().known_tokens == -1);  // not asked for
}

TEST_CASE("Chosen prefixes go to another engine and are not computed again there, each for its own experts") {
  const FakeModel::Options model{.experts = {2, {4}}};
  std::vector<StoredPrefix> stored;
  {
    CoreBench bench({}, model);
    GenerationRequest request = Greedy(Prompt(200), 1);
    bench.Submit(request);  // not chosen
    request.prompt = Prompt(150, 3);
    request.save_prefix = true;
    bench.Submit(request);
    request.experts.top_k = 3;
    bench.Submit(request);
    bench.Submit(request);
    bench.Run();
    CHECK(bench.core.prefixes_changed());
    stored = bench.core.ExportPrefixes();
    CHECK_FALSE(bench.core.prefixes_changed());
    CHECK(bench.core.scheduler().cache().referenced() == 0);
  }
  REQUIRE(stored.size() == 2);
  CHECK(stored[0].tokens.size() == 128);
  CoreBench bench({}, model);
  stored.push_back(stored[0]);  // twice the same
  stored.push_back({"", std::vector<TokenId>(64, 99), std::vector<std::byte>(stored[0].pages.size() / 2)});
  bench.core.ImportPrefixes(std::move(stored));
  CHECK(bench.core.scheduler().cache().cached() == 4);
  GenerationRequest request = Greedy(Prompt(150, 3), 5);
  const std::size_t plain = bench.Submit(request);
  request.experts.top_k = 3;
  const std::size_t three = bench.Submit(request);
  request.experts.top_k = 4;
  const std::size_t four = bench.Submit(request);
  bench.Run();
  CHECK(bench.outcome(plain).events.front().cached_tokens == 128);
  CHECK(bench.outcome(three).events.front().cached_tokens == 128);
  CHECK(bench.outcome(four).events.front().cached_tokens == 0);
  CHECK(bench.outcome(plain).choice(0).tokens == Expected(Prompt(150, 3), 5, 31));
  CHECK(bench.core.ExportPrefixes().size() == 2);
}

/// A model whose windowed layers have memory for two sequences with steps of 64 tokens, and `spare` pages more.
FakeModel::Options Windowed(std::int32_t window, std::int32_t spare) {
  const auto enough = static_cast<std::int32_t>(WindowPages::Enough(2, window, 64));
  return {.pages = 128, .max_step_tokens = 64, .window = {window, enough + spare}};
}

TEST_CASE("A long sequence needs no more windowed memory than its window and a step") {
  CoreBench bench({.max_batch = 8}, Windowed(100, 0));
  bench.Submit(Greedy(Prompt(3000), 50));
  bench.Submit(Greedy(Prompt(2000, 3), 90));
  bench.Submit(Greedy(Prompt(900, 5), 30));
  std::int32_t most = 0;
  while (bench.Step()) most = std::max(most, bench.core.scheduler().cache().windows().used());
  CHECK(most <= 2 * 4 + 2);  // of 95 pages
  CHECK(most >= 4);
  CHECK(bench.core.scheduler().cache().windows().used() == 0);
  CHECK(bench.outcome(0).choice(0).tokens == Expected(Prompt(3000), 50, 31));
  CHECK(bench.outcome(1).choice(0).tokens == Expected(Prompt(2000, 3), 90, 31));
}

TEST_CASE("A prefix is shared where the window before its end is still there, and computed again where it is not") {
  CoreBench bench({.max_batch = 1}, Windowed(100, 4));
  const auto cached = [&bench](std::int32_t prompt, std::int32_t seed, std::int32_t own) {
    std::vector<TokenId> tokens = Prompt(prompt, seed);
    for (std::int32_t i = 0; i < own; ++i) tokens.push_back(own % 31);
    const std::size_t index = bench.Submit(Greedy(tokens, 3));
    bench.Run();
    CHECK(bench.outcome(index).choice(0).tokens == Expected(tokens, 3, 31));
    return bench.outcome(index).events.front().cached_tokens;
  };
  CHECK(cached(1000, 0, 0) == 0);
  CHECK(cached(1000, 0, 7) == 1000);  // goes on where the first one ended
  CHECK(cached(1000, 0, 9) == 1000);
  CHECK(cached(300, 0, 40) == 0);    // full layers know it, windowed ones have forgotten
  CHECK(cached(300, 0, 50) == 300);  // now they have it again
  CHECK(cached(2000, 3, 0) == 0);    // its passing pages do not drive out those that were met again
  CHECK(cached(300, 0, 60) == 300);
}

TEST_CASE("Chosen prefixes of windowed layers are stored where a sequence can go on behind them") {
  const FakeModel::Options model = Windowed(100, 4);
  std::vector<StoredPrefix> stored;
  {
    CoreBench bench({}, model);
    GenerationRequest request = Greedy(Prompt(640, 3), 1);
    request.save_prefix = true;
    bench.Submit(request);
    bench.Run();
    stored = bench.core.ExportPrefixes();
  }
  REQUIRE(stored.size() == 1);
  CHECK(stored[0].tokens.size() == 640);
  CoreBench bench({}, model);
  bench.core.ImportPrefixes(std::move(stored));
  CHECK(bench.core.scheduler().cache().windows().used() == 0);
  std::vector<TokenId> longer = Prompt(640, 3);
  longer.insert(longer.end(), {4, 4, 4});
  const std::size_t index = bench.Submit(Greedy(longer, 5));
  bench.Run();
  CHECK(bench.outcome(index).events.front().cached_tokens == 640);
  CHECK(bench.outcome(index).choice(0).tokens == Expected(longer, 5, 31));
}

}  // namespace
}  // namespace quorum::engine
