#include "engine/cpu_limits.h"

#include <sched.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <limits>
#include <memory>
#include <string_view>

#include "engine/thread_pool.h"

namespace quorum::engine {
namespace {

/// The whitespace-separated words of a small file; none if it cannot be read.
std::vector<std::string> Words(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> words;
  for (std::string word; words.size() < 8 && file >> word;) words.push_back(word);
  return words;
}

std::optional<double> Number(const std::string& word) {
  if (word.empty() || word.size() > 18 || word.find_first_not_of("0123456789") != std::string::npos) return {};
  return static_cast<double>(std::stoll(word));
}

std::optional<double> Ratio(const std::string& quota, const std::string& period) {
  const auto q = Number(quota);  // "max" and "-1" are not numbers: unlimited
  const auto p = Number(period);
  if (!q || !p || *q <= 0 || *p <= 0) return {};
  return *q / *p;
}

std::optional<double> QuotaOfGroup(const std::string& folder, bool v2) {
  if (v2) {
    const auto words = Words(folder + "/cpu.max");
    return words.size() < 2 ? std::nullopt : Ratio(words[0], words[1]);
  }
  const auto quota = Words(folder + "/cpu.cfs_quota_us");
  const auto period = Words(folder + "/cpu.cfs_period_us");
  return quota.empty() || period.empty() ? std::nullopt : Ratio(quota[0], period[0]);
}

/// Lowers `limit` to the tightest quota between `mount`/`group` and `mount`. Inside a container the group's path is
/// often the host's and does not exist below the mount; the walk then ends at the mount, which is the container's.
void WalkUp(const std::string& mount, std::string group, bool v2, std::optional<double>& limit) {
  while (true) {
    while (!group.empty() && group.back() == '/') group.pop_back();
    const auto quota = QuotaOfGroup(mount + group, v2);
    if (quota && (!limit || *quota < *limit)) limit = quota;
    if (group.empty()) return;
    group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
}

bool HasCpuController(std::string_view controllers) {
  while (!controllers.empty()) {
    const std::size_t comma = std::min(controllers.find(','), controllers.size());
    if (controllers.substr(0, comma) == "cpu") return true;
    controllers.remove_prefix(std::min(comma + 1, controllers.size()));
  }
  return false;
}

}  // namespace

std::vector<int> AllowedCpus() {
  // The kernel's mask may be longer than cpu_set_t's 1024 CPUs; EINVAL says so.
  for (std::size_t cpus = 1024; cpus <= (1U << 20); cpus *= 4) {
    const std::size_t bytes = CPU_ALLOC_SIZE(cpus);
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(cpus), [](cpu_set_t* p) { CPU_FREE(p); });
    if (!set) return {};
    CPU_ZERO_S(bytes, set.get());
    if (sched_getaffinity(0, bytes, set.get()) != 0) continue;
    std::vector<int> allowed;
    for (std::size_t cpu = 0; cpu < cpus; ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, set.get())) allowed.push_back(static_cast<int>(cpu));
    }
    return allowed;
  }
  return {};
}

bool RunThreadOn(std::span<const int> cpus) {
  const int most = *std::max_element(cpus.begin(), cpus.end());
  const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(most) + 1);
  cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(most) + 1);
  if (set == nullptr) return false;
  CPU_ZERO_S(bytes, set);
  for (const int cpu : cpus) CPU_SET_S(static_cast<std::size_t>(cpu), bytes, set);
  const bool done = sched_setaffinity(0, bytes, set) == 0;
  CPU_FREE(set);
  return done;
}

std::optional<double> CgroupCpuQuota(const std::string& root) {
  std::optional<double> limit;
  std::ifstream file(root + "/proc/self/cgroup");
  // Lines are "id:controllers:/path"; v2 has id 0 and no controllers (man 7 cgroups).
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    const std::string base = root + "/sys/fs/cgroup";
    if (controllers.empty() && line.substr(0, first) == "0") {
      WalkUp(base, group, true, limit);
      WalkUp(base + "/unified", group, true, limit);  // systemd's hybrid layout
    } else if (HasCpuController(controllers)) {
      for (const std::string& folder : {controllers, std::string("cpu")}) {
        WalkUp(std::string(base).append("/").append(folder), group, false, limit);
      }
    }
  }
  return limit;
}

int UsableCpus(const char* root) {
  int cpus = std::max(1, static_cast<int>(AllowedCpus().size()));
  // Rounded down: with more threads than quota all of them are throttled together at the end of each period.
  if (const auto quota = CgroupCpuQuota(root)) cpus = static_cast<int>(std::min<double>(cpus, *quota));
  return std::max(1, cpus);
}

}  // namespace quorum::engine
