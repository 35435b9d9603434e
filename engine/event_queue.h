// The pipe between the engine's thread and the reader of one request.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>

#include "engine/engine.h"

namespace quorum::engine {

/// Thread-safe. Holds no more than the request's own limits allow it to generate.
class EventQueue {
 public:
  void Push(Event event);
  /// No more events will come.
  void Close();

  std::optional<Event> Next(std::chrono::milliseconds timeout);
  bool done() const;  // closed and empty
  bool closed() const;

  std::atomic<bool> cancelled{false};           // set by the reader, seen by the engine before its next step
  std::atomic<std::int32_t> requests_ahead{0};  // set by the engine

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Event> events_;
  bool closed_ = false;
};

}  // namespace quorum::engine
