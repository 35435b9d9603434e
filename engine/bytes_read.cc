#include "engine/bytes_read.h"

#include <algorithm>
#include <cstddef>

namespace quorum::engine {
namespace {

/// One writer: a load and a store are enough.
void Add(std::atomic<std::int64_t>& to, std::int64_t bytes) {
  to.store(to.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
}

}  // namespace

void BytesReadCounter::CountStep(const ModelSpec& spec, const KvShape& cache, std::span<const StepSlice> slices) {
  bool decodes = false, encodes = false, logits = false;
  std::int64_t cached = 0;
  for (const StepSlice& slice : slices) {
    const std::int64_t rows = std::ssize(slice.tokens);
    (slice.encode ? encodes : decodes) = true;
    if (slice.encode) continue;
    logits = logits || slice.first_logits < rows;
    cached += CacheBytes(spec, cache, {slice.pos, rows, 0});
    if (slice.source_tokens > 0) cached += CacheBytes(spec, cache, {slice.source_tokens, 0, 0});
  }
  Add(weights_,
      (decodes ? costs_.always.bytes : 0) + (encodes ? costs_.encoder.bytes : 0) + (logits ? costs_.output.bytes : 0));
  Add(cache_, cached);
}

BytesRead BytesReadCounter::Read(const ExpertStats& experts) const {
  BytesRead read{weights_.load(std::memory_order_relaxed), cache_.load(std::memory_order_relaxed)};
  for (std::size_t i = 0; i < std::min(experts.steps.size(), costs_.experts.size()); ++i) {
    read.weights += static_cast<std::int64_t>(experts.steps[i]) * costs_.experts[i].bytes;
  }
  return read;
}

}  // namespace quorum::engine
