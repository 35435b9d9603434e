#include "tests/support/core_bench.h"

#include <algorithm>
#include <utility>

#include "engine/kernels/dispatch.h"
#include "tests/support/catch.h"

namespace quorum::test {
namespace {

using engine::Event;
using engine::TokenLogprob;

bool Same(const std::vector<TokenLogprob>& a, const std::vector<TokenLogprob>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const TokenLogprob& x, const TokenLogprob& y) {
    return x.id == y.id && x.logprob == y.logprob;
  });
}

bool Same(const Event& a, const Event& b) {
  return a.kind == b.kind && a.choice == b.choice && Same(a.prompt_logprobs, b.prompt_logprobs) &&
         std::equal(a.prompt_top_logprobs.begin(), a.prompt_top_logprobs.end(), b.prompt_top_logprobs.begin(),
                    b.prompt_top_logprobs.end(), [](const auto& x, const auto& y) { return Same(x, y); }) &&
         a.token == b.token && a.logprob == b.logprob && Same(a.top_logprobs, b.top_logprobs) &&
         a.ends_text == b.ends_text && a.text == b.text && a.finish == b.finish && a.stop_text == b.stop_text &&
         a.completion_tokens == b.completion_tokens && a.error.message == b.error.message;
}

std::map<std::int32_t, std::vector<const Event*>> ByChoice(const std::vector<Event>& events) {
  std::map<std::int32_t, std::vector<const Event*>> choices;
  for (const Event& event : events) choices[event.choice].push_back(&event);
  return choices;
}

bool Agree(const std::vector<const Event*>& a, const std::vector<const Event*>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const Event* x, const Event* y) { return Same(*x, *y); });
}

}  // namespace

Outcome::Choice Outcome::choice(std::int32_t index) const {
  Choice choice;
  for (const Event& event : events) {
    if (event.choice != index) continue;
    choice.text += event.text;
    if (event.kind == Event::Kind::kToken) {
      choice.tokens.push_back(event.token);
      choice.ends_text += event.ends_text ? 1 : 0;
    }
    if (event.kind == Event::Kind::kFinish) {
      choice.finish = event.finish;
      choice.stop_text = event.stop_text;
      choice.completion_tokens = event.completion_tokens;
    }
  }
  return choice;
}

bool Outcome::operator==(const Outcome& other) const {
  const auto mine = ByChoice(events);
  const auto theirs = ByChoice(other.events);
  return over == other.over &&
         std::equal(mine.begin(), mine.end(), theirs.begin(), theirs.end(),
                    [](const auto& a, const auto& b) { return a.first == b.first && Agree(a.second, b.second); });
}

bool Outcome::IsBeginningOf(const Outcome& other) const {
  const auto theirs = ByChoice(other.events);
  for (auto& [choice, mine] : ByChoice(events)) {
    const auto it = theirs.find(choice);
    if (it == theirs.end()) return false;
    auto part = mine;
    if (part.back()->kind == Event::Kind::kFinish && part.back()->finish == engine::FinishReason::kCancelled) {
      part.pop_back();
    }
    if (part.size() > it->second.size()) return false;
    if (!Agree(part, {it->second.begin(), it->second.begin() + static_cast<std::ptrdiff_t>(part.size())})) return false;
  }
  return true;
}

CoreBench::CoreBench(const engine::EngineOptions& options, const FakeModel::Options& model_options)
    : CoreBench(options, model_options, FakeTokenizer(model_options.vocab)) {}

CoreBench::CoreBench(const engine::EngineOptions& options, const FakeModel::Options& model_options, FakeTokenizer with)
    : model(model_options),
      tokenizer(std::move(with)),
      core(model, tokenizer, engine::KernelsFor(Isa::kScalar), options) {}

CoreBench::~CoreBench() {
  for (const std::string& fault : model.faults()) {
    CAPTURE(fault);
    CHECK(fault.empty());
  }
  if (!core.idle()) return;
  CHECK(core.stats().pages_used == 0);
  CHECK(core.scheduler().cache().available() == model.num_pages());
}

std::size_t CoreBench::Submit(engine::GenerationRequest request) {
  queues_.push_back(std::make_shared<engine::EventQueue>());
  outcomes_.emplace_back();
  const std::int32_t context = engine::ContextLength(model);
  const bool encodes = model.decoder_start().has_value();
  REQUIRE(engine::CheckRequest(request, model.vocab_size(), context, encodes, model.experts()).ok());
  auto owned = std::make_unique<engine::Request>(std::move(request), queues_.back(), context, model.decoder_start(),
                                                 model.experts());
  owned->SetOrdinal(static_cast<std::int64_t>(queues_.size()), now);
  core.Add(std::move(owned));
  return queues_.size() - 1;
}

bool CoreBench::Step() {
  const bool busy = !core.idle();
  core.RemoveCancelled();
  core.RemoveExpired(now);
  core.Plan();
  core.Compute();
  core.UpdatePositions();
  core.DeliverEvents();
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    if (outcomes_[i].over) continue;
    while (auto event = queues_[i]->Next(std::chrono::milliseconds(0)))
      outcomes_[i].events.push_back(std::move(*event));
    outcomes_[i].over = queues_[i]->done();
  }
  return busy;
}

}  // namespace quorum::test
