#include "engine/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "engine/base/check.h"

namespace quorum::engine {

static_assert(kPageTokens == kKvPageTokens);

namespace {

std::uint32_t Bits(float v) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &v, sizeof bits);
  return bits;
}

/// Rounds to the nearest bfloat16, half to even; a NaN stays one.
std::uint16_t ToBf16(float v) {
  const std::uint32_t bits = Bits(v);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

/// The factor that brings x's largest value to 127; `scale` takes it back, and is NaN where x is not finite.
float Int8Factor(const float* x, std::int64_t n, float* scale) {
  std::uint32_t top_bits = 0;  // magnitudes order like their bits, and integer maxima become vector code
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t magnitude = Bits(x[i]) & 0x7fffffffU;
    top_bits = magnitude > top_bits ? magnitude : top_bits;
  }
  if (top_bits >= 0x7f800000U) {
    *scale = std::numeric_limits<float>::quiet_NaN();
    return 0;
  }
  float top = 0;
  std::memcpy(&top, &top_bits, sizeof top);
  if (top < kKvTinyMax) {
    *scale = 0;
    return 0;
  }
  *scale = top / 127.0F;
  return 127.0F / top;
}

constexpr std::int64_t kChunk = 64;

/// Up to kChunk times round(x * factor), half to even, as a byte in two's complement. |x * factor| <= 127; anything
/// else gives some byte. Apart from the scattered stores, so that it becomes vector code.
void ToInt8(const float* x, std::int64_t n, float factor, std::uint8_t* bytes) {
  constexpr float kMagic = 12582912.0F;  // 1.5 * 2^23: the low bits of the sum are the rounded value
  for (std::int64_t i = 0; i < n; ++i) bytes[i] = static_cast<std::uint8_t>(Bits(x[i] * factor + kMagic) & 0xffU);
}

template <typename T, typename Convert>
void WriteFloats(std::byte* block, const KvShape& shape, std::int64_t slot, const float* k, const float* v,
                 Convert convert) {
  T* keys = reinterpret_cast<T*>(block) + slot;
  const auto write = [&](std::int64_t begin, std::int64_t end, std::int64_t padded_count) {
    for (std::int64_t d = begin; d < end; ++d, keys += kKvPageTokens) *keys = convert(k[d]);
    for (std::int64_t d = end - begin; d < padded_count; ++d, keys += kKvPageTokens) *keys = T{0};
  };
  write(0, shape.first_k(), shape.padded_first_k());
  write(shape.first_k(), shape.head_dim_k, shape.padded_k() - shape.padded_first_k());
  T* values =
      reinterpret_cast<T*>(block + KvValueOffset(shape.type, shape.padded_k())) + slot * KvPaddedDim(shape.stored_v());
  for (std::int64_t d = 0; d < shape.stored_v(); ++d) values[d] = convert(v[d]);
}

/// `count` dimensions of a position's keys, with a scale of their own, as those of the block from `at` on, a multiple
/// of
/// 4. Zeros fill up the last four.
void WriteInt8Keys(std::byte* block, std::int64_t slot, const float* k, std::int64_t count, std::int64_t at,
                   float* scale) {
  std::uint8_t bytes[kChunk];
  const float factor = Int8Factor(k, count, scale);
  auto* keys = reinterpret_cast<std::uint8_t*>(block) + at * kKvPageTokens + 4 * slot;
  for (std::int64_t begin = 0; begin < count; begin += kChunk) {
    const std::int64_t n = std::min(kChunk, count - begin);
    ToInt8(k + begin, n, factor, bytes);
    for (std::int64_t d = n; d % 4 != 0; ++d) bytes[d] = 0;
    for (std::int64_t d = 0; d < n; d += 4) {
      std::uint32_t quad = 0;
      std::memcpy(&quad, bytes + d, sizeof quad);
      quad ^= 0x80808080U;
      std::memcpy(keys + (begin + d) * kKvPageTokens, &quad, sizeof quad);
    }
  }
}

