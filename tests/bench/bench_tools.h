// What the benchmarks share: a thread's own time, and their simple flags.
#pragma once

#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include <time.h>

#include "engine/kernels/dispatch.h"
#include "engine/kernels/kernel_table.h"

namespace quorum::engine {

/// Seconds that this thread has run: other processes share the machine.
inline double ThreadSeconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

inline std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

inline std::vector<std::int64_t> Numbers(const std::string& text) {
  std::vector<std::int64_t> numbers;
  for (const std::string& part : Split(text, ',')) numbers.push_back(std::stoll(part));
  return numbers;
}

/// The kernels called `name`; null: there are none, or not on this machine.
inline const KernelTable* KernelsNamed(const std::string& name) {
  for (const Isa isa : kAllIsas) {
    if (name == IsaName(isa) && HasIsa(isa)) return &KernelsFor(isa);
  }
  return nullptr;
}

/// What every benchmark can be told.
struct BenchOptions {
  const KernelTable* table = &KernelsFor(DetectIsa());
  std::int64_t stream_mib = 0;
  double seconds = 0.1;
};

/// Reads "--flag value" pairs; own(flag, value) takes those that are not every benchmark's and says whether it could.
template <typename Own>
bool ParseFlags(int argc, char** argv, BenchOptions* options, Own&& own) {
  if (argc % 2 == 0) return false;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const std::string value = argv[i + 1];
    if (flag == "--isa") {
      options->table = KernelsNamed(value);
      if (options->table == nullptr) return false;
    } else if (flag == "--stream") {
      options->stream_mib = std::stoll(value);
    } else if (flag == "--seconds") {
      options->seconds = std::stod(value);
    } else if (!own(flag, value)) {
      return false;
    }
  }
  return true;
}

}  // namespace quorum::engine
