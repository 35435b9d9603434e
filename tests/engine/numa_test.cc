// Machines with several memory nodes, which a folder plays here: whose CPUs are used, and that results do not show it.
#include "engine/numa.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/aligned_buffer.h"
#include "engine/cpu_limits.h"
#include "engine/thread_pool.h"
#include "tests/support/catch.h"
#include "tests/support/fake_root.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace quorum::engine {
namespace {

using testing::FakeRoot;
using testing::LoadedTiny;
using testing::LoadTiny;
using testing::TinyShape;

void AddNode(const FakeRoot& root, const std::string& name, const std::string& cpus) {
  root.Write("sys/devices/system/node/" + name + "/cpulist", cpus);
}

std::vector<int> Range(int begin, int end) {
  std::vector<int> ids;
  for (int i = begin; i < end; ++i) ids.push_back(i);
  return ids;
}

std::vector<int> CpusOf(const Placement& placement) {
  std::vector<int> cpus;
  for (const Placement::Worker& worker : placement.workers) cpus.push_back(worker.cpu);
  return cpus;
}

TEST_CASE("Nodes are read with the CPUs that the process may use") {
  const FakeRoot root;
  CHECK(NumaNodes(Range(0, 8), root.path()).empty());
  AddNode(root, "node10", "6-7\n");
  AddNode(root, "node2", "0-2,8-9,12\n");
  AddNode(root, "node3", "\n");       // memory without CPUs
  AddNode(root, "node4", "40-50\n");  // not ours
  AddNode(root, "node5", "4-x\n");    // not what the kernel writes
  AddNode(root, "node6", "5-3\n");
  AddNode(root, "node7", "0-99999999999\n");
  AddNode(root, "nodeless", "3\n");
  std::filesystem::create_directories(root.path() + "/sys/devices/system/node/node8");
  const std::vector<NumaNode> nodes = NumaNodes(Range(1, 9), root.path());
  REQUIRE(nodes.size() == 2);
  CHECK(nodes[0].id == 2);
  CHECK(nodes[0].cpus == std::vector<int>{1, 2, 8});
  CHECK(nodes[1].id == 10);
  CHECK(nodes[1].cpus == std::vector<int>{6, 7});
}

TEST_CASE("One node: its CPUs and its memory, as long as it has CPUs enough") {
  const std::vector<NumaNode> nodes = {{0, Range(0, 4)}, {1, Range(4, 10)}};
  for (const int threads : {0, 6}) {
    const Placement placement = PlaceThreads(NumaMode::kOne, threads, 10, Range(0, 10), nodes);
    CHECK(CpusOf(placement) == Range(4, 10));
    CHECK(placement.process_cpus == Range(4, 10));
    CHECK(placement.preferred_nodes == std::vector<int>{1});
    CHECK(placement.group_nodes == std::vector<int>{1});
  }
  // A quota of three CPUs.
  CHECK(CpusOf(PlaceThreads(NumaMode::kOne, 0, 3, Range(0, 10), nodes)) == Range(4, 7));
  // More threads than a node has CPUs: all nodes, memory spread.
  const Placement more = PlaceThreads(NumaMode::kOne, 7, 10, Range(0, 10), nodes);
  CHECK(CpusOf(more) == std::vector<int>{0, 4, 1, 5, 2, 6, 3});
  CHECK(more.process_cpus.empty());
  CHECK(more.preferred_nodes == std::vector<int>{0, 1});
  CHECK(more.group_nodes.size() == 1);
}

TEST_CASE("All nodes, with and without experts shared out") {
  const std::vector<NumaNode> nodes = {{0, Range(0, 2)}, {3, Range(2, 6)}};
  const Placement all = PlaceThreads(NumaMode::kAll, 0, 6, Range(0, 6), nodes);
  CHECK(CpusOf(all) == std::vector<int>{0, 2, 1, 3, 4, 5});
  CHECK(std::all_of(all.workers.begin(), all.workers.end(), [](const auto& worker) { return worker.group == 0; }));
  CHECK(all.preferred_nodes == std::vector<int>{0, 3});

  const Placement experts = PlaceThreads(NumaMode::kExperts, 8, 6, Range(0, 6), nodes);
  CHECK(CpusOf(experts) == std::vector<int>{0, 2, 1, 3, 4, 5, -1, -1});
  std::vector<int> groups;
  for (const Placement::Worker& worker : experts.workers) groups.push_back(worker.group);
  CHECK(std::vector<int>(groups.begin(), groups.begin() + 6) == std::vector<int>{0, 1, 0, 1, 1, 1});
  CHECK(experts.group_nodes == std::vector<int>{0, 3});
  CHECK(experts.preferred_nodes.empty());
  // One thread cannot be on two nodes.
  CHECK(PlaceThreads(NumaMode::kExperts, 1, 6, Range(0, 6), nodes).group_nodes.size() == 1);
}

TEST_CASE("With one node or none known, modes are the same") {
  for (const auto& nodes : {std::vector<NumaNode>{}, std::vector<NumaNode>{{0, Range(0, 4)}}}) {
    for (const NumaMode mode : {NumaMode::kOne, NumaMode::kAll, NumaMode::kExperts}) {
      const Placement placement = PlaceThreads(mode, 0, 3, Range(0, 4), nodes);
      CHECK(CpusOf(placement) == Range(0, 3));
      CHECK(placement.process_cpus.empty());
      CHECK(placement.preferred_nodes.empty());
      CHECK(placement.group_nodes.size() == 1);
      CHECK(CpusOf(PlaceThreads(mode, 6, 3, Range(0, 4), nodes)) == std::vector<int>(6, -1));
    }
  }
}

TEST_CASE("A thread is bound to CPUs and memory that there are, and refusal is told") {
  const std::vector<int> allowed = AllowedCpus();
  REQUIRE(!allowed.empty());
  std::thread([&] {  // a thread of its own: the binding ends with it
    Placement placement = PlaceThreads(NumaMode::kOne, 1, 1, allowed, {});
    CHECK(BindThread(placement));  // nothing to do
    placement.process_cpus = {allowed.back()};
    CHECK(BindThread(placement));
    CHECK(AllowedCpus() == std::vector<int>{allowed.back()});
    placement.preferred_nodes = {5000};
    CHECK_FALSE(BindThread(placement));
  })
      .join();
  CHECK(AllowedCpus() == allowed);

  Result<AlignedBuffer> memory = AlignedBuffer::Allocate(std::size_t{1} << 20);
  REQUIRE(memory.ok());
  CHECK(PreferNode(memory->data(), 100, 0));  // no whole page: nothing to do
  CHECK_FALSE(PreferNode(memory->data(), 1 << 20, 5000));
  CHECK_FALSE(PreferNode(memory->data(), 1 << 20, -1));
}

/// Workers of groups 0, 1, 0, 1, ... that run anywhere, with groups that all lie on node 0.
Placement Grouped(int threads, int groups) {
  Placement placement;
  placement.group_nodes.assign(static_cast<std::size_t>(groups), 0);
  for (int i = 0; i < threads; ++i) placement.workers.push_back({-1, i % groups});
  return placement;
}

TEST_CASE("Groups: every task runs exactly once, also where a group has none") {
  for (const int groups : {1, 2, 3}) {
    for (const int threads : {1, 3, 5}) {
      ThreadPool pool(Grouped(threads, groups));
      CHECK(pool.group_nodes().size() == static_cast<std::size_t>(groups));
      for (const std::vector<std::int64_t>& sizes :
           {std::vector<std::int64_t>{0, 0, 0}, {1, 0, 0}, {0, 0, 5}, {7, 0, 1}, {40, 300, 2}}) {
        std::vector<std::int64_t> ends;
        std::int64_t sum = 0;
        for (int g = 0; g < groups; ++g) ends.push_back(sum += sizes[static_cast<std::size_t>(g)]);
        for (int round = 0; round < 20; ++round) {
          std::vector<std::atomic<int>> runs(static_cast<std::size_t>(sum));
          pool.ParallelForGroups(ends,
                                 [&](std::int64_t task, int) { runs[static_cast<std::size_t>(task)].fetch_add(1); });
          CHECK(std::all_of(runs.begin(), runs.end(), [](const auto& count) { return count == 1; }));
          std::vector<std::atomic<int>> plain(11);
          pool.ParallelFor(11, [&](std::int64_t task, int) { plain[static_cast<std::size_t>(task)].fetch_add(1); });
          CHECK(std::all_of(plain.begin(), plain.end(), [](const auto& count) { return count == 1; }));
        }
      }
    }
  }
}

TEST_CASE("A worker begins with its own group's tasks") {
  ThreadPool pool(Grouped(2, 2));
  // Two tasks that wait for each other: each worker has one, the one of its own group.
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> arrived{0};
    int worker_of[2] = {-1, -1};
    const std::int64_t ends[] = {1, 2};
    pool.ParallelForGroups(ends, [&](std::int64_t task, int worker) {
      worker_of[task] = worker;
      arrived.fetch_add(1);
      while (arrived.load() < 2) std::this_thread::yield();
    });
    CHECK(worker_of[0] == 0);
    CHECK(worker_of[1] == 1);
  }
}

