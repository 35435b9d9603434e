// A thread that has masks ready before they are asked for: while the model computes the step that will need them.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/grammar/matcher.h"

namespace quorum::grammar {

/// Thread-safe. The thread starts with the first job, so one that is never used costs nothing.
class Prefetcher {
 public:
  Prefetcher() = default;
  ~Prefetcher();
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  void Start(Matcher::Prefetch job);

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable work_;
  std::vector<Matcher::Prefetch> jobs_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace quorum::grammar
