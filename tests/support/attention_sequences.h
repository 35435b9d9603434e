// What tests of attention over the KV cache share: shapes, random sequences in a cache, and steps over pieces of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "engine/kv_cache.h"

namespace quorum::engine::attention_tests {

using Floats = std::vector<float>;

constexpr float kInf = std::numeric_limits<float>::infinity();

inline std::size_t Size(std::int64_t n) { return static_cast<std::size_t>(n); }

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

Sequence MakeSequence(const Config& config, std::int32_t length, std::uint32_t seed);

/// A cache in which every page was used before and holds NaN, with some sequences written to scattered pages.
KvCache MakeCache(const Config& config, std::vector<Sequence>& sequences);

Floats Sinks(const Config& config);
PositionBias Bias(const Config& config);
AttentionParams Params(const Config& config, const Floats& sinks);

/// A piece of a sequence in a step.
struct Piece {
  const Sequence* sequence;
  std::int32_t pos;
  std::int32_t count;
};

/// Runs one step with these pieces; rows in order.
Floats RunStep(const Config& config, const KernelTable& kernels, ThreadPool& pool, const KvCache& cache,
               const std::vector<Piece>& pieces);

/// The whole sequence in one step.
Floats Whole(const Config& config, const KernelTable& kernels, ThreadPool& pool, const KvCache& cache,
             const Sequence& s);

bool SameBits(const Floats& a, const Floats& b);

/// Every type of cache with groups, head sizes, windows, caps, sinks and biases of many kinds.
std::vector<Config> Configs();

}  // namespace quorum::engine::attention_tests