TEST_CASE("Experts shared out over nodes give the same bits") {
  std::vector<TinyShape> shapes;
  shapes.push_back({.architecture = "qwen3moe", .experts = 6, .top_k = 3});
  shapes.push_back({.architecture = "qwen2moe", .experts = 5, .shared_ff = 80});
  shapes.push_back(
      {.architecture = "gpt-oss", .heads = 6, .ff = 72, .experts = 7, .top_k = 3, .window = 20, .tied = false});
  shapes.push_back({.d_model = 256, .heads = 4, .head_dim = 64, .ff = 512, .experts = 8, .type = quant::DType::kQ4_K});
  shapes.push_back({.d_model = 40, .ff = 56, .vocab = 33, .experts = 2});
  shapes.push_back({});  // dense
  for (const TinyShape& shape : shapes) {
    const LoadedTiny plain = LoadTiny(shape, KvType::kInt8, 1);
    const std::vector<tok::TokenId> tokens = testing::RandomTokens(150, plain.model->vocab_size(), 3);
    const std::vector<float> expected = testing::RunSequence(*plain.model, tokens, 64);
    ExpertOptions every;
    every.top_k = std::max(1, shape.experts);
    every.experts = shape.experts;
    const std::vector<float> all_experts = testing::RunSequence(*plain.model, tokens, 64, 0, &every);
    for (const int groups : {2, 3}) {
      CAPTURE(shape.architecture, shape.experts, groups);
      const LoadedTiny shared = LoadTiny(shape, KvType::kInt8, Grouped(4, groups));
      for (const std::int64_t chunk : {1, 33, 150}) {
        CHECK(testing::SameBits(testing::RunSequence(*shared.model, tokens, chunk), expected));
      }
      CHECK(testing::SameBits(testing::RunSequence(*shared.model, tokens, 150, 0, &every), all_experts));
    }
  }
}

}  // namespace
}  // namespace quorum::engine