void WriteInt8(std::byte* block, const KvShape& shape, std::int64_t slot, const float* k, const float* v) {
  auto* scales = reinterpret_cast<float*>(block + KvScaleOffset(shape.type, shape.padded_k(), shape.stored_v())) + slot;
  const std::int64_t first = shape.first_k();
  WriteInt8Keys(block, slot, k, first, 0, scales);
  if (shape.values_in_keys) {
    WriteInt8Keys(block, slot, k + first, shape.head_dim_k - first, shape.padded_first_k(), scales + kKvPageTokens);
    return;
  }
  std::uint8_t bytes[kChunk];
  const float v_factor = Int8Factor(v, shape.head_dim_v, scales + kKvPageTokens);
  auto* values = reinterpret_cast<std::uint8_t*>(block + KvValueOffset(shape.type, shape.padded_k())) +
                 slot / 4 * 4 * KvPaddedDim(shape.head_dim_v) + slot % 4;
  for (std::int64_t begin = 0; begin < shape.head_dim_v; begin += kChunk) {
    const std::int64_t n = std::min(kChunk, shape.head_dim_v - begin);
    ToInt8(v + begin, n, v_factor, bytes);
    for (std::int64_t d = 0; d < n; ++d) values[4 * (begin + d)] = bytes[d];
  }
}

}  // namespace

std::int64_t KvCache::BytesPerPage(const KvShape& shape) {
  return KvBlockBytes(shape.type, shape.padded_k(), shape.stored_v()) * shape.kv_heads * shape.layers;
}

std::int64_t KvCache::WindowBytesPerPage(const KvShape& shape) {
  const auto layers = std::count(shape.windowed.begin(), shape.windowed.end(), true);
  return KvBlockBytes(shape.type, shape.padded_k(), shape.stored_v()) * shape.kv_heads * layers;
}

Result<KvCache> KvCache::Create(const KvShape& shape, std::int32_t num_pages, std::int32_t window_places) {
  if (shape.layers <= 0 || shape.kv_heads <= 0 || shape.head_dim_k <= 0 || shape.head_dim_v <= 0 || num_pages <= 0) {
    return InvalidArgument("A KV cache needs at least one page, layer, head and dimension.");
  }
  if ((!shape.windowed.empty() && std::ssize(shape.windowed) != shape.layers) || window_places < 0) {
    return InvalidArgument(
        "A KV cache must know of each layer whether it is windowed, and have no less than 0 places.");
  }
  if (shape.values_in_keys && shape.head_dim_v > shape.head_dim_k) {
    return InvalidArgument("A KV cache whose values are part of its keys needs keys at least as wide.");
  }
  std::int64_t bytes = KvBlockBytes(shape.type, shape.padded_k(), shape.stored_v());
  KvCache cache;
  cache.shape_ = shape;
  cache.num_pages_ = num_pages;
  cache.block_bytes_ = bytes;
  cache.window_places_ = window_places;
  if (window_places > 0) cache.places_.assign(static_cast<std::size_t>(num_pages), -1);
  const auto windowed =
      window_places == 0 ? std::int64_t{0} : std::count(shape.windowed.begin(), shape.windowed.end(), true);
  const std::int64_t pages = (shape.layers - windowed) * num_pages + windowed * window_places;  // over all layers
  for (const std::int64_t count : {std::int64_t{shape.kv_heads}, pages}) {
    if (__builtin_mul_overflow(bytes, count, &bytes)) {
      return InvalidArgument("The KV cache would be larger than any memory.");
    }
  }
  QUORUM_ASSIGN(cache.memory_, AlignedBuffer::Allocate(static_cast<std::size_t>(bytes)));
  std::int64_t begin = 0;
  for (std::int32_t layer = 0; layer < shape.layers; ++layer) {
    cache.layer_begin_.push_back(begin);
    begin += window_places > 0 && shape.is_windowed(layer) ? window_places : num_pages;
  }
  return cache;
}

