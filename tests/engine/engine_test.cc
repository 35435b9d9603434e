// The engine with its thread. Where a test needs a step to be under way, the model stops at a gate inside it.
#include "engine/engine.h"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/fake_model.h"

namespace quorum::engine {
namespace {

using test::FakeModel;
using test::FakeTokenizer;
using tok::TokenId;

constexpr std::chrono::hours kForever{1};

/// Holds the engine's thread at the beginning of its steps while closed.
class Gate {
 public:
  void Pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_ || permits_ > 0; });
    if (!open_) --permits_;
  }
  /// Waits until `steps` steps have come to the gate since the start.
  void AwaitArrival(int steps) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ >= steps; });
  }
  void LetOnePass() {
    const std::lock_guard lock(mutex_);
    ++permits_;
    changed_.notify_all();
  }
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  int permits_ = 0;
  bool open_ = false;
};

/// A model that passes the gate at each step.
FakeModel GatedModel(Gate& gate, const FakeModel::Options& options = {}) {
  FakeModel model(options);
  model.before_step = [&gate](std::span<const StepSlice>) {
    gate.Pass();
    return Status();
  };
  return model;
}

GenerationRequest Ask(std::vector<TokenId> prompt, std::int32_t max_tokens) {
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  return request;
}

std::shared_ptr<Generation> MustSubmit(Engine& engine, GenerationRequest request) {
  auto generation = engine.Submit(std::move(request));
  REQUIRE(generation.ok());
  return *generation;
}

std::vector<Event> ReadAll(Generation& generation) {
  std::vector<Event> events;
  while (!generation.done()) {
    if (auto event = generation.Next(kForever)) events.push_back(std::move(*event));
  }
  return events;
}

TEST_CASE("A request runs to its end; whoever has read the end finds it in the figures") {
  FakeModel model;
  const FakeTokenizer tokenizer;
  const auto engine = MakeEngine(model, tokenizer, {});
  CHECK(engine->context_length() == 64 * kPageTokens);
  const auto generation = MustSubmit(*engine, Ask({1, 2, 3}, 5));
  const auto events = ReadAll(*generation);
  CHECK(engine->Stats().finished == 1);
  CHECK(engine->Stats().running == 0);
  CHECK(engine->Stats().pages_used == 0);
  CHECK(engine->Stats().pages_total == 64);
  CHECK(engine->Stats().requests == 1);
  REQUIRE(events.size() == 7);
  CHECK(events[0].kind == Event::Kind::kPrompt);
  CHECK(events[6].kind == Event::Kind::kFinish);
  CHECK(generation->done());
  CHECK_FALSE(generation->Next(kForever).has_value());  // at once: nothing can come
  generation->Cancel();                                 // too late, harmless
  CHECK(engine->Stats().cancelled == 0);
  CHECK(model.faults().empty());
}

TEST_CASE("Bad requests are refused at the door") {
  FakeModel model({.context = 50});
  const FakeTokenizer tokenizer;
  const auto engine = MakeEngine(model, tokenizer, {});
  CHECK(engine->Submit(Ask({}, 5)).error().param == "prompt");
  CHECK(engine->Submit(Ask({32}, 5)).error().param == "prompt");
  const auto too_long = engine->Submit(Ask(std::vector<TokenId>(51, 1), 5));
  REQUIRE_FALSE(too_long.ok());
  CHECK(too_long.error().code == ErrorCode::kInvalidArgument);
  CHECK(too_long.error().reason == "context_length_exceeded");
  CHECK(too_long.error().message.find("50 tokens") != std::string::npos);
  CHECK(too_long.error().message.find("51 tokens") != std::string::npos);
  CHECK(engine->Stats().requests == 0);
}

