// Attention over the KV cache: against a plain double-precision reference, and the same bits whatever the instruction
// set, the threads, the batch and the chunking.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include "engine/base/cpu.h"
#include "engine/kernels/dispatch.h"
#include "engine/kv_cache.h"
#include "tests/support/catch.h"
#include "tests/support/kernel_tables.h"

namespace quorum::engine {
namespace {

using testing::AllTables;
using Floats = std::vector<float>;

constexpr float kInf = std::numeric_limits<float>::infinity();

std::size_t Size(std::int64_t n) { return static_cast<std::size_t>(n); }

struct Config {
  KvType type = KvType::kF32;
  std::int32_t kv_heads = 2;
  std::int32_t group = 2;
  std::int32_t dk = 16;
  std::int32_t dv = 16;
  std::int32_t window = 0;
  float softcap = 0;
  bool sinks = false;
  bool bias = false;   // by distance, reaching over more than a page
  bool whole = false;  // every row sees the whole sequence
  bool values_in_keys = false;

  std::int32_t heads() const { return kv_heads * group; }
};

/// One sequence's queries, keys and values for every position.
struct Sequence {
  std::int32_t length = 0;
  Floats q, k, v;
  std::vector<std::int32_t> pages;
};

Sequence MakeSequence(const Config& config, std::int32_t length, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Sequence s;
  s.length = length;
  const auto fill = [&](Floats& x, std::int32_t width, float spread) {
    x.resize(Size(std::int64_t{length} * width));
    for (float& value : x) value = spread * normal(random);
  };
  fill(s.q, config.heads() * config.dk, 1.5F);
  fill(s.k, config.kv_heads * config.dk, 1.5F);
  fill(s.v, config.kv_heads * config.dv, 1.0F);
  for (std::int64_t i = 0; config.values_in_keys && i < std::ssize(s.v); ++i) {
    s.v[Size(i)] = s.k[Size(i / config.dv * config.dk + i % config.dv)];
  }
  return s;
}

/// A cache in which every page was used before and holds NaN, with some sequences written to scattered pages.
KvCache MakeCache(const Config& config, std::vector<Sequence>& sequences) {
  std::int32_t total = 1;
  for (const Sequence& s : sequences) total += (s.length + kPageTokens - 1) / kPageTokens;
  KvShape shape;
  shape.layers = 2;
  shape.kv_heads = config.kv_heads;
  shape.head_dim_k = config.dk;
  shape.head_dim_v = config.dv;
  shape.type = config.type;
  shape.values_in_keys = config.values_in_keys;
  Result<KvCache> made = KvCache::Create(shape, total);
  REQUIRE(made.ok());
  KvCache cache = std::move(made).value();
  const std::int64_t bytes = KvBlockBytes(config.type, shape.padded_k(), shape.stored_v());
  for (std::int32_t page = 0; page < total; ++page) {
    for (std::int32_t head = 0; head < config.kv_heads; ++head) {
      std::memset(const_cast<void*>(cache.KPage(1, page, head)), 0xff, Size(bytes));
    }
  }
  std::vector<std::int32_t> ids(Size(total));
  std::iota(ids.begin(), ids.end(), 0);
  std::shuffle(ids.begin(), ids.end(), std::mt19937(99));
  auto next = ids.begin();
  for (Sequence& s : sequences) {
    const std::int32_t count = (s.length + kPageTokens - 1) / kPageTokens;
    s.pages.assign(next, next + count);
    next += count;
    for (std::int32_t pos = 0; pos < s.length; ++pos) {
      cache.Write(1, s.pages[Size(pos / kPageTokens)], pos % kPageTokens,
                  s.k.data() + std::int64_t{pos} * config.kv_heads * config.dk,
                  s.v.data() + std::int64_t{pos} * config.kv_heads * config.dv);
    }
  }
  return cache;
}

Floats Sinks(const Config& config) {
  Floats sinks(Size(config.heads()));
  for (std::size_t h = 0; h < sinks.size(); ++h) sinks[h] = static_cast<float>(h % 5) - 1.5F;
  return sinks;
}

constexpr RelativeBiasSpec kBias{.buckets = 12, .max_distance = 90};

PositionBias Bias(const Config& config) {
  Floats weights(Size(kBias.buckets * config.heads()));
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i * 7 % 11) * 0.3F - 1.5F;
  return {kBias, config.whole, config.heads(), weights};
}

AttentionParams Params(const Config& config, const Floats& sinks) {
  AttentionParams params;
  params.heads = config.heads();
  params.scale = 1.0F / std::sqrt(static_cast<float>(config.dk));
  params.window = config.window;
  params.softcap = config.softcap;
  params.sinks = config.sinks ? sinks.data() : nullptr;
  return params;
}

/// A piece of a sequence in a step.
struct Piece {
  const Sequence* sequence;
  std::int32_t pos;
  std::int32_t count;
};

/// Runs one step with these pieces; rows in order.
Floats RunStep(const Config& config, const KernelTable& kernels, ThreadPool& pool, const KvCache& cache,
               const std::vector<Piece>& pieces) {
  const Floats sinks = Sinks(config);
  std::int32_t rows = 0;
  Floats q;
  std::vector<AttendSlice> slices;
  for (const Piece& piece : pieces) {
    AttendSlice slice;
    slice.tokens = piece.count;
    slice.pos = piece.pos;
    slice.whole = config.whole ? piece.sequence->length : 0;
    // Only the pages written by then, as a scheduler would give.
    const std::int32_t written = config.whole ? slice.whole : piece.pos + piece.count;
    slice.pages =
        std::span<const std::int32_t>(piece.sequence->pages).first(Size((written + kPageTokens - 1) / kPageTokens));
    slices.push_back(slice);
    const std::int64_t width = config.heads() * config.dk;
    q.insert(q.end(), piece.sequence->q.begin() + piece.pos * width,
             piece.sequence->q.begin() + (piece.pos + piece.count) * width);
    rows += piece.count;
  }
  Floats out(Size(std::int64_t{rows} * config.heads() * config.dv), 12345.0F);
  AttentionParams params = Params(config, sinks);
  const PositionBias bias = Bias(config);
  params.bias = config.bias ? &bias : nullptr;
  Attend(kernels, pool, cache, 1, params, slices, q.data(), out.data());
  return out;
}

Floats Whole(const Config& config, const KernelTable& kernels, ThreadPool& pool, const KvCache& cache,
             const Sequence& s) {
  return RunStep(config, kernels, pool, cache, {{&s, 0, s.length}});
}

bool SameBits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

float RoundBf16(float x) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x7fffU + ((bits >> 16) & 1U)) & 0xffff0000U;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// Attention as in the textbook, in double.
std::vector<double> Reference(const Config& config, const Sequence& s) {
  const Floats sinks = Sinks(config);
  const auto heads = config.heads();
  const PositionBias bias = Bias(config);
  std::vector<double> out(Size(std::int64_t{s.length} * heads * config.dv));
  for (std::int32_t pos = 0; pos < s.length; ++pos) {
    const std::int32_t first = config.window > 0 && !config.whole ? std::max(0, pos - config.window + 1) : 0;
    const std::int32_t last = config.whole ? s.length - 1 : pos;
    for (std::int32_t h = 0; h < heads; ++h) {
      const float* q = s.q.data() + (std::int64_t{pos} * heads + h) * config.dk;
      std::vector<double> p;
      double sum = config.sinks ? std::exp(static_cast<double>(sinks[Size(h)])) : 0.0;
      for (std::int32_t t = first; t <= last; ++t) {
        const float* k = s.k.data() + (std::int64_t{t} * config.kv_heads + h / config.group) * config.dk;
        double score = 0;
        for (std::int32_t d = 0; d < config.dk; ++d) score += static_cast<double>(q[d]) * static_cast<double>(k[d]);
        score /= std::sqrt(static_cast<double>(config.dk));
        if (config.bias) score += static_cast<double>(bias.OfHead(h)[std::clamp(t - pos, -90, 90)]);
        if (config.softcap > 0) {
          const auto cap = static_cast<double>(config.softcap);
          score = cap * std::tanh(score / cap);
        }
        p.push_back(std::exp(score));
        sum += p.back();
      }
      double* dst = out.data() + (std::int64_t{pos} * heads + h) * config.dv;
      for (std::int32_t t = first; t <= last; ++t) {
        const float* v = s.v.data() + (std::int64_t{t} * config.kv_heads + h / config.group) * config.dv;
        for (std::int32_t d = 0; d < config.dv; ++d) dst[d] += p[Size(t - first)] / sum * static_cast<double>(v[d]);
      }
    }
  }
  return out;
}

