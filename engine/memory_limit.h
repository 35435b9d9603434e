// How much more memory this process may use.
#pragma once

#include <cstdint>
#include <string>

namespace quorum::engine {

struct MemoryLimit {
  std::int64_t available = 0;  // bytes
  std::string source;          // what sets it: "MemAvailable of this host", "memory.max of cgroup /a/b"
};

/// The least of MemAvailable (/proc/meminfo) and, for this process's cgroup and every one above it, limit - usage +
/// page cache that can be dropped (v2: memory.max, v1: memory.limit_in_bytes). `root` is "/" except in tests.
/// Where nothing can be read, `available` is the largest number: nothing is then refused.
MemoryLimit AvailableMemory(const std::string& root = "/");

}  // namespace quorum::engine