TEST_CASE("Submitting, cancelling and figures never wait for a step") {
  Gate gate;
  FakeModel model = GatedModel(gate);
  const FakeTokenizer tokenizer;
  const auto engine = MakeEngine(model, tokenizer, {});
  const auto running = MustSubmit(*engine, Ask({1}, 50));
  gate.AwaitArrival(1);  // the step is under way, and stays so until the gate opens
  CHECK(engine->Stats().running == 1);
  CHECK(engine->Stats().waiting == 0);
  CHECK(running->queue_position() == -1);
  const auto second = MustSubmit(*engine, Ask({2}, 50));
  CHECK(engine->Stats().waiting == 1);
  CHECK(second->queue_position() == 0);
  const auto third = MustSubmit(*engine, Ask({3}, 50));
  CHECK(third->queue_position() == 1);
  CHECK_FALSE(running->Next(std::chrono::milliseconds(0)).has_value());
  running->Cancel();
  second->Cancel();
  gate.LetOnePass();
  gate.AwaitArrival(2);  // the next step begins: both are gone, the third runs
  CHECK(engine->Stats().cancelled == 2);
  CHECK(engine->Stats().running == 1);
  CHECK(engine->Stats().waiting == 0);
  CHECK(third->queue_position() == -1);
  const auto cancelled = ReadAll(*running);  // the first step's token, then the end
  REQUIRE(cancelled.size() == 3);
  CHECK(cancelled.back().finish == FinishReason::kCancelled);
  CHECK(ReadAll(*second).size() == 1);
  gate.Open();
  CHECK(ReadAll(*third).size() == 52);
  CHECK(engine->Stats().pages_used == 0);
}

TEST_CASE("Dropping the reading end cancels, before, while and after the request runs") {
  Gate gate;
  FakeModel model = GatedModel(gate);
  const FakeTokenizer tokenizer;
  const auto engine = MakeEngine(model, tokenizer, {});
  auto dropped = MustSubmit(*engine, Ask({1}, 1000));
  gate.AwaitArrival(1);
  auto queued = MustSubmit(*engine, Ask({2}, 1000));
  auto kept = MustSubmit(*engine, Ask({3}, 3));
  dropped.reset();
  queued.reset();
  gate.Open();
  ReadAll(*kept);
  CHECK(engine->Stats().cancelled == 2);
  kept.reset();
  CHECK(engine->Stats().cancelled == 2);
  CHECK(engine->Stats().running == 0);
}

TEST_CASE("The queue is bounded; free places do not count as waiting") {
  Gate gate;
  FakeModel model = GatedModel(gate);
  const FakeTokenizer tokenizer;
  const auto engine = MakeEngine(model, tokenizer, {.max_batch = 2, .max_queue = 3, .prefill_chunk = 512});
  std::vector<std::shared_ptr<Generation>> accepted;
  for (int i = 0; i < 5; ++i) accepted.push_back(MustSubmit(*engine, Ask({1}, 2)));  // 2 run, 3 wait
  for (int i = 0; i < 3; ++i) {
    const auto refused = engine->Submit(Ask({1}, 2));
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().code == ErrorCode::kOverloaded);
  }
  CHECK(engine->Stats().refused == 3);
  CHECK(engine->Stats().requests == 5);
  gate.Open();
  for (const auto& generation : accepted) CHECK(ReadAll(*generation).size() == 4);
  CHECK(ReadAll(*MustSubmit(*engine, Ask({1}, 2))).size() == 4);
}

TEST_CASE("Draining finishes what was accepted and refuses the rest") {
  Gate gate;
  FakeModel model = GatedModel(gate);
  const FakeTokenizer tokenizer;
  const auto engine = MakeEngine(model, tokenizer, {});
  const auto generation = MustSubmit(*engine, Ask({1}, 20));
  gate.AwaitArrival(1);
  std::atomic<bool> finished{false};
  std::thread drain([&] { finished = engine->Drain(kForever); });
  while (true) {  // until the other thread has shut the door
    const auto late = engine->Submit(Ask({1}, 1));
    if (late.ok() || late.error().code == ErrorCode::kOverloaded) continue;
    CHECK(late.error().code == ErrorCode::kUnavailable);
    break;
  }
  gate.Open();
  drain.join();
  CHECK(finished);
  const auto events = ReadAll(*generation);
  CHECK(events.back().finish == FinishReason::kLength);
  CHECK(engine->Drain(std::chrono::milliseconds(0)));  // nothing left: true again
}

TEST_CASE("Draining with no time left cancels") {
  FakeModel model({.pages = 1 << 10});
  const FakeTokenizer tokenizer;
  const auto engine = MakeEngine(model, tokenizer, {});
  const auto generation = MustSubmit(*engine, Ask({1}, 16000));
  REQUIRE(generation->Next(kForever).has_value());
  CHECK_FALSE(engine->Drain(std::chrono::milliseconds(0)));
  CHECK(ReadAll(*generation).back().finish == FinishReason::kCancelled);
  CHECK(engine->Stats().running == 0);
  CHECK(engine->Stats().pages_used == 0);
}

