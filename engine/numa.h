// Machines with several memory nodes: which of them computes, and where weights lie. Memory of another node is read at
// about half the speed, so by default everything is on one.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace quorum::engine {

struct NumaNode {
  int id = 0;
  std::vector<int> cpus = {};  // that this process may use, ascending
};

/// The nodes of this machine that have CPUs for this process, ascending, from
/// `root`/sys/devices/system/node/node*/cpulist. Empty where the kernel does not say.
std::vector<NumaNode> NumaNodes(const std::vector<int>& allowed_cpus, const std::string& root = "/");

enum class NumaMode {
  kOne,      // threads and memory on one node, unless it has fewer CPUs than threads are asked for
  kAll,      // threads on all nodes, memory spread over them page by page
  kExperts,  // threads on all nodes; each expert lies on one and is computed by its threads
};

/// Where workers of a ThreadPool run.
struct Placement {
  struct Worker {
    int cpu = -1;   // -1: wherever the kernel puts it
    int group = 0;  // index into group_nodes
  };
  std::vector<Worker> workers = {};    // worker 0 is the caller of a run
  std::vector<int> group_nodes = {0};  // the node of each group of workers; one group: experts are not shared out
  std::vector<int> process_cpus = {};  // what the process is to run on; empty: as it is
  std::vector<int> preferred_nodes =
      {};  // memory: on this node while it has any; several: interleaved; empty: as it is
};

/// `threads` workers (0: as many as the mode gives, at most `usable`) on `nodes`; with fewer than two nodes all modes
/// are the same. `allowed` are the CPUs of the process.
Placement PlaceThreads(NumaMode mode, int threads, int usable, const std::vector<int>& allowed,
                       const std::vector<NumaNode>& nodes);

/// Applies process_cpus and preferred_nodes to the calling thread and those that it will start. False if the kernel
/// refuses any of it, which costs only speed.
bool BindThread(const Placement& placement);

/// Asks for [data, data + bytes) on `node`: whole pages, before they are first written. False if the kernel refuses.
bool PreferNode(void* data, std::size_t bytes, int node);

}  // namespace quorum::engine
