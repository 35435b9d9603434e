#include "quant/workers.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

namespace quorum::quant {

void ForEach(int threads, std::int64_t count, const std::function<void(std::int64_t i)>& work) {
  std::atomic<std::int64_t> next{0};
  const auto run = [&] {
    for (std::int64_t i = next++; i < count; i = next++) work(i);
  };
  std::vector<std::jthread> others;
  const auto wanted = std::min<std::int64_t>(threads, count) - 1;
  try {
    for (std::int64_t i = 0; i < wanted; ++i) others.emplace_back(run);
  } catch (const std::system_error&) {
    // No more threads: those that there are do all of it.
  }
  run();
}

}  // namespace quorum::quant
