// Runs requests through an EngineCore on a FakeModel, step by step, and collects what came out.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine_core.h"
#include "tests/support/fake_model.h"

namespace quorum::test {

/// All events of one request.
struct Outcome {
  struct Choice {
    std::vector<tok::TokenId> tokens;
    std::string text;
    std::string stop_text;
    int ends_text = 0;  // tokens so marked
    engine::FinishReason finish = engine::FinishReason::kError;
    std::int32_t completion_tokens = 0;
  };

  std::vector<engine::Event> events;
  bool over = false;

  Choice choice(std::int32_t index) const;
  /// Same events in each choice, bit for bit, but for what the cache gave (that is about time, not about the answer)
  /// and for the order between choices.
  bool operator==(const Outcome& other) const;
  /// As ==, of a request that was cancelled while running against a whole one: all but the end are a beginning of it.
  bool IsBeginningOf(const Outcome& other) const;
};

class CoreBench {
 public:
  explicit CoreBench(const engine::EngineOptions& options = {}, const FakeModel::Options& model_options = {});
  CoreBench(const engine::EngineOptions& options, const FakeModel::Options& model_options, FakeTokenizer with);
  /// Checks that the model was used rightly and, if all requests are over, that no page is in use.
  ~CoreBench();
  CoreBench(const CoreBench&) = delete;
  CoreBench& operator=(const CoreBench&) = delete;

  std::size_t Submit(engine::GenerationRequest request);
  void Cancel(std::size_t index) { queues_[index]->cancelled = true; }
  /// What the engine's thread does in one round. Returns whether there was anything to do.
  bool Step();
  void Run() {
    while (Step()) {
    }
  }
  const Outcome& outcome(std::size_t index) const { return outcomes_[index]; }
  std::size_t size() const { return outcomes_.size(); }
  std::int32_t requests_ahead(std::size_t index) const { return queues_[index]->requests_ahead; }

  engine::EngineCore::Clock::time_point now{};  // what time limits are told
  FakeModel model;
  FakeTokenizer tokenizer;
  engine::EngineCore core;

 private:
  std::vector<std::shared_ptr<engine::EventQueue>> queues_;
  std::vector<Outcome> outcomes_;
};

}  // namespace quorum::test