std::int64_t KvCache::BlockOffset(std::int32_t layer, std::int32_t page, std::int32_t head) const {
  QUORUM_DCHECK(layer >= 0 && layer < shape_.layers && head >= 0 && head < shape_.kv_heads);
  QUORUM_CHECK(page >= 0 && page < num_pages_);
  std::int64_t index = page;
  if (window_places_ > 0 && shape_.is_windowed(layer)) {
    index = places_[static_cast<std::size_t>(page)];
    QUORUM_CHECK(index >= 0);
  }
  return ((layer_begin_[static_cast<std::size_t>(layer)] + index) * shape_.kv_heads + head) * block_bytes_;
}

void KvCache::MapWindow(std::int32_t page, std::int32_t place) {
  QUORUM_CHECK(page >= 0 && page < num_pages_ && place < window_places_);
  places_[static_cast<std::size_t>(page)] = place;
}

void KvCache::Write(std::int32_t layer, std::int32_t page, std::int32_t slot, const float* k, const float* v) {
  QUORUM_CHECK(slot >= 0 && slot < kPageTokens);
  for (std::int32_t head = 0; head < shape_.kv_heads; ++head) {
    std::byte* block = memory_.data() + BlockOffset(layer, page, head);
    switch (shape_.type) {
      case KvType::kF32: WriteFloats<float>(block, shape_, slot, k, v, [](float x) { return x; }); break;
      case KvType::kBf16: WriteFloats<std::uint16_t>(block, shape_, slot, k, v, ToBf16); break;
      case KvType::kInt8: WriteInt8(block, shape_, slot, k, v); break;
    }
    k += shape_.head_dim_k;
    if (!shape_.values_in_keys) v += shape_.head_dim_v;
  }
}

void KvCache::CopyPage(std::int32_t from, std::int32_t to) {
  const auto bytes =
      static_cast<std::size_t>(block_bytes_ * shape_.kv_heads);  // a layer's heads of a page lie together
  for (std::int32_t layer = 0; layer < shape_.layers; ++layer) {
    if (!Holds(layer, from) || !Holds(layer, to)) continue;
    std::memcpy(memory_.data() + BlockOffset(layer, to, 0), memory_.data() + BlockOffset(layer, from, 0), bytes);
  }
}

void KvCache::ReadPage(std::int32_t page, std::span<std::byte> out) const {
  const auto bytes = static_cast<std::size_t>(block_bytes_ * shape_.kv_heads);
  QUORUM_CHECK(out.size() == bytes * static_cast<std::size_t>(shape_.layers));
  for (std::int32_t layer = 0; layer < shape_.layers; ++layer) {
    std::byte* to = out.data() + static_cast<std::size_t>(layer) * bytes;
    if (Holds(layer, page)) {
      std::memcpy(to, memory_.data() + BlockOffset(layer, page, 0), bytes);
    } else {
      std::memset(to, 0, bytes);
    }
  }
}

void KvCache::WritePage(std::int32_t page, std::span<const std::byte> in) {
  const auto bytes = static_cast<std::size_t>(block_bytes_ * shape_.kv_heads);
  QUORUM_CHECK(in.size() == bytes * static_cast<std::size_t>(shape_.layers));
  for (std::int32_t layer = 0; layer < shape_.layers; ++layer) {
    if (!Holds(layer, page)) continue;
    std::memcpy(memory_.data() + BlockOffset(layer, page, 0), in.data() + static_cast<std::size_t>(layer) * bytes,
                bytes);
  }
}

const void* KvCache::KPage(std::int32_t layer, std::int32_t page, std::int32_t head) const {
  return memory_.data() + BlockOffset(layer, page, head);
}

const void* KvCache::VPage(std::int32_t layer, std::int32_t page, std::int32_t head) const {
  QUORUM_CHECK(!shape_.values_in_keys);
  return memory_.data() + BlockOffset(layer, page, head) + KvValueOffset(shape_.type, shape_.padded_k());
}

}  // namespace quorum::engine
