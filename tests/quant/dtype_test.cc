#include "quant/dtype.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "engine/base/byte_reader.h"
#include "quant/quantize.h"
#include "tests/quant/scratch.h"
#include "tests/support/catch.h"

namespace quorum::quant {
namespace {

struct Record {
  DType type = DType::kF32;
  std::vector<std::byte> blocks;
  std::vector<float> floats;
};

// Reads a file of tests/tools/make_quant_fixtures.py.
std::vector<Record> ReadFixture(const std::string& name) {
  const std::string text = ReadFile(Fixture(name));
  ByteReader reader(std::as_bytes(std::span(text)));
  const auto versions = reader.Read<std::uint32_t>("header");
  REQUIRE(versions.ok());
  REQUIRE(reader.ReadBytes(*versions, "versions").ok());
  std::vector<Record> records;
  while (reader.remaining() > 0) {
    Record record;
    const auto type = FindDType(*reader.Read<std::uint32_t>("type"));
    REQUIRE(type.has_value());
    record.type = type->type;
    record.floats.resize(*reader.Read<std::uint32_t>("elements"));
    const auto blocks = reader.ReadBytes(*reader.Read<std::uint32_t>("bytes"), "blocks").value();
    record.blocks.assign(blocks.begin(), blocks.end());
    const auto floats = reader.ReadBytes(record.floats.size() * sizeof(float), "floats").value();
    std::memcpy(record.floats.data(), floats.data(), floats.size());
    records.push_back(std::move(record));
  }
  return records;
}

std::uint32_t Bits(float f) {
  std::uint32_t bits;
  std::memcpy(&bits, &f, sizeof bits);
  return bits;
}

std::size_t FirstDifference(const std::vector<float>& a, const std::vector<float>& b) {
  std::size_t i = 0;
  while (i < a.size() && Bits(a[i]) == Bits(b[i])) ++i;
  return i;
}

TEST_CASE("Dequantize equals the gguf package bit for bit, at any alignment") {
  const auto records = ReadFixture("dequantize.bin");
  REQUIRE(records.size() == 16);
  for (const Record& record : records) {
    const auto n = static_cast<std::int64_t>(record.floats.size());
    INFO("type " << Info(record.type).name << ", " << n << " elements");
    REQUIRE(n >= 256);
    REQUIRE(BytesOf(record.type, n) == static_cast<std::int64_t>(record.blocks.size()));
    for (std::size_t shift : {0U, 1U}) {
      std::vector<std::byte> moved(record.blocks.size() + shift);
      std::copy(record.blocks.begin(), record.blocks.end(), moved.begin() + static_cast<std::ptrdiff_t>(shift));
      std::vector<float> got(record.floats.size(), -77.0F);
      REQUIRE(Dequantize(record.type, moved.data() + shift, got.data(), n));
      const std::size_t at = FirstDifference(got, record.floats);
      if (at < got.size()) {
        INFO("element " << at << ": got " << got[at] << ", expected " << record.floats[at]);
        FAIL();
      }
    }
  }
}

TEST_CASE("Quantize equals the gguf package byte for byte") {
  const auto records = ReadFixture("quantize.bin");
  REQUIRE(records.size() == 6);
  for (const Record& record : records) {
    const auto n = static_cast<std::int64_t>(record.floats.size());
    INFO("type " << Info(record.type).name);
    REQUIRE(CanQuantize(record.type));
    std::vector<std::byte> got(record.blocks.size(), std::byte{0x5a});
    REQUIRE(Quantize(record.type, record.floats.data(), got.data(), n));
    const auto [a, b] = std::mismatch(got.begin(), got.end(), record.blocks.begin());
    INFO("first difference at byte " << (a - got.begin()));
    CHECK(a == got.end());
  }
}

TEST_CASE("Quantize survives what no weight should be") {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float tiny = std::numeric_limits<float>::denorm_min();
  for (float odd : {inf, -inf, nan, tiny, std::numeric_limits<float>::max()}) {
    for (DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kF16, DType::kBF16}) {
      std::vector<float> src(32, 1.0F);
      src[0] = src[17] = odd;
      std::vector<std::byte> dst(static_cast<std::size_t>(BytesOf(type, 32)));
      CHECK(Quantize(type, src.data(), dst.data(), 32));
      CHECK(Dequantize(type, dst.data(), src.data(), 32));
    }
  }
}

TEST_CASE("Types that hold no weights, or that cannot be made, are refused") {
  std::vector<std::byte> blocks(512);
  std::vector<float> floats(256, 3.0F);
  for (DType type : {DType::kI8, DType::kI16, DType::kI32, DType::kI64, DType::kQ8_1, DType::kQ8_K}) {
    CHECK_FALSE(Dequantize(type, blocks.data(), floats.data(), Info(type).block));
  }
  for (DType type : {DType::kQ4_K, DType::kMXFP4, DType::kI8, DType::kF64}) {
    CHECK_FALSE(CanQuantize(type));
    CHECK_FALSE(Quantize(type, floats.data(), blocks.data(), 256));
  }
  CHECK(floats[0] == 3.0F);
  CHECK_FALSE(FindDType(4).has_value());   // Q4_2, gone from GGML
  CHECK_FALSE(FindDType(16).has_value());  // IQ2_XXS
  CHECK_FALSE(FindDType(~0U).has_value());
  CHECK(FindDType(12)->name == "Q4_K");
  CHECK(Info(DType::kMXFP4).bytes == 17);
  CHECK(BytesOf(DType::kQ6_K, 512) == 420);
}

TEST_CASE("Half precision: every value, both ways") {
  for (std::uint32_t h = 0; h < 65536; ++h) {
    const auto half = static_cast<std::uint16_t>(h);
    const float f = HalfToFloat(half);
    const auto exponent = static_cast<int>((h >> 10) & 31U);
    const auto fraction = static_cast<float>(h & 1023U);
    if (exponent == 31 && fraction != 0) {
      REQUIRE(std::isnan(f));
      REQUIRE(FloatToHalf(f) == (half | 0x200U));
      continue;
    }
    float expected = exponent == 31  ? std::numeric_limits<float>::infinity()
                     : exponent == 0 ? std::ldexp(fraction, -24)
                                     : std::ldexp(1024.0F + fraction, exponent - 25);
    if ((h & 0x8000U) != 0) expected = -expected;
    REQUIRE(Bits(f) == Bits(expected));
    REQUIRE(FloatToHalf(f) == half);
  }
}

TEST_CASE("Half precision rounds to nearest even") {
  for (std::uint32_t h = 0; h < 0x7c00; ++h) {  // between each pair of neighbours, up to infinity's place
    const double low = HalfToFloat(static_cast<std::uint16_t>(h));
    const double high = h == 0x7bff ? 65536.0 : static_cast<double>(HalfToFloat(static_cast<std::uint16_t>(h + 1)));
    const auto middle = static_cast<float>((low + high) / 2);  // exact: a float has 13 bits more
    const std::uint32_t even = (h & 1U) == 0 ? h : h + 1;
    REQUIRE(FloatToHalf(middle) == even);
    REQUIRE(FloatToHalf(std::nextafter(middle, 0.0F)) == h);
    REQUIRE(FloatToHalf(std::nextafter(middle, 1e9F)) == h + 1);
    REQUIRE(FloatToHalf(-middle) == (even | 0x8000U));
  }
  CHECK(FloatToHalf(1e30F) == 0x7c00);
  CHECK(FloatToHalf(-1e-30F) == 0x8000);
}

TEST_CASE("bfloat16 rounds to nearest even and keeps NaN") {
  const auto from_bits = [](std::uint32_t bits) {
    float f;
    std::memcpy(&f, &bits, sizeof f);
    return f;
  };
  CHECK(FloatToBf16(from_bits(0x3f808000)) == 0x3f80);  // a tie goes to the even neighbour
  CHECK(FloatToBf16(from_bits(0x3f818000)) == 0x3f82);
  CHECK(FloatToBf16(from_bits(0x3f808001)) == 0x3f81);
  CHECK(FloatToBf16(from_bits(0x7f7fffff)) == 0x7f80);  // rounds up to infinity
  CHECK(FloatToBf16(from_bits(0x7f800001)) == 0x7fc0);  // a NaN whose payload would vanish
  CHECK(FloatToBf16(from_bits(0xffc12345)) == 0xffc1);
  CHECK(Bf16ToFloat(0xc040) == -3.0F);
}

}  // namespace
}  // namespace quorum::quant
