#include "engine/engine.h"

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <future>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "engine/base/log.h"
#include "engine/engine_core.h"
#include "engine/event_queue.h"
#include "engine/float_mode.h"
#include "engine/kernels/dispatch.h"
#include "engine/request.h"

namespace quorum::engine {
namespace {

/// What the threads outside and the engine's thread share. The lock is held for moments only, never during a step.
struct Shared {
  std::mutex mutex;
  std::condition_variable work;   // for the engine's thread
  std::condition_variable ended;  // for Drain
  std::vector<std::unique_ptr<Request>> inbox;
  bool look = false;  // somebody cancelled
  bool cancel_all = false;
  bool draining = false;
  bool stop = false;
  std::int32_t not_started = 0;     // requests in the inbox or waiting for their first step
  std::int64_t waiting_tokens = 0;  // of their prompts
  std::int64_t waiting = 0;         // sequences that wait for a place, n of a request
  std::int32_t free_slots = 0;
  std::int32_t open = 0;  // requests whose events are not all delivered
  std::int64_t accepted = 0;
  std::int64_t refused = 0;
  EngineStats stats;

  void Look() {
    {
      const std::lock_guard lock(mutex);
      look = true;
    }
    work.notify_one();
  }
};

class Handle : public Generation {
 public:
  Handle(std::shared_ptr<EventQueue> events, std::shared_ptr<Shared> shared)
      : events_(std::move(events)), shared_(std::move(shared)) {}
  ~Handle() override { Stop(); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  std::optional<Event> Next(std::chrono::milliseconds timeout) override { return events_->Next(timeout); }
  bool done() const override { return events_->done(); }
  void Cancel() override { Stop(); }
  std::int32_t queue_position() const override { return events_->requests_ahead.load(std::memory_order_relaxed); }

 private:
  void Stop() {
    if (events_->closed() || events_->cancelled.exchange(true, std::memory_order_relaxed)) return;
    shared_->Look();
  }

  std::shared_ptr<EventQueue> events_;
  std::shared_ptr<Shared> shared_;
};

/// The table's bits do not depend on the instruction set, so any will do where none was chosen.
const KernelTable& SomeKernels() {
  const auto chosen = ChooseKernels();
  return chosen.ok() ? **chosen : KernelsFor(Isa::kScalar);
}

class ThreadedEngine : public Engine {
 public:
  ThreadedEngine(StepModel& model, const tok::Tokenizer& tokenizer, const EngineOptions& options)
      : options_(options),
        prefixes_{options.fingerprint, model.page_bytes()},
        vocab_(model.vocab_size()),
        decoder_start_(model.decoder_start()),
        context_(ContextLength(model)),
        has_hidden_(model.hidden_size() > 0),
        shared_(std::make_shared<Shared>()),
        experts_(model.experts()),
        core_(model, tokenizer, SomeKernels(), options) {
    LoadPrefixes();
    shared_->stats = core_.stats();
    shared_->free_slots = core_.free_slots();
    thread_ = std::thread([this] { Loop(); });
  }

  ~ThreadedEngine() override {
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->stop = true;
    }
    shared_->work.notify_one();
    thread_.join();
  }

  ThreadedEngine(const ThreadedEngine&) = delete;
  ThreadedEngine& operator=(const ThreadedEngine&) = delete;

  Result<std::shared_ptr<Generation>> Submit(GenerationRequest request) override;
  EngineStats Stats() const override;
  bool stores_prefixes() const override { return !options_.prefix_file.empty(); }
  std::int32_t context_length() const override { return context_; }
  bool encodes_prompt() const override { return decoder_start_.has_value(); }
  bool Drain(std::chrono::milliseconds limit) override;

 private:
  void LoadPrefixes();
  void SavePrefixes(bool wait);
  void NoteSaved();
  void Loop();
  bool TakeWork();
  void Publish();