TEST_CASE("An engine that goes away ends what runs; its readers still read to the end") {
  Gate gate;
  FakeModel model = GatedModel(gate);
  const FakeTokenizer tokenizer;
  auto engine = MakeEngine(model, tokenizer, {.max_batch = 1, .max_queue = 9, .prefill_chunk = 512});
  const auto running = MustSubmit(*engine, Ask({1}, 10000));
  const auto queued = MustSubmit(*engine, Ask({2}, 10000));
  gate.AwaitArrival(1);
  std::thread reader([&] { CHECK(ReadAll(*running).back().finish == FinishReason::kCancelled); });
  gate.Open();
  engine.reset();
  reader.join();
  CHECK(ReadAll(*queued).back().finish == FinishReason::kCancelled);
  queued->Cancel();
  CHECK(queued->done());
}

TEST_CASE("A model that throws fails what runs, and the engine lives") {
  FakeModel model;
  std::atomic<bool> broken{true};
  model.before_step = [&](std::span<const StepSlice>) -> Status {
    if (broken) throw std::runtime_error("no memory for that");
    return {};
  };
  const FakeTokenizer tokenizer;
  const auto engine = MakeEngine(model, tokenizer, {});
  const auto events = ReadAll(*MustSubmit(*engine, Ask({1}, 5)));
  REQUIRE(events.size() == 1);
  CHECK(events[0].kind == Event::Kind::kError);
  CHECK(events[0].error.code == ErrorCode::kInternal);
  CHECK(events[0].error.message.find("no memory for that") != std::string::npos);
  CHECK(engine->Stats().failed == 1);
  broken = false;
  CHECK(ReadAll(*MustSubmit(*engine, Ask({1}, 5))).size() == 7);
}

TEST_CASE("Many threads submit, read, cancel and drop at once; answers stay what they are") {
  constexpr int kThreads = 6;
  constexpr int kEach = 60;
  FakeModel model({.pages = 12, .max_step_tokens = 64, .max_step_logits = 8});
  const FakeTokenizer tokenizer;
  const auto engine = MakeEngine(model, tokenizer, {.max_batch = 8, .max_queue = 1000, .prefill_chunk = 40});

  const auto request_of = [](int kind) {
    GenerationRequest request = Ask(std::vector<TokenId>(static_cast<std::size_t>(1 + kind * 17), kind), 10 + kind * 5);
    request.sampling.temperature = 1;
    request.sampling.seed = static_cast<std::uint64_t>(kind);
    request.n = 1 + kind % 2;
    return request;
  };
  const auto tokens_of = [](const std::vector<Event>& events) {
    std::vector<TokenId> tokens[2];
    for (const Event& event : events) {
      if (event.kind == Event::Kind::kToken) tokens[event.choice].push_back(event.token);
    }
    tokens[0].insert(tokens[0].end(), tokens[1].begin(), tokens[1].end());
    return tokens[0];
  };
  std::vector<std::vector<TokenId>> alone;
  for (int kind = 0; kind < 8; ++kind) alone.push_back(tokens_of(ReadAll(*MustSubmit(*engine, request_of(kind)))));

  std::atomic<int> wrong{0};
  std::atomic<int> whole{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int i = 0; i < kEach; ++i) {
        const int kind = static_cast<int>(random() % 8);
        auto submitted = engine->Submit(request_of(kind));
        if (!submitted.ok()) {
          ++wrong;
          continue;
        }
        const auto generation = *submitted;
        switch (random() % 4) {
          case 0: generation->Cancel(); break;
          case 1: generation->Next(std::chrono::milliseconds(1)); break;  // and drop
          default:
            if (tokens_of(ReadAll(*generation)) != alone[static_cast<std::size_t>(kind)]) ++wrong;
            ++whole;
        }
        engine->Stats();
        generation->queue_position();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(whole > kThreads * kEach / 4);
  CHECK(engine->Drain(kForever));
  const EngineStats stats = engine->Stats();
  CHECK(stats.requests == kThreads * kEach + 8);
  CHECK(stats.finished + stats.cancelled == stats.requests);
  CHECK(stats.running + stats.waiting + stats.pages_used == 0);
  CHECK(model.faults().empty());
}

}  // namespace
}  // namespace quorum::engine
