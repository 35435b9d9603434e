// The engine without its thread: requests in, one step at a time, events out. Everything here runs on one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/cost_model.h"
#include "engine/engine.h"
#include "engine/prefix_store.h"
#include "engine/request.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"

namespace quorum::engine {

/// Positions that one sequence may have: the model's context, and no more than all KV pages hold. With an encoder,
/// source and reply may have as many each.
std::int32_t ContextLength(const StepModel& model);

class EngineCore {
 public:
  using Clock = std::chrono::steady_clock;

  EngineCore(StepModel& model, const tok::Tokenizer& tokenizer, const KernelTable& kernels,
             const EngineOptions& options);

  void Add(std::unique_ptr<Request> request);

  /// Ends the requests whose readers have cancelled.
  void RemoveCancelled();
  void CancelAll();
  /// Ends the requests whose time limit is over.
  void RemoveExpired(Clock::time_point now = Clock::now());

  bool idle() const { return requests_.empty(); }

  /// Decides the next step, then runs it on the model and does what follows from it. Nothing happens when idle.
  void Plan();
  void Compute();

  /// Fails everything that runs, or else everything: when a step threw.
  void FailRunning(const Error& error);

  /// Tells waiting requests how many are ahead of them; returns how many have not started.
  std::int32_t UpdatePositions();

  /// Counters and gauges as of now (without what only Submit knows).
  const EngineStats& stats();
  std::int32_t free_slots() const { return scheduler_.free_slots(); }
  const Scheduler& scheduler() const { return scheduler_; }
  const CostModel& cost() const { return cost_; }
  /// The chosen prefixes, as far as the cache still has them. They change when a request chose another one.
  std::vector<StoredPrefix> ExportPrefixes();
  bool prefixes_changed() const { return prefixes_changed_; }
  /// Puts stored prefixes into the cache, as long as half of its pages stay free. REQUIRES: idle; page_bytes fit.
  void ImportPrefixes(std::vector<StoredPrefix> prefixes);
  /// Prompt tokens of requests that have not started.
  std::int64_t waiting_tokens() const;

  /// Hands the events since the last call to their readers, who then see stats() that include them.
  /// Returns the number of requests that are over.
  std::int32_t DeliverEvents();

 private:
  struct ChosenPrefix {
    std::string lineage;
    std::vector<tok::TokenId> tokens;  // whole pages
    bool operator==(const ChosenPrefix&) const = default;
  };

  void GuessTokens();
  void CountRows();
  void LogExperts();
  void ChoosePrefix(ChosenPrefix chosen);
  std::vector<std::int32_t> PagesOf(const ChosenPrefix& chosen);
  std::size_t FirstInWindow(std::size_t pages) const;
  StepSlice SliceOf(Choice& choice) const;
  void ReadLogits(Choice& choice, std::span<const float> rows);
  void PlaceHidden();
  void Pool(Request& request, const StepSlice& slice);
  void ScorePrompt(Choice& choice, std::span<const float>& rows);
  void FinishPrompt(Choice& first, std::span<const float> row);
  void Generate(Choice& choice, std::span<const float> row);
  void GenerateGuessed(Choice& choice, std::span<const float> rows);
  Result<tok::TokenId> NextToken(Choice& choice, std::span<const float> row);
  void Finish(Choice& choice, FinishReason reason);
  void End(Request& request);
  void Fail(Request& request, const Error& error);
  void Cancel(Request& request, FinishReason reason = FinishReason::kCancelled);
  void Emit(const Request& request, Event event);

  StepModel& model_;
  const tok::Tokenizer& tokenizer_;
  const KernelTable& kernels_;
  std::size_t vocab_;
  std::optional<tok::TokenId> decoder_start_;
  const ExpertShape shape_;
  EngineOptions options_;
  CostModel cost_;
  Scheduler scheduler_;
  Sampler sampler_;
  grammar::Prefetcher prefetcher_;
  std::map<std::int64_t, std::unique_ptr<Request>> requests_;  // by ordinal
  std::vector<std::unique_ptr<Request>> over_;                 // kept until their events are delivered
  std::vector<std::pair<EventQueue*, Event>> outbox_;
  std::span<Sequence* const> planned_;
  std::vector<StepSlice> slices_;
  std::vector<float> logits_;
  std::vector<float> hidden_;  // of this step's slices that are pooled
  Clock::time_point step_began_;
  StepWork work_;  // of the planned step
  std::vector<ChosenPrefix> chosen_;
  bool prefixes_changed_ = false;
  EngineStats stats_;
};

}  // namespace quorum::engine
