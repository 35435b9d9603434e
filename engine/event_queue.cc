#include "engine/event_queue.h"

#include <algorithm>
#include <utility>

namespace quorum::engine {

void EventQueue::Push(Event event) {
  {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }
  changed_.notify_all();
}

void EventQueue::Close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

std::optional<Event> EventQueue::Next(std::chrono::milliseconds timeout) {
  // A deadline beyond the clock's range would overflow.
  const auto limit =
      std::clamp<std::chrono::milliseconds>(timeout, std::chrono::milliseconds(0), std::chrono::hours(24));
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return closed_ || !events_.empty(); };
  if (limit.count() > 0) changed_.wait_for(lock, limit, ready);  // a wait of zero would still go to sleep
  if (events_.empty()) return {};
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

bool EventQueue::done() const {
  const std::lock_guard lock(mutex_);
  return closed_ && events_.empty();
}

bool EventQueue::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

}  // namespace quorum::engine
