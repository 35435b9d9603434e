#include "engine/memory_limit.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <string_view>

#include <fmt/format.h>

namespace quorum::engine {
namespace {

std::optional<std::int64_t> Number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data() || value < 0) return {};  // "max" is no number: unlimited
  return value;
}

std::optional<std::int64_t> NumberIn(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  if (!(file >> word)) return {};
  return Number(word);
}

/// The number behind `key` in a file of "key value" lines ("MemAvailable:   123 kB").
std::optional<std::int64_t> Field(const std::string& path, std::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with(key)) continue;
    const std::size_t at = line.find_first_not_of(" \t", key.size());
    if (at == std::string::npos || at == key.size()) continue;
    return Number(std::string_view(line).substr(at));
  }
  return {};
}

struct Files {
  const char* limit;
  const char* usage;
  const char* cache[2];  // fields of memory.stat
};
constexpr Files kV2 = {"/memory.max", "/memory.current", {"inactive_file", "active_file"}};
constexpr Files kV1 = {
    "/memory.limit_in_bytes", "/memory.usage_in_bytes", {"total_inactive_file", "total_active_file"}};

/// Lowers `least` to the tightest limit between `mount`/`group` and `mount`. In a container the group's path is often
/// the host's and does not exist below the mount; the walk then ends at the mount, which is the container's.
void WalkUp(const std::string& mount, std::string group, const Files& files, MemoryLimit& least) {
  while (true) {
    while (!group.empty() && group.back() == '/') group.pop_back();
    const std::string folder = mount + group;
    const auto limit = NumberIn(folder + files.limit);
    const auto usage = NumberIn(folder + files.usage);
    if (limit && usage) {
      std::int64_t cache = 0;
      for (const char* field : files.cache) cache += Field(folder + "/memory.stat", field).value_or(0);
      const std::int64_t available = std::max<std::int64_t>(*limit - std::max<std::int64_t>(*usage - cache, 0), 0);
      if (available < least.available) {
        least = {available, fmt::format("{} of cgroup {}", files.limit + 1, group.empty() ? "/" : group)};
      }
    }
    if (group.empty()) return;
    const std::size_t slash = group.rfind('/');
    group.resize(slash == std::string::npos ? 0 : slash);
  }
}

}  // namespace

MemoryLimit AvailableMemory(const std::string& root) {
  const std::string base = root.ends_with('/') ? root.substr(0, root.size() - 1) : root;
  MemoryLimit least{std::numeric_limits<std::int64_t>::max(), "no limit found"};
  if (const auto kilobytes = Field(base + "/proc/meminfo", "MemAvailable:")) {
    least = {*kilobytes * 1024, "MemAvailable of this host"};
  }
  std::ifstream groups(base + "/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {  // "0::/path" (v2) or "7:memory:/path" (v1)
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (controllers.empty()) {
      WalkUp(base + "/sys/fs/cgroup", group, kV2, least);
      WalkUp(base + "/sys/fs/cgroup/unified", group, kV2, least);
    } else if (("," + controllers + ",").find(",memory,") != std::string::npos) {
      WalkUp(base + "/sys/fs/cgroup/memory", group, kV1, least);
    }
  }
  return least;
}

}  // namespace quorum::engine