  const EngineOptions options_;
  const PrefixKind prefixes_;
  const std::int32_t vocab_;
  const std::optional<tok::TokenId> decoder_start_;
  const std::int32_t context_;
  const bool has_hidden_;
  const std::shared_ptr<Shared> shared_;
  const ExpertShape experts_;
  EngineCore core_;             // the engine thread's, from the start of Loop
  std::future<Status> saving_;  // as well: the prefix file that is being written
  std::thread thread_;
};

Result<std::shared_ptr<Generation>> ThreadedEngine::Submit(GenerationRequest asked) {
  QUORUM_TRY(CheckRequest(asked, vocab_, context_, decoder_start_.has_value(), experts_));
  if (asked.pooling != Pooling::kNone && !has_hidden_) {
    return Error{ErrorCode::kUnsupported, "This model does not give its hidden states.", "input", "unsupported_model"};
  }
  auto events = std::make_shared<EventQueue>();
  auto request = std::make_unique<Request>(std::move(asked), events, context_, decoder_start_, experts_);
  {
    const std::lock_guard lock(shared_->mutex);
    if (shared_->draining) {
      ++shared_->refused;
      return Error{ErrorCode::kUnavailable, "The server is shutting down.", {}, {}};
    }
    // Sequences that can start at once do not wait. Where there is room for one, there is for all of a request.
    if (shared_->waiting >= std::int64_t{options_.max_queue} + shared_->free_slots) {
      ++shared_->refused;
      return Error{ErrorCode::kOverloaded,
                   "The server is busy: " + std::to_string(shared_->waiting) + " sequences are waiting.",
                   {},
                   "rate_limit_exceeded"};
    }
    // Whoever waits alone waits in any case: a prompt of any length that fits the context is let in.
    const std::int64_t tokens = request->prompt_size();
    const bool waits = shared_->not_started >= shared_->free_slots;
    if (options_.max_queue_tokens > 0 && waits && shared_->waiting_tokens > 0 &&
        shared_->waiting_tokens + tokens > options_.max_queue_tokens) {
      ++shared_->refused;
      return Error{ErrorCode::kOverloaded,
                   "The server is busy: prompts with " + std::to_string(shared_->waiting_tokens) +
                       " tokens are waiting, and this one has " + std::to_string(tokens) + ".",
                   {},
                   "rate_limit_exceeded"};
    }
    shared_->waiting_tokens += tokens;
    shared_->waiting += std::ssize(request->choices);
    request->SetOrdinal(shared_->accepted++);
    events->requests_ahead.store(shared_->not_started++, std::memory_order_relaxed);
    ++shared_->open;
    shared_->inbox.push_back(std::move(request));
  }
  shared_->work.notify_one();
  return std::shared_ptr<Generation>(std::make_shared<Handle>(std::move(events), shared_));
}

EngineStats ThreadedEngine::Stats() const {
  const std::lock_guard lock(shared_->mutex);
  EngineStats stats = shared_->stats;
  stats.requests = shared_->accepted;
  stats.refused = shared_->refused;
  stats.waiting += static_cast<std::int32_t>(shared_->inbox.size());
  return stats;
}

bool ThreadedEngine::Drain(std::chrono::milliseconds limit) {
  std::unique_lock lock(shared_->mutex);
  shared_->draining = true;
  const auto all_ended = [this] { return shared_->open == 0; };
  if (shared_->ended.wait_for(lock, std::min<std::chrono::milliseconds>(limit, std::chrono::hours(24)), all_ended)) {
    return true;
  }
  shared_->cancel_all = true;
  shared_->work.notify_one();
  shared_->ended.wait(lock, all_ended);  // within one step
  return false;
}

/// A file that cannot be used costs the time to compute its prefixes again, nothing more.
void ThreadedEngine::LoadPrefixes() {
  if (options_.prefix_file.empty()) return;
  auto stored = LoadPrefixFile(options_.prefix_file, prefixes_);
  if (!stored.ok()) return Log(LogLevel::kWarn, "stored prefixes are not used: {}", stored.error().message);
  const std::size_t count = stored->size();
  core_.ImportPrefixes(std::move(*stored));
  Log(LogLevel::kInfo, "{} stored prefixes read from {}", count, options_.prefix_file);
}

void NotStored(std::string_view why) { Log(LogLevel::kWarn, "prefixes were not stored: {}", why); }

/// Writes them beside the steps that come, for some hundred megabytes take seconds. One file at a time: what changes
/// meanwhile is written when that one is done. `wait`: until all is written.
void ThreadedEngine::SavePrefixes(bool wait) {
  if (saving_.valid()) {
    if (!wait && saving_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
    NoteSaved();
  }
  if (options_.prefix_file.empty() || !core_.prefixes_changed()) return;
  try {
    saving_ = std::async(std::launch::async, [this, stored = core_.ExportPrefixes()] {
      const Status saved = SavePrefixFile(options_.prefix_file, prefixes_, stored);
      {
        const std::lock_guard lock(shared_->mutex);
        shared_->look = true;  // there may be more to write by now
      }
      shared_->work.notify_one();
      return saved;
    });
  } catch (const std::exception& e) {  // no memory, no thread
    return NotStored(e.what());
  }
  if (wait) NoteSaved();
}

void ThreadedEngine::NoteSaved() {
  try {
    const Status saved = saving_.get();
    if (!saved.ok()) NotStored(saved.error().message);
  } catch (const std::exception& e) {
    NotStored(e.what());
  }
}

/// Waits until there is something to do and takes it over. False: the engine ends.
bool ThreadedEngine::TakeWork() {
  std::vector<std::unique_ptr<Request>> inbox;
  bool cancel_all = false;
  bool stop = false;
  if (core_.idle()) SavePrefixes(false);
  {
    std::unique_lock lock(shared_->mutex);
    shared_->work.wait(lock, [this] {
      return shared_->stop || shared_->look || shared_->cancel_all || !shared_->inbox.empty() || !core_.idle();
    });
    inbox.swap(shared_->inbox);
    stop = shared_->stop;
    cancel_all = shared_->cancel_all || stop;
    shared_->look = false;
    shared_->cancel_all = false;
  }
  for (auto& request : inbox) core_.Add(std::move(request));
  core_.RemoveCancelled();
  core_.RemoveExpired();
  if (cancel_all) core_.CancelAll();
  return !stop;
}

void ThreadedEngine::Loop() {
  const FloatMode mode;
  while (TakeWork()) {
    try {
      core_.Plan();
      Publish();
      core_.Compute();
    } catch (const std::exception& e) {
      core_.FailRunning(Internal(std::string("Computing a step failed: ") + e.what()));
    }
    Publish();
  }
  SavePrefixes(true);
  Publish();
}

/// Figures first, then events: who has read a request's last event finds it in Stats().
void ThreadedEngine::Publish() {
  const std::int32_t not_started = core_.UpdatePositions();
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stats = core_.stats();
    shared_->free_slots = core_.free_slots();
    shared_->not_started = not_started + static_cast<std::int32_t>(shared_->inbox.size());
    shared_->waiting_tokens = core_.waiting_tokens();
    shared_->waiting = shared_->stats.waiting;
    for (const auto& request : shared_->inbox) {
      shared_->waiting_tokens += request->prompt_size();
      shared_->waiting += std::ssize(request->choices);
    }
  }
  const std::int32_t over = core_.DeliverEvents();
  if (over == 0) return;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->open -= over;
  }
  shared_->ended.notify_all();
}

}  // namespace

std::unique_ptr<Engine> MakeEngine(StepModel& model, const tok::Tokenizer& tokenizer, const EngineOptions& options) {
  return std::make_unique<ThreadedEngine>(model, tokenizer, options);
}

}  // namespace quorum::engine
