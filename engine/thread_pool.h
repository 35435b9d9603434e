// The threads that compute: pinned, bounded spinning, dynamic tasks. A slow core simply does less.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace quorum::engine {

/// How many threads this process may really use: min(sched_getaffinity, cgroup v1/v2 CPU quota rounded down, at
/// least 1). `root` is "/" except in tests.
int UsableCpus(const char* root = "/");

/// A fixed team of `threads` workers, the caller being one of them. One caller at a time; not reentrant.
/// Results never depend on the number of threads: tasks are the unit of work and each writes its own output.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  using TaskFn = void (*)(void* context, std::int64_t task, int worker);
  /// Calls fn(context, task, worker) once for each task in [0, tasks), handed out in ascending order to whichever
  /// worker (0 … size()-1) is free; returns when all are done.
  void Run(std::int64_t tasks, TaskFn fn, void* context);

  /// `body(task, worker)` for each task.
  template <typename Body>
  void ParallelFor(std::int64_t tasks, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    Run(tasks, [](void* context, std::int64_t task, int worker) { (*static_cast<Plain*>(context))(task, worker); },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quorum::engine
