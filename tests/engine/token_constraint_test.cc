// Grammars in the engine: what is drawn fits, ends where it should, and disturbs nobody else.
#include <cmath>
#include <limits>
#include <string>

#include "engine/grammar/regex.h"
#include "engine/kernels/dispatch.h"
#include "engine/token_constraint.h"
#include "tests/support/catch.h"
#include "tests/support/core_bench.h"
#include "tests/support/fake_model.h"

namespace quorum::engine {
namespace {

using test::CoreBench;
using test::FakeTokenizer;
using test::Outcome;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::shared_ptr<const grammar::CompiledGrammar> Regex(std::string_view pattern, const tok::Tokenizer& tokenizer) {
  grammar::Grammar made;
  const auto root = grammar::ParseRegex(pattern, grammar::RegexMatch::kWhole, made);
  REQUIRE(root.ok());
  made.SetRoot(*root);
  auto compiled = grammar::CompiledGrammar::Compile(made, MakeGrammarVocabulary(tokenizer));
  REQUIRE(compiled.ok());
  return *compiled;
}

GenerationRequest Ask(std::int32_t prompt, std::int32_t max_tokens) {
  GenerationRequest request;
  for (std::int32_t i = 0; i < prompt; ++i) request.prompt.push_back(i * 5 % 26);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  return request;
}

TEST_CASE("A constrained reply fits, and stops by itself when nothing can follow") {
  CoreBench bench;
  auto request = Ask(5, 50);
  request.grammar = Regex("[ab]{3}cd", bench.tokenizer);
  request.n = 3;
  request.sampling.temperature = 1;
  bench.Submit(request);
  bench.Run();
  for (int c = 0; c < 3; ++c) {
    const auto choice = bench.outcome(0).choice(c);
    INFO(choice.text);
    REQUIRE(choice.text.size() == 5);
    CHECK(choice.text.find_first_not_of("ab") == 3);
    CHECK(choice.text.substr(3) == "cd");
    CHECK(choice.finish == FinishReason::kStop);
    CHECK(choice.completion_tokens == 5);  // no end token was needed
  }
}

TEST_CASE("The end token comes only where the text may end; a cut text says so") {
  CoreBench bench;
  // A model that wants to end at once, and then likes 'a'.
  bench.model.logits = [](std::span<const tok::TokenId>, std::span<float> row) {
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = -static_cast<float>(i);
    row[31] = 5;
  };
  auto request = Ask(4, 30);
  request.grammar = Regex("b(c|d)e*", bench.tokenizer);
  bench.Submit(request);
  request.ignore_eos = true;  // goes on where the grammar lets it
  bench.Submit(request);
  request.ignore_eos = false;
  request.grammar = Regex("b{40}", bench.tokenizer);
  bench.Submit(request);
  bench.Run();
  CHECK(bench.outcome(0).choice(0).text == "bc");
  CHECK(bench.outcome(0).choice(0).finish == FinishReason::kStop);
  CHECK(bench.outcome(0).choice(0).ends_text == 1);
  CHECK(bench.outcome(1).choice(0).text == "bc" + std::string(28, 'e'));
  CHECK(bench.outcome(1).choice(0).finish == FinishReason::kLength);
  CHECK(bench.outcome(2).choice(0).text == std::string(30, 'b'));
  CHECK(bench.outcome(2).choice(0).finish == FinishReason::kLength);
}

TEST_CASE("Neighbours with and without grammars get what they get alone, bit for bit") {
  const auto requests = [](const tok::Tokenizer& tokenizer) {
    std::vector<GenerationRequest> all;
    for (const char* pattern : {"", "[a-m]*", "(ab|cd|[e-z]{2})+", "", "a?b?c?[d-z0-4]{20,}"}) {
      auto request = Ask(20 + static_cast<std::int32_t>(all.size()) * 31, 40);
      request.sampling.temperature = 0.8F;
      request.sampling.seed = all.size();
      request.sampling.repetition_penalty = 1.2F;
      request.logprobs = true;
      request.top_logprobs = 3;
      if (*pattern != '\0') request.grammar = Regex(pattern, tokenizer);
      all.push_back(std::move(request));
    }
    return all;
  };
  CoreBench together({.max_batch = 5, .max_queue = 16, .prefill_chunk = 16});
  for (auto& request : requests(together.tokenizer)) together.Submit(request);
  together.Run();
  for (std::size_t i = 0; i < together.size(); ++i) {
    CoreBench alone;
    alone.Submit(requests(alone.tokenizer)[i]);
    alone.Run();
    CHECK(alone.outcome(0) == together.outcome(i));
  }
}

TEST_CASE("Log-probabilities come from the raw logits, whatever the grammar rules out") {
  CoreBench bench;
  auto request = Ask(6, 1);
  request.logprobs = true;
  request.top_logprobs = 32;
  bench.Submit(request);
  request.grammar = Regex("q", bench.tokenizer);
  bench.Submit(request);
  bench.Run();
  const auto find = [](const Outcome& outcome) {
    for (const Event& event : outcome.events) {
      if (event.kind == Event::Kind::kToken) return event;
    }
    return Event{};
  };
  const Event free = find(bench.outcome(0));
  const Event bound = find(bench.outcome(1));
  CHECK(bound.token == 16);
  REQUIRE(free.top_logprobs.size() == 32);
  for (std::size_t i = 0; i < 32; ++i) {
    CHECK(free.top_logprobs[i].id == bound.top_logprobs[i].id);
    CHECK(free.top_logprobs[i].logprob == bound.top_logprobs[i].logprob);
    if (free.top_logprobs[i].id == 16) CHECK(free.top_logprobs[i].logprob == bound.logprob);
  }
}

TEST_CASE("A ban stays a ban, and a stop string stops within a grammar") {
  CoreBench bench;
  auto request = Ask(6, 10);
  request.grammar = Regex("[ab]{5}", bench.tokenizer);
  request.sampling.logit_bias = {{0, -100.0F}};
  bench.Submit(request);
  request.sampling.logit_bias = {{0, -100.0F}, {1, -100.0F}};
  bench.Submit(request);
  request.sampling.logit_bias = {{0, -100.0F}};
  request.stop = {"bb"};
  bench.Submit(request);
  bench.Run();
  CHECK(bench.outcome(0).choice(0).text == "bbbbb");
  CHECK(bench.outcome(1).choice(0).text.empty());
  REQUIRE(bench.outcome(1).events.back().kind == Event::Kind::kError);
  CHECK(bench.outcome(1).events.back().error.code == ErrorCode::kInvalidArgument);
  CHECK(bench.outcome(2).choice(0).text.empty());
  CHECK(bench.outcome(2).choice(0).finish == FinishReason::kStop);
}

TEST_CASE("Sampler: a filter holds the same for few and for many allowed tokens, and beyond the vocabulary") {
  Sampler sampler(KernelsFor(Isa::kScalar));
  constexpr std::int32_t kVocab = 200;
  std::vector<float> logits(210);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i % 37) * 0.1F;
  logits[205] = 9;  // padding that the tokenizer does not know
  for (const int every : {1, 3, 150}) {
    grammar::TokenSet set(kVocab);
    for (std::int32_t id = 0; id < kVocab; id += every) set.Add(id);
    set.Finish();
    CHECK(set.listed() == (every == 150));
    const std::vector<tok::TokenId> also = {7};
    const TokenFilter filter{&set, also};
    for (std::int32_t position = 0; position < 300; ++position) {
      SamplingParams params;
      params.temperature = 2;
      params.seed = 3;
      const auto token = sampler.Sample(logits, params, {}, 0, position, &filter);
      REQUIRE(token.ok());
      REQUIRE((*token == 7 || (*token < kVocab && *token % every == 0)));
      // As if all else had been minus infinity from the start.
      std::vector<float> masked = logits;
      for (std::size_t i = 0; i < masked.size(); ++i) {
        const auto id = static_cast<std::int32_t>(i);
        if (id != 7 && (id >= kVocab || id % every != 0)) masked[i] = -kInfinity;
      }
      REQUIRE(*sampler.Sample(masked, params, {}, 0, position) == *token);
    }
  }
}

TEST_CASE("Vocabulary of a tokenizer: control tokens have no text") {
  const FakeTokenizer tokenizer({"a", "b", "<ctl>", "ab", "<eos>"}, {2, 4}, {4});
  const auto vocabulary = MakeGrammarVocabulary(tokenizer);
  CHECK(vocabulary->size() == 5);
  CHECK(vocabulary->BytesOf(3) == "ab");
  CHECK(vocabulary->BytesOf(2) == grammar::Vocabulary::ControlBytes(2));
  CHECK(vocabulary->IsEnd(4));
  CHECK(vocabulary->spellable() == grammar::CharSet{{'a', 'b'}});
}

}  // namespace
}  // namespace quorum::engine