struct Difference {
  double max = 0;
  double relative = 0;  // root of summed squares over that of the reference
};

Difference Compare(const Floats& got, const std::vector<double>& want) {
  REQUIRE(got.size() == want.size());
  Difference d;
  double error = 0;
  double norm = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double e = std::abs(static_cast<double>(got[i]) - want[i]);
    if (!(e <= d.max)) d.max = e;
    error += e * e;
    norm += want[i] * want[i];
  }
  d.relative = std::sqrt(error / norm);
  return d;
}

std::vector<Config> Configs() {
  std::vector<Config> all;
  for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kInt8}) {
    const auto add = [&](std::int32_t group, std::int32_t dk, std::int32_t dv, std::int32_t window, float cap,
                         bool sinks) {
      Config c;
      c.type = type;
      c.group = group;
      c.dk = dk;
      c.dv = dv;
      c.window = window;
      c.softcap = cap;
      c.sinks = sinks;
      all.push_back(c);
    };
    add(1, 8, 8, 0, 0, false);
    add(2, 64, 64, 0, 0, false);
    add(8, 64, 64, 100, 0, true);
    add(3, 20, 40, 0, 3.0F, false);
    add(7, 80, 80, 40, 5.0F, true);
    add(1, 24, 144, 1, 0, true);
    add(5, 4, 4, 0, 0, true);
    add(2, 16, 16, 0, 0, false);
    all.back().bias = true;
    add(1, 16, 16, 0, 0, false);
    all.back().whole = true;
    add(3, 32, 24, 50, 4.0F, true);
    all.back().bias = all.back().whole = true;
    add(3, 28, 20, 0, 0, false);
    all.back().values_in_keys = true;
    add(3, 25, 18, 0, 0, false);
    all.back().values_in_keys = true;
    add(2, 10, 10, 60, 0, true);
    add(3, 7, 33, 0, 2.0F, false);
    add(1, 1, 1, 0, 0, false);
    add(21, 144, 128, 70, 4.0F, true);
    all.back().values_in_keys = true;
    all.back().kv_heads = 1;
    add(2, 16, 16, 0, 0, false);
    all.back().values_in_keys = true;
  }
  return all;
}

