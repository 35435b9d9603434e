// The threads that compute: pinned, bounded spinning, dynamic tasks. A slow core simply does less.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "engine/numa.h"

namespace quorum::engine {

/// How many threads this process may really use: min(sched_getaffinity, cgroup v1/v2 CPU quota rounded down, at
/// least 1). `root` is "/" except in tests.
int UsableCpus(const char* root = "/");

/// A fixed team of `threads` workers, the caller being one of them. One caller at a time; not reentrant.
/// Results never depend on the number of threads: tasks are the unit of work and each writes its own output.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  /// One worker for each of the placement's, at least one.
  explicit ThreadPool(const Placement& placement);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;
  /// The memory node of each group of workers: of the whole team, or one for each node that it is spread over.
  const std::vector<int>& group_nodes() const;

  using TaskFn = void (*)(void* context, std::int64_t task, int worker);
  /// Calls fn(context, task, worker) once for each task in [0, tasks) and returns when all are done. Worker w of
  /// 0 … size()-1 takes w, w + size(), ... in this order, and then what others have not got to.
  void Run(std::int64_t tasks, TaskFn fn, void* context);
  /// The same for as many runs of tasks as there are groups: group g's are [ends[g - 1], ends[g]), which its workers
  /// share; who has none left helps its own group first.
  void Run(std::span<const std::int64_t> ends, TaskFn fn, void* context);

  /// `body(task, worker)` for each task.
  template <typename Body>
  void ParallelFor(std::int64_t tasks, Body&& body) {
    Run(tasks, Call<Body>, const_cast<void*>(static_cast<const void*>(&body)));
  }
  template <typename Body>
  void ParallelForGroups(std::span<const std::int64_t> ends, Body&& body) {
    Run(ends, Call<Body>, const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  template <typename Body>
  static void Call(void* context, std::int64_t task, int worker) {
    (*static_cast<std::remove_reference_t<Body>*>(context))(task, worker);
  }

  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quorum::engine
