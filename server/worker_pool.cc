#include "server/worker_pool.h"

#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include "engine/base/log.h"

namespace quorum::server {
namespace {

constexpr std::chrono::seconds kIdleLife{20};

}  // namespace

WorkerPool::WorkerPool(std::size_t max_threads, std::size_t max_waiting)
    : max_threads_(max_threads), max_waiting_(max_waiting) {}

WorkerPool::~WorkerPool() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  work_or_stop_.notify_all();
  thread_ended_.wait(lock, [this] { return threads_ == 0; });
}

bool WorkerPool::TryRun(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return false;
  const bool needs_thread = idle_ <= waiting_.size();
  if (needs_thread && threads_ == max_threads_ && waiting_.size() >= max_waiting_ + idle_) return false;
  waiting_.push_back(std::move(task));
  if (needs_thread && threads_ < max_threads_) {
    try {
      std::thread(&WorkerPool::Work, this).detach();
      ++threads_;
    } catch (const std::system_error& e) {  // the machine allows no more threads: those that there are must do
      Log(LogLevel::kWarn, "cannot start a worker thread: {}", e.what());
      if (threads_ == 0) {
        waiting_.pop_back();
        return false;
      }
    }
  }
  work_or_stop_.notify_one();
  return true;
}

void WorkerPool::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    work_or_stop_.wait_for(lock, kIdleLife, [this] { return !waiting_.empty() || stopping_; });
    --idle_;
    if (waiting_.empty()) break;
    auto task = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
  }
  --threads_;
  // Last touch of the members: notified under the lock, so the destructor cannot finish before it is released.
  thread_ended_.notify_all();
}

}  // namespace quorum::server
