// Attention over the KV cache against a plain double-precision reference, and what is known of its results.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "engine/base/cpu.h"
#include "engine/kernels/dispatch.h"
#include "tests/support/attention_sequences.h"
#include "tests/support/catch.h"
#include "tests/support/kernel_tables.h"

namespace quorum::engine::attention_tests {
namespace {

using testing::AllTables;

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

}  // namespace
}  // namespace quorum::engine::attention_tests
