#include "engine/grammar/prefetcher.h"

#include <utility>

namespace quorum::grammar {

Prefetcher::~Prefetcher() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Prefetcher::Start(Matcher::Prefetch job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  }
  work_.notify_one();
}

void Prefetcher::Run() {
  for (;;) {
    std::vector<Matcher::Prefetch> jobs;
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [this] { return stop_ || !jobs_.empty(); });
      if (stop_) return;
      jobs.swap(jobs_);
    }
    for (const Matcher::Prefetch& job : jobs) job();
  }
}

}  // namespace quorum::grammar