TEST_CASE("Attention agrees with the textbook") {
  ThreadPool pool(2);
  const KernelTable& kernels = KernelsFor(DetectIsa());
  for (const Config& config : Configs()) {
    CAPTURE(static_cast<int>(config.type), config.group, config.dk, config.dv, config.window, config.softcap);
    std::vector<Sequence> one = {MakeSequence(config, 331, 5)};
    const KvCache cache = MakeCache(config, one);
    const Floats got = Whole(config, kernels, pool, cache, one[0]);
    if (config.type == KvType::kBf16) {  // exact but for the rounding of what is stored
      for (float& x : one[0].k) x = RoundBf16(x);
      for (float& x : one[0].v) x = RoundBf16(x);
    }
    const Difference d = Compare(got, Reference(config, one[0]));
    CAPTURE(d.max, d.relative);
    if (config.type == KvType::kInt8) {
      CHECK(d.relative < 0.025);
      CHECK(d.max < 0.25);
    } else {
      CHECK(d.relative < 1e-6);
      CHECK(d.max < 2e-5);
    }
  }
}

TEST_CASE("Errors of the stored types stay within their bounds") {
  ThreadPool pool(1);
  const KernelTable& kernels = KernelsFor(DetectIsa());
  Config config;
  config.dk = config.dv = 128;
  config.group = 4;
  std::vector<double> relative;
  for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kInt8}) {
    config.type = type;
    std::vector<Sequence> one = {MakeSequence(config, 200, 6)};
    const KvCache cache = MakeCache(config, one);
    relative.push_back(Compare(Whole(config, kernels, pool, cache, one[0]), Reference(config, one[0])).relative);
  }
  CAPTURE(relative[0], relative[1], relative[2]);
  CHECK(relative[0] < 1e-6);
  CHECK(relative[1] < 0.006);  // bf16: half a unit of 2^-8, in keys and in values
  CHECK(relative[1] > 1e-4);
  CHECK(relative[2] < 0.02);  // int8: half a step of max/127 in q, k, v, and of 1/255 in weights
  CHECK(relative[2] > 1e-3);
}

