#include "tests/support/attention_sequences.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <span>
#include <utility>

#include "tests/support/catch.h"

namespace quorum::engine::attention_tests {
namespace {

constexpr RelativeBiasSpec kBias{.buckets = 12, .max_distance = 90};

}  // namespace

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

}  // namespace quorum::engine::attention_tests
