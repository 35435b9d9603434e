// Reads the events of one request's generations as they come, and watches its client meanwhile.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "server/metrics.h"
#include "server/request_scope.h"

namespace quorum::server {

/// Used by one thread. Cancels what has not finished when it is destroyed. Counts tokens in `scope` as they come: also
/// those that nobody reads any more.
class GenerationReader {
 public:
  /// `started`: when the request was submitted.
  GenerationReader(std::vector<std::shared_ptr<engine::Generation>> generations, Metrics& metrics,
                   std::shared_ptr<RequestScope> scope, std::chrono::steady_clock::time_point started);
  ~GenerationReader();
  GenerationReader(const GenerationReader&) = delete;
  GenerationReader& operator=(const GenerationReader&) = delete;

  struct Item {
    std::size_t generation = 0;  // which of them
    engine::Event event;
  };
  enum class State {
    kEvent,    // `item` is filled
    kNothing,  // none came for a moment: time for a heartbeat
    kGone,     // the client left; everything is cancelled
    kDone,     // all events have been read
  };
  /// Waits at most 50 ms. `client_gone` is asked about as often.
  State Next(const std::function<bool()>& client_gone, Item& item);

  /// Requests ahead of the first of the generations while it waits; -1 once one runs.
  std::int32_t queue_position() const;

 private:
  using Clock = std::chrono::steady_clock;
  bool ReadOne(std::size_t index, std::chrono::milliseconds timeout, Item& item);
  void Measure(const Item& item);
  void CancelAll();

  std::vector<std::shared_ptr<engine::Generation>> generations_;
  Metrics& metrics_;
  const std::shared_ptr<RequestScope> scope_;
  const Clock::time_point started_;
  Clock::time_point client_seen_;
  std::size_t turn_ = 0;  // where the next round begins: no generation starves another
  bool first_token_ = true;
  bool all_read_ = false;
  double waited_ = 0;  // seconds for the first step; of several generations, of the one that came last
  std::vector<std::vector<Clock::time_point>> last_token_;  // by generation and choice
};

}  // namespace quorum::server