TEST_CASE("A single visible token gives its value") {
  ThreadPool pool(1);
  for (const KernelTable* table : AllTables()) {
    for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kInt8}) {
      Config config;
      config.type = type;
      config.window = 1;
      config.dv = 20;
      std::vector<Sequence> one = {MakeSequence(config, 70, 8)};
      const KvCache cache = MakeCache(config, one);
      const Floats out = Whole(config, *table, pool, cache, one[0]);
      bool good = true;
      for (std::int32_t pos = 0; pos < 70; ++pos) {
        for (std::int32_t h = 0; h < config.heads(); ++h) {
          const float* v = one[0].v.data() + (std::int64_t{pos} * config.kv_heads + h / config.group) * config.dv;
          const float* o = out.data() + (std::int64_t{pos} * config.heads() + h) * config.dv;
          const float top =
              std::abs(*std::max_element(v, v + config.dv, [](float a, float b) { return std::abs(a) < std::abs(b); }));
          for (std::int32_t d = 0; d < config.dv; ++d) {
            if (type == KvType::kF32) good = good && o[d] == v[d];
            if (type == KvType::kBf16) good = good && o[d] == RoundBf16(v[d]);
            if (type == KvType::kInt8) good = good && std::abs(o[d] - v[d]) <= top * (0.5F / 127 + 1e-6F);
          }
        }
      }
      CAPTURE(table->name, static_cast<int>(type));
      CHECK(good);
    }
  }
}

TEST_CASE("Weights sum to one") {
  ThreadPool pool(1);
  for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kInt8}) {
    Config config;
    config.type = type;
    std::vector<Sequence> one = {MakeSequence(config, 1100, 9)};
    std::fill(one[0].v.begin(), one[0].v.end(), 1.0F);
    const KvCache cache = MakeCache(config, one);
    const Floats out = Whole(config, KernelsFor(DetectIsa()), pool, cache, one[0]);
    const auto [low, high] = std::minmax_element(out.begin(), out.end());
    CAPTURE(static_cast<int>(type), *low, *high);
    const float bound = type == KvType::kInt8 ? 0.02F : 2e-6F;
    CHECK(*low > 1 - bound);
    CHECK(*high < 1 + bound);
  }
}

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

TEST_CASE("Long contexts are joined correctly") {
  ThreadPool pool(3);
  for (const KvType type : {KvType::kF32, KvType::kInt8}) {
    Config config;
    config.type = type;
    config.kv_heads = 1;
    config.dk = config.dv = 32;
    config.sinks = true;
    std::vector<Sequence> one = {MakeSequence(config, 1700, 71)};
    // The last splits hold the largest scores, and then the first: sums must be scaled both ways.
    for (std::int32_t pos = 1400; pos < 1700; ++pos) {
      for (std::int32_t d = 0; d < 32; ++d) one[0].k[Size(pos * 32 + d)] *= 3;
    }
    const KvCache cache = MakeCache(config, one);
    const std::vector<double> want = Reference(config, one[0]);
    const Difference d = Compare(Whole(config, KernelsFor(DetectIsa()), pool, cache, one[0]), want);
    CAPTURE(d.max, d.relative);
    CHECK(d.relative < (type == KvType::kInt8 ? 0.03 : 2e-6));
    // What the last row gives alone, with its splits shared out.
    const Floats last = RunStep(config, KernelsFor(DetectIsa()), pool, cache, {{&one[0], 1699, 1}});
    const Difference e = Compare(last, std::vector<double>(want.end() - config.heads() * 32, want.end()));
    CHECK(e.relative < (type == KvType::kInt8 ? 0.05 : 2e-6));
  }
}

TEST_CASE("Sinks take weight away, and none at minus infinity") {
  ThreadPool pool(1);
  Config config;
  std::vector<Sequence> one = {MakeSequence(config, 100, 81)};
  const KvCache cache = MakeCache(config, one);
  const KernelTable& kernels = KernelsFor(DetectIsa());
  const Floats plain = Whole(config, kernels, pool, cache, one[0]);
  const auto with = [&](float sink) {
    const Floats sinks(Size(config.heads()), sink);
    AttentionParams params = Params(config, sinks);
    params.sinks = sinks.data();
    const std::vector<tok::TokenId> tokens(100);
    StepSlice slice;
    slice.tokens = tokens;
    slice.pages = one[0].pages;
    Floats out(plain.size());
    Attend(kernels, pool, cache, 1, params, std::span(&slice, 1), one[0].q.data(), out.data());
    return out;
  };
  CHECK(SameBits(with(-kInf), plain));
  CHECK(SameBits(with(-1000.0F), plain));
  const Floats nothing = with(1000.0F);
  CHECK(std::all_of(nothing.begin(), nothing.end(), [](float x) { return x == 0; }));
  const Floats some = with(2.0F);
  double kept = 0;
  double all = 0;
  for (std::size_t i = 0; i < some.size(); ++i) {
    CHECK(std::abs(some[i]) <= std::abs(plain[i]));
    kept += static_cast<double>(std::abs(some[i]));
    all += static_cast<double>(std::abs(plain[i]));
  }
  CHECK(kept < 0.99 * all);
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
}  // namespace quorum::engine
