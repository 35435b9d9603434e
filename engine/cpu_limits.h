// Which CPUs this process may use, and how much of them: affinity masks and cgroup quotas.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace quorum::engine {

/// CPU ids that the calling thread may run on (sched_getaffinity), ascending. Empty when the kernel does not say.
std::vector<int> AllowedCpus();

/// Lets the calling thread, and those that it starts from now on, run on `cpus` (at least one) alone. False if the
/// kernel refuses.
bool RunThreadOn(std::span<const int> cpus);

/// CPUs' worth of time that the tightest enclosing cgroup grants (quota / period), or nothing when unlimited.
/// Reads `root`/proc/self/cgroup and walks from each named group up to its mount point (v2: cpu.max; v1:
/// cpu.cfs_quota_us and cpu.cfs_period_us), because a limit on any ancestor binds. `root` is "/" except in tests.
std::optional<double> CgroupCpuQuota(const std::string& root = "/");

}  // namespace quorum::engine
