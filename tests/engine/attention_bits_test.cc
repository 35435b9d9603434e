// Attention over the KV cache gives the same bits whatever the instruction set, the threads, the batch and the
// chunking, and whatever is not finite elsewhere.
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "engine/base/cpu.h"
#include "engine/kernels/dispatch.h"
#include "tests/support/attention_sequences.h"
#include "tests/support/catch.h"
#include "tests/support/kernel_tables.h"

namespace quorum::engine::attention_tests {
namespace {

using testing::AllTables;

TEST_CASE("Every instruction set gives the bits of the scalar kernel") {
  ThreadPool pool(1);
  std::mt19937 random(21);
  for (const Config& config : Configs()) {
    std::vector<Sequence> some = {MakeSequence(config, 150, 31), MakeSequence(config, 600, 32)};
    const KvCache cache = MakeCache(config, some);
    std::vector<std::vector<Piece>> steps;
    steps.push_back({{&some[0], 0, 150}});
    for (std::int32_t rows = 1; rows <= 14; ++rows) {
      const auto at = static_cast<std::int32_t>(random() % 580);
      steps.push_back({{&some[1], at, rows}, {&some[0], static_cast<std::int32_t>(random() % 150), 1}});
    }
    for (const std::vector<Piece>& step : steps) {
      const Floats want = RunStep(config, ScalarKernels(), pool, cache, step);
      for (const KernelTable* table : AllTables()) {
        CAPTURE(table->name, static_cast<int>(config.type), config.group, config.dk, config.dv, step[0].count);
        CHECK(SameBits(want, RunStep(config, *table, pool, cache, step)));
      }
    }
  }
}

TEST_CASE("Scores that overflow, vanish or are denormal have the same bits everywhere") {
  ThreadPool pool(1);
  for (Config config : Configs()) {
    for (const float size : {1e-42F, 1e-38F, 1e-20F, 1e-10F, 30.0F, 1e18F}) {
      std::vector<Sequence> one = {MakeSequence(config, 90, 41)};
      // Sizes differ from token to token, and some queries and values are all zero.
      for (std::size_t i = 0; i < one[0].k.size(); ++i) one[0].k[i] *= i % 3 == 0 ? size : 1.0F;
      for (std::size_t i = 0; i < one[0].v.size(); ++i) one[0].v[i] *= i / Size(config.dv) % 3 == 1 ? size : 1e-3F;
      for (std::size_t i = 0; i < one[0].q.size(); ++i) {
        one[0].q[i] *= i / Size(config.dk) % 4 == 1 ? 0.0F : i / Size(config.dk) % 4 == 2 ? size : 1.0F;
      }
      const KvCache cache = MakeCache(config, one);
      const Floats want = Whole(config, ScalarKernels(), pool, cache, one[0]);
      for (const KernelTable* table : AllTables()) {
        CAPTURE(table->name, static_cast<int>(config.type), config.group, config.dk, size);
        const Floats got = Whole(config, *table, pool, cache, one[0]);
        CHECK(std::equal(want.begin(), want.end(), got.begin(), [](float a, float b) {
          return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
        }));
      }
    }
  }
}

TEST_CASE("A row's bits do not depend on chunks, batch or threads") {
  std::array<ThreadPool, 3> pools = {ThreadPool(1), ThreadPool(2), ThreadPool(3)};
  std::mt19937 random(51);
  const KernelTable& kernels = KernelsFor(DetectIsa());
  for (Config config : Configs()) {
    config.kv_heads = 1;  // few tasks, so that several threads share out the splits of 512 positions
    CAPTURE(static_cast<int>(config.type), config.group, config.dk, config.dv, config.window);
    std::vector<Sequence> some = {MakeSequence(config, 1300, 61), MakeSequence(config, 140, 62),
                                  MakeSequence(config, 530, 63)};
    const KvCache cache = MakeCache(config, some);
    std::vector<Floats> want;
    for (const Sequence& s : some) want.push_back(Whole(config, kernels, pools[0], cache, s));
    const std::int64_t width = config.heads() * config.dv;
    const auto matches = [&](const Floats& got, std::int64_t row, const Piece& piece) {
      const Floats& all = want[Size(piece.sequence - some.data())];
      return std::equal(got.begin() + row * width, got.begin() + (row + piece.count) * width,
                        all.begin() + piece.pos * width,
                        [](float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; });
    };

    for (ThreadPool& pool : pools) {
      CAPTURE(pool.size());
      for (const Sequence& s : some) CHECK(matches(Whole(config, kernels, pool, cache, s), 0, {&s, 0, s.length}));
      // Decoding, at the corners of pages, splits and windows.
      for (const std::int32_t pos : {0, 1, 63, 64, 99, 100, 511, 512, 513, 1023, 1024, 1299}) {
        CAPTURE(pos);
        const Piece piece{&some[0], pos, 1};
        CHECK(matches(RunStep(config, kernels, pool, cache, {piece}), 0, piece));
      }
      // Chunks of all sizes, with other sequences around them.
      for (std::int32_t pos = 0; pos < 1300;) {
        const auto count = std::min<std::int32_t>(static_cast<std::int32_t>(1 + random() % 300), 1300 - pos);
        const Piece before{&some[1], static_cast<std::int32_t>(random() % 140), 1};
        const Piece chunk{&some[0], pos, count};
        const auto start = static_cast<std::int32_t>(random() % 500);
        const Piece after{&some[2], start, static_cast<std::int32_t>(1 + random() % 30)};
        const Floats got = RunStep(config, kernels, pool, cache, {before, chunk, after});
        CAPTURE(pos, count);
        CHECK(matches(got, 0, before));
        CHECK(matches(got, 1, chunk));
        CHECK(matches(got, 1 + count, after));
        pos += count;
      }
    }
  }
}

TEST_CASE("Nor does the sign of a sum that vanishes") {
  // The first token takes nearly all weight and has value 0; the next ones add -denormal times a small weight, which
  // rounds to -0. In a chunk, a hidden token with weight 0 and a positive value follows, and -0 + 0 * 1 is +0.
  ThreadPool pool(1);
  Config config;
  std::vector<Sequence> one = {MakeSequence(config, 40, 65)};
  for (std::int32_t pos = 0; pos < 40; ++pos) {
    for (std::int32_t i = 0; i < 32; ++i) {
      one[0].k[Size(pos * 32 + i)] = pos == 0 ? 3.0F : 0.0F;
      one[0].v[Size(pos * 32 + i)] = pos == 0 ? 0.0F : pos < 5 ? -std::numeric_limits<float>::denorm_min() : 1.0F;
    }
    for (std::int32_t i = 0; i < 64; ++i) one[0].q[Size(pos * 64 + i)] = 3.0F;
  }
  const KvCache cache = MakeCache(config, one);
  for (const KernelTable* table : AllTables()) {
    const Floats all = Whole(config, *table, pool, cache, one[0]);
    const Floats alone = RunStep(config, *table, pool, cache, {{&one[0], 4, 1}});
    CAPTURE(table->name);
    CHECK(std::memcmp(alone.data(), all.data() + 4 * 64, 64 * sizeof(float)) == 0);
    CHECK(alone[0] == 0);
  }
}

TEST_CASE("What is not finite reaches no position before it") {
  ThreadPool pool(1);
  for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kInt8}) {
    for (const std::int32_t window : {0, 30}) {
      Config config;
      config.type = type;
      config.window = window;
      constexpr std::int32_t kLength = 150;
      std::vector<Sequence> some = {MakeSequence(config, kLength, 93), MakeSequence(config, kLength, 93)};
      const auto width = config.kv_heads * config.dk;
      some[1].k[Size(70 * width + 4)] = std::numeric_limits<float>::quiet_NaN();
      some[1].v[Size(90 * width + 16 + 8)] = kInf;
      const KvCache cache = MakeCache(config, some);
      for (const KernelTable* table : AllTables()) {
        CAPTURE(table->name, static_cast<int>(type), window);
        const Floats clean = Whole(config, *table, pool, cache, some[0]);
        const Floats spoilt = Whole(config, *table, pool, cache, some[1]);
        const auto row = Size(config.heads() * config.dv);
        CHECK(std::memcmp(clean.data(), spoilt.data(), 70 * row * sizeof(float)) == 0);
        CHECK(std::isnan(spoilt[70 * row]));
        // With a window the last rows see neither.
        const std::size_t behind = Size(kLength - 20) * row;
        if (window > 0) {
          CHECK(std::memcmp(clean.data() + behind, spoilt.data() + behind, 20 * row * sizeof(float)) == 0);
        }
      }
    }
  }
}

TEST_CASE("A sequence that holds NaN does not reach the others") {
  ThreadPool pool(2);
  for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kInt8}) {
    Config config;
    config.type = type;
    std::vector<Sequence> some = {MakeSequence(config, 90, 91), MakeSequence(config, 90, 92)};
    // Token 3's key of head 0 and token 6's value of head 1.
    some[1].k[3 * 32 + 4] = std::numeric_limits<float>::quiet_NaN();
    some[1].v[6 * 32 + 16 + 8] = kInf;
    const KvCache cache = MakeCache(config, some);
    const KernelTable& kernels = KernelsFor(DetectIsa());
    const Floats alone = Whole(config, kernels, pool, cache, some[0]);
    const Floats both = RunStep(config, kernels, pool, cache, {{&some[1], 0, 90}, {&some[0], 0, 90}});
    CHECK(std::memcmp(both.data() + alone.size(), alone.data(), alone.size() * sizeof(float)) == 0);
    // And is not hidden in its own: the last row, a query head of each group.
    const std::size_t last = alone.size() - 64;
    CHECK(std::isnan(both[last]));
    CHECK(!std::isfinite(both[last + 32 + 8]));
  }
}

}  // namespace
}  // namespace quorum::engine::attention_tests
