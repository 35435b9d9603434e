#include "engine/engine_core.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "engine/kernels/dispatch.h"
#include "tests/support/catch.h"
#include "tests/support/core_bench.h"
#include "tests/support/fake_model.h"

namespace quorum::engine {
namespace {

using test::CoreBench;
using test::FakeModel;
using test::FakeTokenizer;
using test::Outcome;
using tok::TokenId;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<TokenId> Prompt(std::int32_t size, TokenId first = 0) {
  std::vector<TokenId> prompt{first};
  for (std::int32_t i = 1; i < size; ++i) prompt.push_back((first + i * 7) % 31);
  return prompt;
}

GenerationRequest Greedy(std::vector<TokenId> prompt, std::int32_t max_tokens) {
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  return request;
}

/// What a greedy request must reply under FakeModel::HashLogits, from the definition.
std::vector<TokenId> Expected(std::vector<TokenId> history, std::int32_t max_tokens, TokenId eos) {
  std::vector<TokenId> reply;
  std::vector<float> row(static_cast<std::size_t>(eos) + 1);
  while (static_cast<std::int32_t>(reply.size()) < max_tokens) {
    FakeModel::HashLogits(history, row);
    reply.push_back(static_cast<TokenId>(std::max_element(row.begin(), row.end()) - row.begin()));
    history.push_back(reply.back());
    if (reply.back() == eos) break;
  }
  return reply;
}

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
        "This model's context length is 100 tokens, but the prompt has 120 tokens and the reply needs at least 1.");
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
