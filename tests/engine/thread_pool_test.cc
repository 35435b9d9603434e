#include "engine/thread_pool.h"

#include <atomic>
#include <cstdint>
#include <limits>
#include <vector>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "tests/support/catch.h"

namespace quorum::engine {
namespace {

TEST_CASE("Every task runs exactly once, whatever the numbers of tasks and threads") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    REQUIRE(pool.size() == threads);
    for (const std::int64_t tasks : {0, 1, 2, 3, 7, 64, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
      std::atomic<bool> worker_in_range{true};
      pool.ParallelFor(tasks, [&](std::int64_t task, int worker) {
        runs[static_cast<std::size_t>(task)].fetch_add(1);
        if (worker < 0 || worker >= threads) worker_in_range = false;
      });
      CAPTURE(threads, tasks);
      CHECK(worker_in_range);
      int total = 0;
      for (const auto& count : runs) total += count == 1 ? 1 : 0;
      CHECK(total == tasks);
    }
  }
}

TEST_CASE("A run sees the data of the run before it, and no run leaks into the next") {
  ThreadPool pool(4);
  std::vector<std::int64_t> plain(37, 0);  // not atomic: the thread sanitizer watches the hand-over
  for (int round = 0; round < 3000; ++round) {
    const std::int64_t tasks = round % 38;
    pool.ParallelFor(tasks, [&](std::int64_t task, int) {
      auto& mine = plain[static_cast<std::size_t>(task)];
      mine += task + round;
    });
  }
  std::vector<std::int64_t> want(37, 0);
  for (int round = 0; round < 3000; ++round) {
    for (int task = 0; task < round % 38; ++task) want[static_cast<std::size_t>(task)] += task + round;
  }
  CHECK(plain == want);
}

TEST_CASE("Two tasks that need each other run at the same time") {
  ThreadPool pool(2);
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> arrived{0};
    pool.ParallelFor(2, [&](std::int64_t, int) {
      arrived.fetch_add(1);
      while (arrived.load() < 2) {  // ends only if the other task has a thread of its own
      }
    });
    CHECK(arrived == 2);
  }
}

TEST_CASE("What a worker that is held up has not begun is done by the others") {
  for (const int threads : {2, 3}) {
    ThreadPool pool(threads);
    constexpr std::int64_t kTasks = 40;
    for (std::int64_t slow = 0; slow < threads; ++slow) {
      std::atomic<std::int64_t> done{0};
      pool.ParallelFor(kTasks, [&](std::int64_t task, int) {
        if (task == slow) {
          while (done.load() < kTasks - 1) {  // ends only if others take what was dealt out with it
          }
        }
        done.fetch_add(1);
      });
      CHECK(done == kTasks);
    }
  }
}

TEST_CASE("Pools come and go, one may be driven by different threads in turn") {
  for (int round = 0; round < 50; ++round) ThreadPool pool(3);
  ThreadPool outer(2);
  ThreadPool inner(2);
  std::atomic<int> count{0};
  outer.ParallelFor(1, [&](std::int64_t, int) { inner.ParallelFor(10, [&](std::int64_t, int) { ++count; }); });
  inner.ParallelFor(10, [&](std::int64_t, int) { ++count; });
  CHECK(count == 20);
}

#if defined(__SSE2__)
TEST_CASE("All workers compute with round-to-nearest and denormals, and the caller's mode comes back") {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(0x1F80 | 0x8040 | 0x6000);  // flush to zero, denormals are zero, round to zero
  std::atomic<int> wrong{0};
  for (const int threads : {1, 4}) {
    ThreadPool pool(threads);  // its threads inherit this strange mode
    std::atomic<int> arrived{0};
    pool.ParallelFor(threads, [&](std::int64_t, int) {
      arrived.fetch_add(1);
      while (arrived.load() < threads) {  // so that each thread has one
      }
      if ((_mm_getcsr() & 0xFFC0U) != 0x1F80U) ++wrong;
      volatile float tiny = std::numeric_limits<float>::denorm_min();
      if (tiny * 2.0F == 0.0F) ++wrong;
    });
  }
  const unsigned after = _mm_getcsr() & 0xFFC0U;
  _mm_setcsr(before);
  CHECK(wrong == 0);
  CHECK(after == (0x1F80 | 0x8040 | 0x6000));
}
#endif

}  // namespace
}  // namespace quorum::engine
