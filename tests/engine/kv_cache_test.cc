// Where keys and values land in the pages, and how they are rounded.
#include "engine/kv_cache.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <vector>

#include "tests/support/catch.h"

namespace quorum::engine {
namespace {

KvShape Shape(KvType type, std::int32_t dk, std::int32_t dv) {
  KvShape shape;
  shape.layers = 2;
  shape.kv_heads = 3;
  shape.head_dim_k = dk;
  shape.head_dim_v = dv;
  shape.type = type;
  return shape;
}

KvCache Make(const KvShape& shape, std::int32_t pages) {
  Result<KvCache> cache = KvCache::Create(shape, pages);
  REQUIRE(cache.ok());
  return std::move(cache).value();
}

template <typename T>
T At(const void* base, std::int64_t index) {
  T value{};
  std::memcpy(&value, static_cast<const std::byte*>(base) + index * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

float Bf16ToFloat(std::uint16_t half) { return std::bit_cast<float>(static_cast<std::uint32_t>(half) << 16); }

TEST_CASE("A page's bytes are those of its blocks") {
  CHECK(KvCache::BytesPerPage(Shape(KvType::kF32, 64, 64)) == 2 * 3 * 64 * (64 + 64) * 4);
  CHECK(KvCache::BytesPerPage(Shape(KvType::kBf16, 128, 64)) == 2 * 3 * 64 * (128 + 64) * 2);
  CHECK(KvCache::BytesPerPage(Shape(KvType::kInt8, 128, 128)) == 2 * 3 * (64 * (128 + 128) + 2 * 64 * 4));
  // Keys are padded to 4 dimensions, values to 16.
  CHECK(KvCache::BytesPerPage(Shape(KvType::kInt8, 37, 39)) == 2 * 3 * (64 * (40 + 48) + 2 * 64 * 4));
  CHECK(KvCache::BytesPerPage(Shape(KvType::kInt8, 40, 40)) == 2 * 3 * (64 * (40 + 48) + 2 * 64 * 4));
}

TEST_CASE("Shapes that cannot be are refused") {
  CHECK(KvCache::Create(Shape(KvType::kF32, 0, 64), 4).error().code == ErrorCode::kInvalidArgument);
  CHECK(KvCache::Create(Shape(KvType::kF32, 64, 64), 0).error().code == ErrorCode::kInvalidArgument);
  CHECK(KvCache::Create(Shape(KvType::kF32, 64, -8), 4).error().code == ErrorCode::kInvalidArgument);
  KvShape huge = Shape(KvType::kF32, 1 << 30, 1 << 30);
  huge.layers = 1 << 30;
  huge.kv_heads = 1 << 30;
  CHECK(KvCache::Create(huge, 1 << 30).error().code == ErrorCode::kInvalidArgument);
}

TEST_CASE("Blocks are aligned, in one piece each, and apart from one another") {
  for (const KvType type : {KvType::kF32, KvType::kBf16, KvType::kInt8}) {
    const KvShape shape = Shape(type, 20, 12);
    const KvCache cache = Make(shape, 5);
    const std::int64_t block = KvBlockBytes(type, 20, 12);
    std::set<std::uintptr_t> starts;
    for (std::int32_t layer = 0; layer < 2; ++layer) {
      for (std::int32_t page = 0; page < 5; ++page) {
        for (std::int32_t head = 0; head < 3; ++head) {
          const auto k = reinterpret_cast<std::uintptr_t>(cache.KPage(layer, page, head));
          const auto v = reinterpret_cast<std::uintptr_t>(cache.VPage(layer, page, head));
          CHECK(k % 64 == 0);
          CHECK(v == k + static_cast<std::uintptr_t>(KvValueOffset(type, 20)));
          starts.insert(k);
        }
      }
    }
    REQUIRE(starts.size() == 30);
    CHECK(*starts.rbegin() - *starts.begin() == static_cast<std::uintptr_t>(29 * block));
    CHECK(KvCache::BytesPerPage(shape) == 6 * block);
  }
}

TEST_CASE("Windowed layers have memory of their own for the pages that are mapped") {
  KvShape shape = Shape(KvType::kF32, 4, 4);
  shape.windowed = {false, true};
  const std::int64_t layer_bytes = KvCache::BytesPerPage(shape) / 2;
  CHECK(KvCache::WindowBytesPerPage(shape) == layer_bytes);
  shape.windowed = {true};
  CHECK_FALSE(KvCache::Create(shape, 6, 2).ok());
  shape.windowed = {false, true};
  auto made = KvCache::Create(shape, 6, 2);
  REQUIRE(made.ok());
  KvCache cache = std::move(made).value();
  CHECK_FALSE(cache.IsMapped(3));
  cache.MapWindow(3, 1);
  cache.MapWindow(5, 0);
  const std::vector<float> three(12, 3.0F);
  const std::vector<float> five(12, 5.0F);
  for (std::int32_t layer = 0; layer < 2; ++layer) {
    cache.Write(layer, 3, 0, three.data(), three.data());
    cache.Write(layer, 5, 0, five.data(), five.data());
  }
  const auto first = [&cache](std::int32_t layer, std::int32_t page) {
    return *static_cast<const float*>(cache.KPage(layer, page, 0));
  };
  CHECK((first(0, 3) == 3 && first(1, 3) == 3 && first(0, 5) == 5 && first(1, 5) == 5));
  std::vector<std::byte> bytes(static_cast<std::size_t>(2 * layer_bytes));
  cache.MapWindow(5, -1);
  cache.MapWindow(4, 0);  // has what 5 left there
  CHECK(first(1, 4) == 5);
  cache.ReadPage(5, bytes);
  CHECK(*reinterpret_cast<const float*>(bytes.data()) == 5);
  CHECK(*reinterpret_cast<const float*>(bytes.data() + layer_bytes) == 0);
  cache.ReadPage(3, bytes);
  cache.WritePage(5, bytes);  // its full layer only
  CHECK((first(0, 5) == 3 && first(1, 4) == 5));
  cache.CopyPage(3, 4);
  CHECK((first(0, 4) == 3 && first(1, 4) == 3));
  cache.CopyPage(5, 4);
  CHECK(first(1, 4) == 3);
}

/// Keys 1, 2, ... and values -1, -2, ... over all heads, times `factor`.
std::vector<float> Ramp(std::int32_t n, float factor) {
  std::vector<float> x(static_cast<std::size_t>(n));
  for (std::int32_t i = 0; i < n; ++i) x[static_cast<std::size_t>(i)] = static_cast<float>(i + 1) * factor;
  return x;
}

TEST_CASE("Floats lie by dimension for keys and by token for values") {
  KvCache cache = Make(Shape(KvType::kF32, 20, 12), 3);
  const std::vector<float> k = Ramp(3 * 20, 0.37F);
  const std::vector<float> v = Ramp(3 * 12, -0.11F);
  cache.Write(1, 2, 5, k.data(), v.data());
  for (std::int32_t head = 0; head < 3; ++head) {
    const void* keys = cache.KPage(1, 2, head);
    const void* values = cache.VPage(1, 2, head);
    for (std::int32_t d = 0; d < 20; ++d) {
      CHECK(At<float>(keys, d * 64 + 5) == k[static_cast<std::size_t>(head * 20 + d)]);
      CHECK(At<float>(keys, d * 64 + 4) == 0);
      CHECK(At<float>(keys, d * 64 + 6) == 0);
    }
    for (std::int32_t d = 0; d < 16; ++d) {
      CHECK(At<float>(values, 5 * 16 + d) == (d < 12 ? v[static_cast<std::size_t>(head * 12 + d)] : 0));
      CHECK(At<float>(values, 4 * 16 + d) == 0);
      CHECK(At<float>(values, 6 * 16 + d) == 0);
    }
    CHECK(At<float>(cache.KPage(0, 2, head), 5) == 0);
    CHECK(At<float>(cache.KPage(1, 1, head), 5) == 0);
  }
}

TEST_CASE("bfloat16 rounds to the nearest, half to even, and keeps infinities and NaN") {
  KvCache cache = Make(Shape(KvType::kBf16, 8, 8), 1);
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> cases = {1.0F,
                                    std::bit_cast<float>(0x3f808000U),  // halfway, even below
                                    std::bit_cast<float>(0x3f818000U),  // halfway, even above
                                    std::bit_cast<float>(0x3f808001U),  // just above halfway
                                    std::bit_cast<float>(0xbf807fffU),  // just below
                                    std::bit_cast<float>(0x7f7fffffU),  // overflows to infinity
                                    std::bit_cast<float>(0x7f800001U),  // a NaN whose high bits alone are infinity
                                    -inf};
  const std::vector<std::uint16_t> want = {0x3f80, 0x3f80, 0x3f82, 0x3f81, 0xbf80, 0x7f80, 0x7fc0, 0xff80};
  std::vector<float> k;
  for (int head = 0; head < 3; ++head) k.insert(k.end(), cases.begin(), cases.end());
  cache.Write(0, 0, 63, k.data(), k.data());
  for (std::int32_t head = 0; head < 3; ++head) {
    for (std::int64_t d = 0; d < 8; ++d) {
      CAPTURE(d);
      CHECK(At<std::uint16_t>(cache.KPage(0, 0, head), d * 64 + 63) == want[static_cast<std::size_t>(d)]);
      CHECK(At<std::uint16_t>(cache.VPage(0, 0, head), 63 * 16 + d) == want[static_cast<std::size_t>(d)]);
    }
  }
  CHECK(std::isnan(Bf16ToFloat(want[6])));
}

TEST_CASE("int8 has one scale per token and head, and lies in quads") {
  KvCache cache = Make(Shape(KvType::kInt8, 20, 12), 2);
  std::vector<float> k = Ramp(3 * 20, 0.37F);
  std::vector<float> v = Ramp(3 * 12, -0.11F);
  for (std::size_t d = 0; d < 20; ++d) k[20 + d] = 0;  // head 1: a zero key
  v[0] = 1e-37F;                                       // head 0: rounds to 0 beside the others
  const std::int32_t slot = 6;
  cache.Write(0, 1, slot, k.data(), v.data());
  for (std::int32_t head = 0; head < 3; ++head) {
    CAPTURE(head);
    const void* keys = cache.KPage(0, 1, head);
    const void* values = cache.VPage(0, 1, head);
    const auto* block = static_cast<const std::byte*>(keys);
    const void* scales = block + KvScaleOffset(KvType::kInt8, 20, 12);
    const float k_top = head == 1 ? 0.0F : k[static_cast<std::size_t>(head * 20 + 19)];
    const float v_top = -v[static_cast<std::size_t>(head * 12 + 11)];
    CHECK(At<float>(scales, slot) == k_top / 127.0F);
    CHECK(At<float>(scales, 64 + slot) == v_top / 127.0F);
    CHECK(At<float>(scales, slot + 1) == 0);
    for (std::int32_t d = 0; d < 20; ++d) {
      const float x = k[static_cast<std::size_t>(head * 20 + d)];
      const int want = k_top == 0 ? 0 : static_cast<int>(std::nearbyint(x * (127.0F / k_top)));
      CHECK(At<std::uint8_t>(keys, (d / 4 * 64 + slot) * 4 + d % 4) == want + 128);
      CHECK(At<std::uint8_t>(keys, (d / 4 * 64 + slot + 1) * 4 + d % 4) == 0);
    }
    for (std::int32_t d = 0; d < 16; ++d) {
      const float x = d < 12 ? v[static_cast<std::size_t>(head * 12 + d)] : 0.0F;
      const int want = static_cast<int>(std::nearbyint(x * (127.0F / v_top)));
      CHECK(At<std::int8_t>(values, (slot / 4 * 16 + d) * 4 + slot % 4) == want);
      CHECK(At<std::int8_t>(values, (slot / 4 * 16 + d) * 4 + slot % 4 + 1) == 0);
    }
  }
}

TEST_CASE("int8 of what cannot be quantized: tiny values are zero, NaN and infinity poison the scale") {
  KvCache cache = Make(Shape(KvType::kInt8, 8, 8), 1);
  std::vector<float> k(24, 1e-39F);
  std::vector<float> v(24, 1.0F);
  k[8 + 3] = std::numeric_limits<float>::quiet_NaN();
  v[16 + 5] = -std::numeric_limits<float>::infinity();
  cache.Write(0, 0, 0, k.data(), v.data());
  const auto scales = [&](std::int32_t head) {
    return static_cast<const void*>(static_cast<const std::byte*>(cache.KPage(0, 0, head)) +
                                    KvScaleOffset(KvType::kInt8, 8, 8));
  };
  CHECK(At<float>(scales(0), 0) == 0);
  CHECK(At<std::uint8_t>(cache.KPage(0, 0, 0), 0) == 128);
  CHECK(std::isnan(At<float>(scales(1), 0)));
  CHECK(At<float>(scales(1), 64) == 1.0F / 127.0F);
  CHECK(std::isnan(At<float>(scales(2), 64)));
}

}  // namespace
}  // namespace quorum::engine
