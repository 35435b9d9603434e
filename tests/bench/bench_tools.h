// What the benchmarks share: a thread's own time, and their simple flags.
#pragma once

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

/// The kernels called `name`; null: there are none, or not on this machine.
inline const KernelTable* KernelsNamed(const std::string& name) {
  for (const Isa isa : kAllIsas) {
    if (name == IsaName(isa) && HasIsa(isa)) return &KernelsFor(isa);
  }
  return nullptr;
}

}  // namespace quorum::engine
