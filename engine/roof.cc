#include "engine/roof.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "engine/base/aligned_buffer.h"

namespace quorum::engine {
namespace {

constexpr std::int64_t kPiece = 1 << 20;  // bytes of a task
constexpr int kPasses = 8;                // the best counts: a roof is what is possible

/// The most that `pass`, which returns an amount, gets done in a second.
template <typename Pass>
double Best(Pass&& pass) {
  using Clock = std::chrono::steady_clock;
  double best = 0;
  for (int i = 0; i < kPasses; ++i) {
    const auto start = Clock::now();
    const double amount = pass();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    best = std::max(best, amount / std::max(seconds, 1e-9));
  }
  return best;
}

}  // namespace

Result<Roof> MeasureRoof(const KernelTable& kernels, ThreadPool& pool, std::int64_t buffer_bytes) {
  const std::int64_t pieces = std::max<std::int64_t>(buffer_bytes / kPiece, pool.size());
  QUORUM_ASSIGN(AlignedBuffer buffer, AlignedBuffer::Allocate(static_cast<std::size_t>(pieces * kPiece)));
  pool.ParallelFor(pieces, [&](std::int64_t piece, int) {  // zero pages would all be one
    std::memset(buffer.data() + piece * kPiece, static_cast<int>(piece % 251) + 1, static_cast<std::size_t>(kPiece));
  });
  std::atomic<std::uint64_t> keep = 0;  // so that nothing is optimised away
  Roof roof;
  roof.bytes_per_second = Best([&] {
    pool.ParallelFor(pieces, [&](std::int64_t piece, int) {
      keep ^= kernels.read_loop(buffer.As<std::uint8_t>(static_cast<std::size_t>(piece * kPiece)), kPiece);
    });
    return static_cast<double>(pieces * kPiece);
  });
  constexpr std::int64_t kIterations = 1 << 16;
  constexpr std::int64_t kTasks = 32;  // a worker
  roof.operations_per_second = Best([&] {
    std::atomic<std::int64_t> operations = 0;
    pool.ParallelFor(kTasks * pool.size(), [&](std::int64_t, int) { operations += kernels.peak_loop(kIterations); });
    return static_cast<double>(operations.load());
  });
  return roof;
}

}  // namespace quorum::engine
