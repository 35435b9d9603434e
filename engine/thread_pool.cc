#include "engine/thread_pool.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "engine/base/check.h"
#include "engine/cpu_limits.h"
#include "engine/float_mode.h"

namespace quorum::engine {
namespace {

/// How long a thread spins before it sleeps: longer than the serial code between two matrix products, short against
/// a time slice, so that a thread whose peer lost its core gives its own core back.
constexpr std::chrono::microseconds kSpin{50};
constexpr std::size_t kCacheLine = 64;

void Pause() {
#if defined(__SSE2__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

/// A counter that threads wait on: spin a little, then sleep in the kernel.
class Signal {
 public:
  std::uint32_t value() const { return word_.load(std::memory_order_acquire); }

  /// Counts up and wakes at most `wake` sleepers. Everything written before is seen by those that WaitPast lets go.
  void Raise(int wake) {
    word_.fetch_add(1, std::memory_order_seq_cst);
    // Either this load sees the sleeper's count, or the sleeper's futex call sees the new word: both are seq_cst.
    if (sleepers_.load(std::memory_order_seq_cst) > 0) Futex(FUTEX_WAKE_PRIVATE, static_cast<std::uint32_t>(wake));
  }

  /// Returns once value() != seen.
  void WaitPast(std::uint32_t seen) {
    const auto start = std::chrono::steady_clock::now();
    do {
      for (int i = 0; i < 32; ++i) {
        if (value() != seen) return;
        Pause();
      }
    } while (std::chrono::steady_clock::now() - start < kSpin);
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    while (word_.load(std::memory_order_seq_cst) == seen) Futex(FUTEX_WAIT_PRIVATE, seen);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  void Futex(int operation, std::uint32_t value) {
    static_assert(sizeof(word_) == sizeof(std::uint32_t) && std::atomic<std::uint32_t>::is_always_lock_free);
    syscall(SYS_futex, &word_, operation, value, nullptr, nullptr, 0);
  }

  alignas(kCacheLine) std::atomic<std::uint32_t> word_{0};
  std::atomic<std::int32_t> sleepers_{0};
};

}  // namespace

/// One run is a countdown for each worker, which nobody else touches before the worker runs dry elsewhere: a line that
/// stays in its core's cache. `remaining` starts at the number of its tasks and each fetch_sub that returns r > 0 is
/// the right to task (end - r * step). A worker that comes late only pushes it below zero, and needs not be waited for:
/// the run is over when all tasks are finished, and the job's fields stay put until then.
class ThreadPool::Impl {
 public:
  explicit Impl(const Placement& placement)
      : nodes_(placement.group_nodes), members_(nodes_.size()), lanes_(placement.workers.size()) {
    QUORUM_CHECK(!placement.workers.empty() && !nodes_.empty());
    const auto threads = static_cast<int>(placement.workers.size());
    for (int worker = 0; worker < threads; ++worker) {
      const int group = placement.workers[static_cast<std::size_t>(worker)].group;
      QUORUM_CHECK(group >= 0 && group < std::ssize(nodes_));
      all_.push_back(worker);
      members_[static_cast<std::size_t>(group)].push_back(worker);
    }
    others_.resize(placement.workers.size());
    for (std::size_t group = 0; group < members_.size(); ++group) {
      const std::vector<int>& own = members_[group];
      for (std::size_t i = 0; i < own.size(); ++i) {
        std::vector<int>& others = others_[static_cast<std::size_t>(own[i])];
        for (std::size_t j = 1; j < own.size(); ++j) others.push_back(own[(i + j) % own.size()]);
        for (std::size_t away = 1; away < members_.size(); ++away) {
          const std::vector<int>& there = members_[(group + away) % members_.size()];
          for (std::size_t j = 0; j < there.size(); ++j) others.push_back(there[(i + j) % there.size()]);
        }
      }
    }
    workers_.reserve(placement.workers.size() - 1);
    for (int worker = 1; worker < threads; ++worker) {
      // The caller, worker 0, is not ours to pin: threads that it starts later would inherit the mask.
      workers_.emplace_back(
          [this, worker, cpu = placement.workers[static_cast<std::size_t>(worker)].cpu] { WorkerLoop(worker, cpu); });
    }
  }

  ~Impl() {
    stop_.store(true, std::memory_order_relaxed);
    started_.Raise(size());
    for (std::thread& thread : workers_) thread.join();
  }

  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }
  const std::vector<int>& nodes() const { return nodes_; }

  /// `ends` has one entry, or one for each group.
  void Run(std::span<const std::int64_t> ends, TaskFn fn, void* context) {
    QUORUM_CHECK(ends.size() == 1 || ends.size() == nodes_.size());
    const FloatMode mode;
    const std::int64_t tasks = ends.back();
    if (tasks <= 1 || workers_.empty()) {
      for (std::int64_t task = 0; task < tasks; ++task) fn(context, task, 0);
      return;
    }
    const std::uint32_t before = finished_all_.value();
    tasks_ = tasks;
    fn_ = fn;
    context_ = context;
    finished_.store(0, std::memory_order_relaxed);
    if (ends.size() == 1) {
      Deal(all_, 0, tasks);
    } else {
      for (std::size_t i = 0; i < ends.size(); ++i) Deal(members_[i], i == 0 ? 0 : ends[i - 1], ends[i]);
    }
    started_.Raise(static_cast<int>(std::min<std::int64_t>(tasks - 1, size() - 1)));
    if (!Work(0)) finished_all_.WaitPast(before);
  }

 private:
  struct alignas(kCacheLine) Lane {
    std::atomic<std::int64_t> remaining{0};
    std::int64_t end = 0;
    std::int64_t step = 1;
  };

  /// Deals tasks [begin, end) out to `workers` in turns.
  void Deal(const std::vector<int>& workers, std::int64_t begin, std::int64_t end) {
    const std::int64_t step = std::ssize(workers);
    for (const int worker : workers) {
      const std::int64_t count = begin < end ? (end - begin + step - 1) / step : 0;
      Lane& lane = lanes_[static_cast<std::size_t>(worker)];
      lane.end = begin + count * step;
      lane.step = step;
      lane.remaining.store(count, std::memory_order_release);
      ++begin;
    }
  }

  /// Takes tasks until none is left: its own, its group's, then others'. True: this thread finished the run's last one.
  bool Work(int worker) {
    std::int64_t done = 0;
    std::int64_t tasks = 0;
    const auto take = [&](int of) {
      Lane& lane = lanes_[static_cast<std::size_t>(of)];
      if (lane.remaining.load(std::memory_order_relaxed) <= 0) return;  // a look costs less than a fetch_sub
      for (std::int64_t left = 0; (left = lane.remaining.fetch_sub(1, std::memory_order_acquire)) > 0; ++done) {
        tasks = tasks_;
        fn_(context_, lane.end - left * lane.step, worker);
      }
    };
    take(worker);
    for (const int other : others_[static_cast<std::size_t>(worker)]) take(other);
    return done > 0 && finished_.fetch_add(done, std::memory_order_acq_rel) + done == tasks;
  }

  void WorkerLoop(int worker, int cpu) {
    if (cpu >= 0) RunThreadOn({&cpu, 1});  // where it is refused, the thread runs wherever the kernel puts it
    const FloatMode mode;
    std::uint32_t seen = 0;
    while (true) {
      started_.WaitPast(seen);
      seen = started_.value();
      if (stop_.load(std::memory_order_relaxed)) return;
      if (Work(worker)) finished_all_.Raise(1);
    }
  }

  const std::vector<int> nodes_;
  Signal started_;                         // counts runs
  Signal finished_all_;                    // counts runs whose last task was finished by a worker other than the caller
  std::vector<int> all_;                   // workers
  std::vector<std::vector<int>> members_;  // of each group
  std::vector<std::vector<int>> others_;   // for each worker: whose tasks it takes when it has none left, nearest first
  std::vector<Lane> lanes_;                // of each worker
  alignas(kCacheLine) std::atomic<std::int64_t> finished_{0};
  alignas(kCacheLine) std::int64_t tasks_ = 0;
  TaskFn fn_ = nullptr;
  void* context_ = nullptr;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

ThreadPool::ThreadPool(int threads) : ThreadPool(PlaceThreads(NumaMode::kOne, threads, threads, AllowedCpus(), {})) {}
ThreadPool::ThreadPool(const Placement& placement) : impl_(std::make_unique<Impl>(placement)) {}
ThreadPool::~ThreadPool() = default;

int ThreadPool::size() const { return impl_->size(); }
const std::vector<int>& ThreadPool::group_nodes() const { return impl_->nodes(); }

void ThreadPool::Run(std::int64_t tasks, TaskFn fn, void* context) { impl_->Run({&tasks, 1}, fn, context); }
void ThreadPool::Run(std::span<const std::int64_t> ends, TaskFn fn, void* context) { impl_->Run(ends, fn, context); }

}  // namespace quorum::engine
