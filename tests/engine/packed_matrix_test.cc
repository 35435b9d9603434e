#include "engine/kernels/packed_matrix.h"

#include <cstring>
#include <vector>

#include "tests/engine/random_weights.h"
#include "tests/support/catch.h"

namespace quorum::engine {
namespace {

using quant::DType;
using test::ColumnCounts;
using test::PackableKinds;
using test::Random;
using test::RandomMatrix;
using test::TestMatrix;
using test::WeightKind;

bool SameBytes(const float* a, const float* b, std::int64_t n) {
  return std::memcmp(a, b, static_cast<std::size_t>(n) * sizeof(float)) == 0;
}

TEST_CASE("a packed row unpacks to the floats of the file's row") {
  Random random(1);
  for (const WeightKind& kind : PackableKinds()) {
    const DType type = kind.type;
    for (const std::int64_t k : ColumnCounts(type)) {
      for (const std::int64_t n : {1, 16, 37}) {
        const TestMatrix matrix = RandomMatrix(kind, n, k, 2.0F, random);
        REQUIRE(matrix.ok);
        const std::vector<float> expected = matrix.Dequantized();
        std::vector<float> row(static_cast<std::size_t>(k));
        for (std::int64_t i = 0; i < n; ++i) {
          UnpackRow(matrix.view(), i, row.data());
          INFO(kind.name() << " k " << k << " n " << n << " row " << i);
          REQUIRE(SameBytes(row.data(), expected.data() + i * k, k));
        }
      }
    }
  }
}

TEST_CASE("scales at the ends of the half range unpack exactly") {
  Random random(2);
  for (const WeightKind& kind : PackableKinds()) {
    const DType type = kind.type;
    const std::int64_t k = quant::Info(type).block == 1 ? 64 : 512;
    for (const float scale : {1e-7F, 6e-5F, 60000.0F}) {  // subnormal, the smallest normal, the largest
      const TestMatrix matrix = RandomMatrix(kind, 3, k, scale, random);
      const std::vector<float> expected = matrix.Dequantized();
      std::vector<float> row(static_cast<std::size_t>(k));
      for (std::int64_t i = 0; i < 3; ++i) {
        UnpackRow(matrix.view(), i, row.data());
        INFO(kind.name() << " scale " << scale << " row " << i);
        REQUIRE(SameBytes(row.data(), expected.data() + i * k, k));
      }
    }
  }
}

TEST_CASE("rows that fill up the last panel are zero") {
  Random random(3);
  for (const WeightKind& kind : PackableKinds()) {
    const DType type = kind.type;
    const std::int64_t k = quant::Info(type).block == 1 ? 48 : 256;
    const TestMatrix matrix = RandomMatrix(kind, 5, k, 1.0F, random);
    std::vector<float> row(static_cast<std::size_t>(k));
    for (std::int64_t i = 5; i < 16; ++i) {
      UnpackRow(matrix.view(), i, row.data());
      INFO(kind.name() << " row " << i);
      for (const float value : row) REQUIRE(value == 0.0F);
    }
  }
}

TEST_CASE("gate and up alternate by panels") {
  Random random(4);
  for (const DType type : {DType::kQ4_1, DType::kQ6_K, DType::kBF16}) {
    constexpr std::int64_t kRows = 40;
    constexpr std::int64_t kColumns = 256;
    const TestMatrix gate = RandomMatrix(type, kRows, kColumns, 1.0F, random);
    const TestMatrix up = RandomMatrix(type, kRows, kColumns, 1.0F, random);
    const PackFormat format = *PackFormatOf(type);
    const std::int64_t panel_bytes = PanelBytes(format, kColumns);
    const test::AlignedBytes both(2 * PackedBytes(format, kRows, kColumns));
    REQUIRE(PackGateUp(type, format, gate.file.data(), up.file.data(), kRows, kColumns, both.data()).ok());
    for (std::int64_t p = 0; p < 3; ++p) {
      const auto bytes = static_cast<std::size_t>(panel_bytes);
      CHECK(std::memcmp(both.data() + 2 * p * panel_bytes, gate.packed.data() + p * panel_bytes, bytes) == 0);
      CHECK(std::memcmp(both.data() + (2 * p + 1) * panel_bytes, up.packed.data() + p * panel_bytes, bytes) == 0);
    }
  }
}

TEST_CASE("packed sizes stay close to the file's") {
  struct Size {
    DType type;
    std::int64_t panel_bytes_256;  // 16 rows of 256 columns
    std::int64_t panel_bytes_2880;
  };
  // bytes = 16 * columns * bits / 8, plus padding to 64
  const std::vector<Size> sizes = {
      {DType::kF32, 16384, 184320}, {DType::kF16, 8192, 92160},  {DType::kBF16, 8192, 92160},
      {DType::kQ4_0, 2304, 25920},  {DType::kQ4_1, 2560, 28800}, {DType::kQ5_0, 2816, 31680},
      {DType::kQ5_1, 3072, 34560},  {DType::kQ8_0, 4352, 48960}, {DType::kIQ4_NL, 2304, 25920},
      {DType::kMXFP4, 2176, 24512}, {DType::kQ2_K, 1344, 0},     {DType::kQ3_K, 1856, 0},
      {DType::kQ4_K, 2304, 0},      {DType::kQ5_K, 2816, 0},     {DType::kQ6_K, 3392, 0},
      {DType::kIQ4_XS, 2240, 0},
  };
  REQUIRE(sizes.size() + 1 == PackableKinds().size());  // int8-exact has Q4_K's
  for (const Size& size : sizes) {
    const PackFormat format = *PackFormatOf(size.type);
    INFO(quant::Info(size.type).name);
    CHECK(PanelBytes(format, 256) == size.panel_bytes_256);
    if (size.panel_bytes_2880 != 0) CHECK(PanelBytes(format, 2880) == size.panel_bytes_2880);
    CHECK(PackedBytes(format, 17, 512) == 2 * PanelBytes(format, 512));
    CHECK(PanelBytes(format, 512) % 64 == 0);
    if (const auto exact = ExactFormatOf(size.type)) CHECK(PanelBytes(*exact, 256) == size.panel_bytes_256);
  }
}

TEST_CASE("what cannot be packed is refused with a reason") {
  alignas(64) std::uint8_t dst[64];
  const std::uint8_t src[1024] = {};
  const Status integers = PackMatrix(DType::kI32, src, 1, 32, dst);
  REQUIRE_FALSE(integers.ok());
  CHECK(integers.error().code == ErrorCode::kUnsupported);
  CHECK(integers.error().message.find("I32") != std::string::npos);

  const Status uneven = PackMatrix(DType::kQ4_K, src, 1, 576, dst);
  REQUIRE_FALSE(uneven.ok());
  CHECK(uneven.error().code == ErrorCode::kInvalidArgument);
  CHECK(uneven.error().message.find("576") != std::string::npos);
  CHECK_FALSE(ExactRows(DType::kQ4_K, src, 1, 576));
  CHECK(ExactRows(DType::kQ4_K, src, 1, 512));
  CHECK_FALSE(PackGateUp(DType::kQ8_0, PackFormat::kG32S8, src, src, 1, 40, dst).ok());
}

TEST_CASE("activation blocks follow the weight format") {
  CHECK(ActBlock(*PackFormatOf(DType::kF32)) == 0);
  CHECK(ActBlock(*PackFormatOf(DType::kF16)) == 0);
  CHECK(ActBlock(*PackFormatOf(DType::kQ4_1)) == 32);
  CHECK(ActBlock(*PackFormatOf(DType::kMXFP4)) == 32);
  CHECK(ActBlock(*PackFormatOf(DType::kQ4_K)) == 256);
  CHECK(ActBlock(*PackFormatOf(DType::kIQ4_XS)) == 256);
  CHECK(ActBlock(*ExactFormatOf(DType::kQ4_K)) == 256);
  CHECK_FALSE(ExactFormatOf(DType::kQ5_K).has_value());
  CHECK_FALSE(PackFormatOf(DType::kQ8_1).has_value());
}

}  // namespace
}  // namespace quorum::engine
