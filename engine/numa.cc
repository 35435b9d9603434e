#include "engine/numa.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <system_error>

#include "engine/cpu_limits.h"

namespace quorum::engine {
namespace {

constexpr int kMaxNodes = 1024;  // the kernel's own limit (MAX_NUMNODES)
constexpr int kMaxCpus = 1 << 16;

/// The ids of a list as "0-3,8,10-11"; none if it is anything else.
std::vector<int> ParseIds(std::string_view text) {
  std::vector<int> ids;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  while (!text.empty()) {
    std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    int first = 0;
    auto [at, error] = std::from_chars(part.begin(), part.end(), first);
    int last = first;
    if (error == std::errc() && at != part.end() && *at == '-') {
      const auto second = std::from_chars(at + 1, part.end(), last);
      at = second.ptr;
      error = second.ec;
    }
    if (error != std::errc() || at != part.end() || first < 0 || last < first || last >= kMaxCpus) return {};
    for (int id = first; id <= last; ++id) ids.push_back(id);
  }
  return ids;
}

/// A set of nodes as the kernel's calls take it.
struct NodeMask {
  static constexpr std::size_t kWordBits = 8 * sizeof(unsigned long);
  unsigned long words[kMaxNodes / kWordBits] = {};
  bool Add(int node) {
    if (node < 0 || node >= kMaxNodes) return false;
    words[static_cast<std::size_t>(node) / kWordBits] |= 1UL << (static_cast<std::size_t>(node) % kWordBits);
    return true;
  }
};

/// Threads of all nodes in turn: a node's own CPUs ascending.
void SpreadOver(const std::vector<NumaNode>& nodes, int threads, bool grouped, Placement& placement) {
  std::vector<std::size_t> next(nodes.size(), 0);
  for (std::size_t at = 0; std::ssize(placement.workers) < threads; at = (at + 1) % nodes.size()) {
    const bool full = next[at] >= nodes[at].cpus.size();
    bool all_full = true;
    for (std::size_t i = 0; i < nodes.size(); ++i) all_full &= next[i] >= nodes[i].cpus.size();
    if (full && !all_full) continue;
    placement.workers.push_back({full ? -1 : nodes[at].cpus[next[at]++], grouped ? static_cast<int>(at) : 0});
  }
}

}  // namespace

std::vector<NumaNode> NumaNodes(const std::vector<int>& allowed_cpus, const std::string& root) {
  std::vector<NumaNode> nodes;
  std::error_code error;
  const std::filesystem::path folder = root + "/sys/devices/system/node";
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with("node")) continue;
    const std::vector<int> id = ParseIds(std::string_view(name).substr(4));
    if (id.size() != 1 || id[0] >= kMaxNodes) continue;
    std::ifstream file(it->path() / "cpulist");
    std::string text;
    std::getline(file, text);
    NumaNode node{id[0]};
    const std::vector<int> cpus = ParseIds(text);
    std::set_intersection(cpus.begin(), cpus.end(), allowed_cpus.begin(), allowed_cpus.end(),
                          std::back_inserter(node.cpus));
    if (!node.cpus.empty()) nodes.push_back(std::move(node));
  }
  std::sort(nodes.begin(), nodes.end(), [](const NumaNode& a, const NumaNode& b) { return a.id < b.id; });
  return nodes;
}

Placement PlaceThreads(NumaMode mode, int threads, int usable, const std::vector<int>& allowed,
                       const std::vector<NumaNode>& nodes) {
  Placement placement;
  const auto on = [&](const std::vector<int>& cpus, int count) {
    // More threads than CPUs: no place is better than another.
    const bool pin = count > 1 && std::ssize(cpus) >= count;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
      placement.workers.push_back({pin ? cpus[i] : -1, 0});
  };
  if (nodes.size() < 2) {
    on(allowed, threads > 0 ? threads : usable);
    return placement;
  }
  const NumaNode& widest = *std::max_element(
      nodes.begin(), nodes.end(), [](const NumaNode& a, const NumaNode& b) { return a.cpus.size() < b.cpus.size(); });
  if (mode == NumaMode::kOne && threads <= std::ssize(widest.cpus)) {
    on(widest.cpus, threads > 0 ? threads : std::min(usable, static_cast<int>(widest.cpus.size())));
    placement.group_nodes = {widest.id};
    placement.process_cpus = widest.cpus;
    placement.preferred_nodes = {widest.id};
    return placement;
  }
  const int count = threads > 0 ? threads : usable;
  const bool grouped = mode == NumaMode::kExperts && count >= std::ssize(nodes);
  SpreadOver(nodes, count, grouped, placement);
  std::vector<int> ids;
  for (const NumaNode& node : nodes) ids.push_back(node.id);
  if (grouped) {
    placement.group_nodes = ids;
  } else {
    placement.preferred_nodes = ids;
  }
  return placement;
}

bool BindThread(const Placement& placement) {
  bool done = placement.process_cpus.empty() || RunThreadOn(placement.process_cpus);
  if (placement.preferred_nodes.empty()) return done;
  NodeMask mask;
  for (const int node : placement.preferred_nodes) done &= mask.Add(node);
  const int policy = placement.preferred_nodes.size() == 1 ? MPOL_PREFERRED : MPOL_INTERLEAVE;
  return syscall(SYS_set_mempolicy, policy, mask.words, kMaxNodes + 1) == 0 && done;
}

bool PreferNode(void* data, std::size_t bytes, int node) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t begin = (address + page - 1) / page * page;
  const std::uintptr_t end = (address + bytes) / page * page;
  NodeMask mask;
  if (!mask.Add(node)) return false;
  return begin >= end || syscall(SYS_mbind, begin, end - begin, MPOL_PREFERRED, mask.words, kMaxNodes + 1, 0) == 0;
}

}  // namespace quorum::engine
