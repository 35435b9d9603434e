// Threads that serve requests: made on demand, bounded, and gone again when idle.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>

namespace quorum::server {

/// Thread-safe.
class WorkerPool {
 public:
  /// At most `max_threads` tasks run and `max_waiting` wait.
  WorkerPool(std::size_t max_threads, std::size_t max_waiting);
  ~WorkerPool();  // waits for all tasks
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Runs `task` on a thread of the pool. False, and `task` never runs, when there is no room for it.
  /// `task` must not throw.
  bool TryRun(std::function<void()> task);

 private:
  void Work();

  const std::size_t max_threads_;
  const std::size_t max_waiting_;
  std::mutex mutex_;
  std::condition_variable work_or_stop_;
  std::condition_variable thread_ended_;
  std::deque<std::function<void()>> waiting_;
  std::size_t threads_ = 0;  // detached; the destructor waits until it is 0
  std::size_t idle_ = 0;
  bool stopping_ = false;
};

}  // namespace quorum::server
