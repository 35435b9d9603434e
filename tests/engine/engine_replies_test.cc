// What replies hold and how they end.
#include "engine/engine_core.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "engine/kernels/dispatch.h"
#include "tests/support/catch.h"
#include "tests/support/core_bench.h"
#include "tests/support/core_requests.h"
#include "tests/support/fake_model.h"

namespace quorum::engine {
namespace {

using test::CoreBench;
using test::Expected;
using test::FakeModel;
using test::FakeTokenizer;
using test::Greedy;
using test::Outcome;
using test::Prompt;
using tok::TokenId;

TEST_CASE("A greedy reply is what the model says, however prompts are chunked and whoever runs beside") {
  for (const std::int32_t chunk : {1, 7, 64, 500}) {
    CoreBench bench({.max_batch = 4, .max_queue = 256, .prefill_chunk = chunk});
    for (const std::int32_t size : {1, 63, 64, 65, 200, 3}) bench.Submit(Greedy(Prompt(size, size % 31), 80));
    bench.Run();
    std::size_t at = 0;
    for (const std::int32_t size : {1, 63, 64, 65, 200, 3}) {
      CAPTURE(chunk, size);
      CHECK(bench.outcome(at++).choice(0).tokens == Expected(Prompt(size, size % 31), 80, 31));
    }
  }
}

TEST_CASE("Events: the prompt, each token with its text, the end") {
  CoreBench bench;
  bench.model.logits = FakeModel::Saying(3, {7, 4, 11, 11, 14, 31});  // "hello", EOS
  bench.Submit(Greedy(Prompt(3), 10));
  bench.Run();
  const Outcome& outcome = bench.outcome(0);
  REQUIRE(outcome.events.size() == 8);
  CHECK(outcome.events[0].kind == Event::Kind::kPrompt);
  CHECK(outcome.events[0].prompt_logprobs.empty());
  CHECK(outcome.events[1].kind == Event::Kind::kToken);
  CHECK(outcome.events[1].token == 7);
  CHECK(outcome.events[1].text == "h");
  CHECK_FALSE(outcome.events[5].ends_text);
  CHECK(outcome.events[6].token == 31);
  CHECK(outcome.events[6].ends_text);
  CHECK(outcome.events[6].text.empty());
  const Event& end = outcome.events[7];
  CHECK(end.kind == Event::Kind::kFinish);
  CHECK(end.finish == FinishReason::kStop);
  CHECK(end.stop_text.empty());
  CHECK(end.completion_tokens == 6);
  CHECK(outcome.choice(0).text == "hello");
  CHECK(bench.core.stats().prompt_tokens == 3);
  CHECK(bench.core.stats().generated_tokens == 6);
  CHECK(bench.core.stats().steps == 6);
  CHECK(bench.core.stats().finished == 1);
}

TEST_CASE("What ends a reply: the limit, EOS, stop ids; and what does not") {
  const auto run = [](const std::function<void(GenerationRequest&)>& change) {
    CoreBench bench;
    bench.model.logits = FakeModel::Saying(3, {7, 31, 4, 5, 6});
    GenerationRequest request = Greedy(Prompt(3), 5);
    change(request);
    bench.Submit(std::move(request));
    bench.Run();
    return bench.outcome(0).choice(0);
  };
  const auto plain = run([](GenerationRequest&) {});
  CHECK(plain.tokens == std::vector<TokenId>{7, 31});
  CHECK(plain.finish == FinishReason::kStop);
  const auto ignoring = run([](GenerationRequest& r) { r.ignore_eos = true; });
  CHECK(ignoring.tokens == std::vector<TokenId>{7, 31, 4, 5, 6});
  CHECK(ignoring.finish == FinishReason::kLength);
  CHECK(ignoring.text == "hefg");
  CHECK(ignoring.ends_text == 0);
  const auto control = run([](GenerationRequest& r) { r.ignore_eos = r.include_control_text = true; });
  CHECK(control.text == "h<eos>efg");
  const auto ids = run([](GenerationRequest& r) {
    r.ignore_eos = true;
    r.stop_ids = {9, 5, 4};
  });
  CHECK(ids.tokens == std::vector<TokenId>{7, 31, 4});
  CHECK(ids.finish == FinishReason::kStop);
  CHECK(ids.text == "h");
  CHECK(ids.ends_text == 1);
  const auto at_limit = run([](GenerationRequest& r) { r.max_tokens = 2; });
  CHECK(at_limit.finish == FinishReason::kStop);  // EOS as the last token that was allowed
}

TEST_CASE("Stop strings work across tokens; what was held back comes out at the end") {
  const auto run = [](std::vector<std::string> stops, std::int32_t max_tokens) {
    CoreBench bench;
    bench.model.logits = FakeModel::Saying(1, {0, 1, 2, 3, 4, 31});  // "abcde", EOS
    GenerationRequest request = Greedy(Prompt(1), max_tokens);
    request.stop = std::move(stops);
    bench.Submit(std::move(request));
    bench.Run();
    return bench.outcome(0).choice(0);
  };
  const auto cut = run({"xyz", "cd"}, 10);
  CHECK(cut.text == "ab");
  CHECK(cut.stop_text == "cd");
  CHECK(cut.finish == FinishReason::kStop);
  CHECK(cut.completion_tokens == 4);
  CHECK(cut.ends_text == 1);
  const auto eos = run({"dex"}, 10);
  CHECK(eos.text == "abcde");
  CHECK(eos.stop_text.empty());
  const auto limit = run({"cdx"}, 4);
  CHECK(limit.text == "abcd");
  CHECK(limit.finish == FinishReason::kLength);
  const auto both = run({"d"}, 4);  // completed by the last token allowed
  CHECK(both.finish == FinishReason::kStop);
  CHECK(both.text == "abc");
  CHECK(run({""}, 2).text == "ab");
}

TEST_CASE("Characters that are split over tokens come whole; a broken tail becomes one replacement character") {
  std::vector<std::string> pieces{"x", "\xE2\x82", "\xAC", "\xF0\x9F\x98", "\x80!", "<eos>", "p"};
  CoreBench bench({}, {.vocab = 7}, FakeTokenizer(pieces, {5}, {5}));
  bench.model.logits = FakeModel::Saying(1, {1, 2, 3, 4, 1, 5});
  bench.Submit(Greedy({6}, 10));
  bench.Run();
  CHECK(bench.outcome(0).choice(0).text == "\xE2\x82\xAC\xF0\x9F\x98\x80!\xEF\xBF\xBD");
  for (const Event& event : bench.outcome(0).events) CHECK(tok::IsValidUtf8(event.text));
  // A stop string whose middle is a split character.
  GenerationRequest request = Greedy({6}, 10);
  request.stop = {"\xE2\x82\xAC\xF0\x9F\x98\x80"};
  bench.Submit(std::move(request));
  bench.Run();
  CHECK(bench.outcome(1).choice(0).text.empty());
  CHECK(bench.outcome(1).choice(0).stop_text.size() == 7);
}

TEST_CASE("Penalties see the prompt and the reply so far") {
  CoreBench bench;
  bench.model.logits = FakeModel::Saying(3, {7});  // 10 for token 7, 0 for all others
  GenerationRequest frequency = Greedy({7, 1, 2}, 4);
  frequency.sampling.frequency_penalty = 6;
  bench.Submit(frequency);
  GenerationRequest repetition = Greedy({7, 1, 2}, 2);
  repetition.sampling.repetition_penalty = 4;
  repetition.sampling.logit_bias = {{9, 2.6F}};
  bench.Submit(repetition);
  repetition.prompt = {3, 1, 2};
  repetition.n = 2;
  bench.Submit(repetition);
  bench.Run();
  CHECK(bench.outcome(0).choice(0).tokens == std::vector<TokenId>{7, 7, 0, 1});
  CHECK(bench.outcome(1).choice(0).tokens == std::vector<TokenId>{9, 9});
  CHECK(bench.outcome(2).choice(0).tokens == std::vector<TokenId>{7, 9});
  CHECK(bench.outcome(2).choice(1).tokens == std::vector<TokenId>{7, 9});
}

TEST_CASE("Log-probabilities are those of the raw logits, penalties and bias or not") {
  CoreBench bench;
  GenerationRequest request = Greedy(Prompt(5), 4);
  request.logprobs = true;
  request.top_logprobs = 3;
  request.sampling.logit_bias = {{12, 100.0F}};
  bench.Submit(request);
  bench.Run();
  std::vector<TokenId> history = request.prompt;
  std::vector<float> row(32);
  int seen = 0;
  for (const Event& event : bench.outcome(0).events) {
    if (event.kind != Event::Kind::kToken) continue;
    ++seen;
    CHECK(event.token == 12);
    FakeModel::HashLogits(history, row);
    double sum = 0;
    for (const float x : row) sum += std::exp(static_cast<double>(x));
    CHECK(std::abs(static_cast<double>(event.logprob) - (static_cast<double>(row[12]) - std::log(sum))) < 1e-5);
    REQUIRE(event.top_logprobs.size() == 3);
    CHECK(event.top_logprobs[0].id == std::max_element(row.begin(), row.end()) - row.begin());
    CHECK(event.top_logprobs[0].logprob > event.top_logprobs[1].logprob);
    history.push_back(event.token);
  }
  CHECK(seen == 4);
}

TEST_CASE("Prompt scores cover every token in chunks that fit the rows of logits, cached prefix or not") {
  CoreBench bench({}, {.max_step_tokens = 96, .max_step_logits = 10});
  for (int round = 0; round < 2; ++round) {
    GenerationRequest request = Greedy(Prompt(150), round == 0 ? 0 : 3);
    request.prompt_logprobs = true;
    request.top_logprobs = 2;
    request.n = 2;
    bench.Submit(request);
    bench.Submit(Greedy(Prompt(20), 30));
    bench.Run();
    const Outcome& outcome = bench.outcome(static_cast<std::size_t>(2 * round));
    REQUIRE(outcome.events.front().kind == Event::Kind::kPrompt);
    const Event& prompt = outcome.events.front();
    CHECK(prompt.cached_tokens == 0);
    REQUIRE(prompt.prompt_logprobs.size() == 149);
    REQUIRE(prompt.prompt_top_logprobs.size() == 149);
    std::vector<float> row(32);
    for (std::size_t i = 0; i < 149; ++i) {
      FakeModel::HashLogits(std::span(request.prompt).first(i + 1), row);
      const auto want = RowLogprobs::Of(KernelsFor(Isa::kScalar), row);
      const TokenId next = request.prompt[i + 1];
      REQUIRE(prompt.prompt_logprobs[i].id == next);
      REQUIRE(prompt.prompt_logprobs[i].logprob == want->At(next).logprob);
      REQUIRE(prompt.prompt_top_logprobs[i].size() == 2);
      REQUIRE(prompt.prompt_top_logprobs[i][0].id == want->Top(1)[0].id);
    }
    for (int c = 0; c < 2; ++c) {
      CHECK(outcome.choice(c).completion_tokens == (round == 0 ? 0 : 3));
      CHECK(outcome.choice(c).finish == FinishReason::kLength);
    }
  }
  GenerationRequest one = Greedy(Prompt(1), 0);
  one.prompt_logprobs = true;
  bench.Submit(one);
  bench.Run();
  CHECK(bench.outcome(4).events.front().prompt_logprobs.empty());
  CHECK(bench.outcome(4).events.size() == 2);
}

TEST_CASE("n choices: the prompt is computed once, first events come in order, choices differ and stand alone") {
  GenerationRequest request;
  request.prompt = Prompt(200);
  request.max_tokens = 30;
  request.ignore_eos = true;
  request.n = 5;
  request.sampling.seed = 99;
  CoreBench bench({.max_batch = 3, .max_queue = 256, .prefill_chunk = 512});
  bench.Submit(request);
  bench.Run();
  const Outcome& outcome = bench.outcome(0);
  int next = 0;
  for (const Event& event : outcome.events) {
    CHECK(event.choice <= next);
    if (event.choice == next) ++next;
  }
  CHECK(next == 5);
  // 200 once, and the replies.
  CHECK(bench.model.tokens_computed() == 200 + 5 * 29);
  CHECK(bench.core.stats().prompt_tokens == 200);
  CHECK(bench.core.stats().cached_tokens == 0);
  std::set<std::vector<TokenId>> replies;
  for (int c = 0; c < 5; ++c) replies.insert(outcome.choice(c).tokens);
  CHECK(replies.size() == 5);

  // The first choices do not depend on how many there are.
  CoreBench other;
  request.n = 2;
  other.Submit(request);
  other.Run();
  CHECK(other.outcome(0).choice(0).tokens == outcome.choice(0).tokens);
  CHECK(other.outcome(0).choice(1).tokens == outcome.choice(1).tokens);
  request.sampling.seed = 100;
  other.Submit(request);
  other.Run();
  CHECK(other.outcome(1).choice(0).tokens != outcome.choice(0).tokens);
}

TEST_CASE("A choice may end with its first token while others go on") {
  CoreBench bench;
  GenerationRequest request;
  request.prompt = Prompt(70);
  request.max_tokens = 40;
  request.n = 40;  // EOS has 1 of 32 tokens: some choice draws it at once
  request.sampling.temperature = 100;
  bench.Submit(request);
  bench.Run();
  int at_once = 0;
  for (int c = 0; c < 40; ++c) at_once += bench.outcome(0).choice(c).tokens == std::vector<TokenId>{31} ? 1 : 0;
  CHECK(at_once > 0);
  CHECK(at_once < 40);
}

TEST_CASE("Replies are clipped to the context, by the model's length or by its pages") {
  for (const auto& options : {FakeModel::Options{.context = 100}, FakeModel::Options{.context = 1000, .pages = 2}}) {
    CoreBench bench({}, options);
    const std::int32_t context = ContextLength(bench.model);
    CHECK(context == (options.pages == 2 ? 128 : 100));
    GenerationRequest request = Greedy(Prompt(90), 1000);
    request.ignore_eos = true;
    bench.Submit(request);
    bench.Run();
    CHECK(bench.outcome(0).choice(0).completion_tokens == context - 90);
    CHECK(bench.outcome(0).choice(0).finish == FinishReason::kLength);
  }
}

}  // namespace
}  // namespace quorum::engine
