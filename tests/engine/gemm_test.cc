// The matrix products and the quantization of activations: the golden model against formulas, every other
// instruction set against the golden model.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "engine/kernels/kernel_table.h"
#include "tests/engine/random_weights.h"
#include "tests/support/catch.h"
#include "tests/support/kernel_tables.h"

namespace quorum::engine {
namespace {

using quant::DType;
using test::ColumnCounts;
using test::PackableKinds;
using test::Random;
using test::RandomMatrix;
using test::TestMatrix;
using test::Uniform;
using test::WeightKind;
using testing::MatmulTables;

/// Quantized rows in exactly sized arrays.
struct Activations {
  std::int64_t rows;
  std::int64_t k;
  std::int64_t block;
  std::vector<float> x;
  std::vector<std::int8_t> q;
  std::vector<float> scale;
  std::vector<std::int32_t> sum;

  std::int64_t blocks() const { return block == 0 ? 0 : (k + block - 1) / block; }
  ActView view() const { return {x.data(), k, q.data(), k, scale.data(), sum.data(), blocks(), k / 16}; }
};

Activations Quantize(const KernelTable& table, std::vector<float> x, std::int64_t rows, std::int64_t k,
                     std::int64_t block) {
  Activations act{rows, k, block, std::move(x), {}, {}, {}};
  if (block == 0) return act;
  act.q.resize(static_cast<std::size_t>(rows * k));
  act.scale.resize(static_cast<std::size_t>(rows * act.blocks()));
  act.sum.resize(static_cast<std::size_t>(rows * (k / 16)));
  for (std::int64_t i = 0; i < rows; ++i) {
    table.quantize_row(act.x.data() + i * k, k, block, act.q.data() + i * k, act.scale.data() + i * act.blocks(),
                       act.sum.data() + i * (k / 16));
  }
  return act;
}

std::vector<float> RandomRows(std::int64_t count, float scale, Random& random) {
  std::vector<float> x(static_cast<std::size_t>(count));
  for (float& value : x) value = Uniform(random, -scale, scale);
  return x;
}

/// dst of a product over panels [begin, end); starts as a pattern that no product gives.
std::vector<float> Multiply(const KernelTable& table, const PackedView& w, const ActView& act,
                            const std::vector<std::int32_t>* rows, std::int64_t m, std::int64_t begin,
                            std::int64_t end) {
  const std::int64_t ld = (end - begin) * kPanelRows;
  std::vector<float> dst(static_cast<std::size_t>(m * ld), 12345.678F);
  table.matmul(w, act, rows == nullptr ? nullptr : rows->data(), m, begin, end, dst.data(), ld, w.panels);
  return dst;
}

std::vector<float> Multiply(const KernelTable& table, const TestMatrix& w, const Activations& act, std::int64_t m) {
  return Multiply(table, w.view(), act.view(), nullptr, m, 0, (w.n + 15) / 16);
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

// ---------------------------------------------------------------- quantize_row

// Compares one table's quantization of `x` with the definition in kernel_table.h, written with double and libm.
void CheckQuantized(const KernelTable& table, const std::vector<float>& x, std::int64_t block) {
  const auto k = static_cast<std::int64_t>(x.size());
  const Activations act = Quantize(table, x, 1, k, block);
  for (std::int64_t b = 0; b < act.blocks(); ++b) {
    const auto begin = static_cast<std::size_t>(b * block);
    const auto end = static_cast<std::size_t>(std::min((b + 1) * block, k));
    float amax = 0;
    for (std::size_t c = begin; c < end; ++c) amax = std::max(amax, std::fabs(x[c]));
    const bool zero = amax < std::ldexp(1.0F, -120);
    const float inverse = 127.0F / amax;
    REQUIRE(act.scale[static_cast<std::size_t>(b)] == (zero ? 0.0F : amax / 127.0F));
    for (std::size_t c = begin; c < end; ++c) {
      const float expected = zero ? 0.0F : std::nearbyintf(x[c] * inverse);
      REQUIRE(static_cast<float>(act.q[c]) == expected);
    }
  }
  for (std::size_t g = 0; g < act.sum.size(); ++g) {
    std::int32_t sum = 0;
    for (std::size_t c = 16 * g; c < 16 * g + 16; ++c) sum += act.q[c];
    REQUIRE(act.sum[g] == sum);
  }
}

std::vector<const KernelTable*> AllTables() {
  std::vector<const KernelTable*> tables = {&ScalarKernels()};
  for (const KernelTable* table : MatmulTables()) tables.push_back(table);
  return tables;
}

TEST_CASE("activations are quantized as defined") {
  Random random(11);
  for (const KernelTable* table : AllTables()) {
    for (const std::int64_t block : {32, 256}) {
      INFO(table->name << " block " << block);
      for (const std::int64_t k : {32, 64, 96, 224, 256, 288, 576, 960, 2880}) {
        for (const float scale : {1e-30F, 1.0F, 1e30F}) CheckQuantized(*table, RandomRows(k, scale, random), block);
      }
      // Ties: with a maximum of 127 the scale is 1 and x.5 rounds to the even neighbour.
      std::vector<float> ties(256);
      for (std::size_t i = 0; i < ties.size(); ++i) ties[i] = static_cast<float>(i % 254) - 126.5F;
      for (std::size_t i = 0; i < ties.size(); i += 32) ties[i] = 127.0F;
      CheckQuantized(*table, ties, block);
      CHECK(Quantize(*table, ties, 1, 256, block).q[1] == -126);  // -125.5
      // Zero blocks, negative zeros, a lone value, values around the smallest block that counts.
      std::vector<float> sparse(512, 0.0F);
      sparse[3] = -0.0F;
      sparse[300] = -3.5F;
      CheckQuantized(*table, sparse, block);
      for (const float tiny : {0x1p-149F, 0x1p-126F, 0x1.fffffep-121F, 0x1p-120F, 0x1p-119F, 0x1.fffffep127F}) {
        sparse[300] = tiny;
        sparse[301] = -tiny / 2;
        CheckQuantized(*table, sparse, block);
      }
    }
  }
}

TEST_CASE("NaN and infinity make the block's scale not finite, its codes zero, and nothing else") {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  for (const KernelTable* table : AllTables()) {
    for (const std::int64_t block : {32, 256}) {
      for (const float bad : {kInf, -kInf, kNan, -kNan}) {
        for (const std::size_t at : {std::size_t{0}, std::size_t{5}, std::size_t{31}}) {
          std::vector<float> x(512, 1.0F);
          x[256 + at] = bad;
          x[256 + 17] = 1e38F;
          const Activations act = Quantize(*table, x, 1, 512, block);
          const auto blocks_per = static_cast<std::size_t>(256 / block);
          INFO(table->name << " block " << block << " value " << bad << " at " << at);
          CHECK(act.scale[0] == 1.0F / 127.0F);
          CHECK_FALSE(std::isfinite(act.scale[blocks_per]));
          for (std::size_t c = 256; c < 256 + static_cast<std::size_t>(block); ++c) REQUIRE(act.q[c] == 0);
          CHECK(act.sum[16] == 0);
          CHECK(act.sum[15] == 16 * 127);
        }
      }
    }
  }
}

// ---------------------------------------------------------------- the golden model

TEST_CASE("the golden product equals the sum in double precision over quantized activations") {
  Random random(21);
  for (const WeightKind& kind : PackableKinds()) {
    const DType type = kind.type;
    for (const std::int64_t k : ColumnCounts(type)) {
      constexpr std::int64_t kRows = 19;
      constexpr std::int64_t kM = 3;
      const TestMatrix matrix = RandomMatrix(kind, kRows, k, 0.1F, random);
      const std::int64_t block = ActBlock(*PackFormatOf(type));
      const Activations act = Quantize(ScalarKernels(), RandomRows(kM * k, 3.0F, random), kM, k, block);
      const std::vector<float> weights = matrix.Dequantized();
      const std::vector<float> dst = Multiply(ScalarKernels(), matrix, act, kM);
      for (std::int64_t i = 0; i < kM; ++i) {
        for (std::int64_t row = 0; row < kRows; ++row) {
          double quantized = 0;
          double exact = 0;
          double magnitude = 0;  // of the terms: bounds the rounding of the float joins
          double tolerance = 0;  // half a step of every activation
          for (std::int64_t c = 0; c < k; ++c) {
            const double w = static_cast<double>(weights[static_cast<std::size_t>(row * k + c)]);
            const double x = static_cast<double>(act.x[static_cast<std::size_t>(i * k + c)]);
            double step = 0;
            double a = x;
            if (block != 0) {
              step = static_cast<double>(act.scale[static_cast<std::size_t>(i * act.blocks() + c / block)]);
              a = step * act.q[static_cast<std::size_t>(i * k + c)];
            }
            quantized += w * a;
            exact += w * x;
            magnitude += std::fabs(w * a);
            tolerance += std::fabs(w) * step * 0.5001;
          }
          // With a minimum, d*q and m may be larger than their sum: allow for 64 times the terms.
          const double rounding = (block == 0 ? 1.0 : 64.0) * magnitude * 0x1p-22 + 1e-6;
          const double got = static_cast<double>(dst[static_cast<std::size_t>(i * 32 + row)]);
          INFO(kind.name() << " k " << k << " row " << row << " m " << i);
          REQUIRE(std::fabs(got - quantized) <= rounding);
          REQUIRE(std::fabs(got - exact) <= tolerance + rounding);
        }
      }
    }
  }
}

TEST_CASE("integer sums are exact at their largest") {
  // All codes and activations at one end: one block's sum is one integer that the formula gives.
  const std::vector<float> ones(256, 1.0F);
  struct Case {
    DType type;
    std::size_t d_at;
    std::size_t fill_begin;
    std::size_t fill_end;
    std::uint8_t fill;
    float expected;  // with d = 1 in the file: sum of the 256 weights
  };
  const std::vector<Case> cases = {
      {DType::kQ6_K, 208, 0, 208, 0xFF, 256.0F * 31 * -1},  // codes 63 - 32, s = -1
      {DType::kQ6_K, 208, 0, 192, 0x00, 0.0F},              // codes -32, s = 0
      {DType::kQ3_K, 108, 0, 108, 0xFF, 256.0F * 3 * 31},   // codes 7 - 4, s = 63 - 32
      {DType::kIQ4_XS, 0, 2, 136, 0x00, 256.0F * -127 * -32},
      {DType::kIQ4_XS, 0, 2, 136, 0xFF, 256.0F * 113 * 31},
      {DType::kQ4_K, 0, 4, 144, 0xFF, 256.0F * 63 * 15},  // dmin = 0
      {DType::kQ5_K, 0, 4, 176, 0xFF, 256.0F * 63 * 31},
      {DType::kQ2_K, 80, 0, 80, 0xFF, 256.0F * 15 * 3},
  };
  for (const KernelTable* table : AllTables()) {
    for (const Case& c : cases) {
      std::vector<std::uint8_t> file(static_cast<std::size_t>(quant::BytesOf(c.type, 256)), 0);
      for (std::size_t i = c.fill_begin; i < c.fill_end; ++i) file[i] = c.fill;
      test::PutHalf(1.0F, file.data() + c.d_at);
      const TestMatrix matrix(c.type, 1, 256, file);
      const Activations act = Quantize(*table, ones, 1, 256, 256);
      INFO(table->name << " " << quant::Info(c.type).name << " filled with " << int{c.fill});
      const float expected = std::fmaf(c.expected * 127.0F, 1.0F / 127.0F, 0.0F);
      CHECK(Multiply(*table, matrix, act, 1)[0] == expected);
    }
  }
}

// ---------------------------------------------------------------- every table against the golden model

void CheckAgainstScalar(const TestMatrix& matrix, const std::vector<float>& x, std::int64_t m) {
  const std::int64_t block = ActBlock(*PackFormatOf(matrix.type));
  const Activations golden = Quantize(ScalarKernels(), x, m, matrix.k, block);
  const std::vector<float> expected = Multiply(ScalarKernels(), matrix, golden, m);
  for (const KernelTable* table : MatmulTables()) {
    const Activations act = Quantize(*table, x, m, matrix.k, block);
    INFO(table->name << " " << quant::Info(matrix.type).name << " n " << matrix.n << " k " << matrix.k << " m " << m);
    REQUIRE(act.q == golden.q);
    REQUIRE(SameBits(act.scale, golden.scale));
    REQUIRE(act.sum == golden.sum);
    REQUIRE(SameBits(Multiply(*table, matrix, act, m), expected));
  }
}

TEST_CASE("every instruction set gives the golden bits for any number of rows") {
  Random random(31);
  for (const WeightKind& kind : PackableKinds()) {
    const DType type = kind.type;
    const std::int64_t k = quant::Info(type).block == 256 ? 512 : 352;
    const TestMatrix matrix = RandomMatrix(kind, 53, k, 1.0F, random);  // 4 panels, the last one with 5 rows
    const std::vector<float> x = RandomRows(260 * k, 5.0F, random);
    std::vector<std::int64_t> counts(65);
    std::iota(counts.begin(), counts.end(), 1);
    counts.insert(counts.end(), {128, 129, 260});  // more than are prepared at a time
    for (const std::int64_t m : counts) CheckAgainstScalar(matrix, {x.begin(), x.begin() + m * k}, m);
  }
}

TEST_CASE("every instruction set gives the golden bits for any shape") {
  Random random(32);
  for (const WeightKind& kind : PackableKinds()) {
    const DType type = kind.type;
    for (const std::int64_t k : ColumnCounts(type)) {
      for (const std::int64_t n : {1, 16, 17, 48, 90}) {
        const TestMatrix matrix = RandomMatrix(kind, n, k, 0.05F, random);
        for (const std::int64_t m : {1, 2, 3, 5, 8, 9, 13, 33}) {
          CheckAgainstScalar(matrix, RandomRows(m * k, 1.0F, random), m);
        }
      }
    }
  }
}

TEST_CASE("every instruction set gives the golden bits at the extremes") {
  Random random(33);
  for (const WeightKind& kind : PackableKinds()) {
    const DType type = kind.type;
    const std::int64_t k = quant::Info(type).block == 1 ? 96 : 512;
    for (const std::int64_t m : {1, 4, 12}) {
      for (const int fill : kind.exact ? std::vector<int>() : std::vector<int>{0x00, 0x7F, 0x80, 0xFF}) {
        // All codes and integer scales alike; d and dmin stay random. Seven panels: many rows take four, two and one.
        TestMatrix matrix = RandomMatrix(kind, 112, k, 1.0F, random);
        std::vector<std::uint8_t> file(matrix.file.size(), static_cast<std::uint8_t>(fill));
        const std::size_t bytes = static_cast<std::size_t>(quant::Info(type).bytes);
        for (std::size_t at = 0; at < file.size() && bytes > 4; at += bytes) {
          const std::size_t d_at = type == DType::kQ2_K   ? 80
                                   : type == DType::kQ3_K ? 108
                                   : type == DType::kQ6_K ? 208
                                                          : 0;
          const bool has_min = type == DType::kQ2_K || type == DType::kQ4_K || type == DType::kQ5_K ||
                               type == DType::kQ4_1 || type == DType::kQ5_1;
          std::memcpy(file.data() + at + d_at, matrix.file.data() + at + d_at, has_min ? 4 : 2);
          if (type == DType::kQ6_K && fill == 0) std::memset(file.data() + at + 192, 0x7F, 16);
        }
        if (bytes > 4) matrix = TestMatrix(type, 112, k, file);
        std::vector<float> x(static_cast<std::size_t>(m * k), 1.0F);
        CheckAgainstScalar(matrix, x, m);  // all +127
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = -1.0F;
        CheckAgainstScalar(matrix, x, m);  // all -127
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = i % 2 == 0 ? 1.0F : -1.0F;
        CheckAgainstScalar(matrix, x, m);
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.0F;
        CheckAgainstScalar(matrix, x, m);
      }
      for (const float scale : {1e-7F, 6e4F}) {
        const TestMatrix matrix = RandomMatrix(kind, 21, k, scale, random);
        for (const float x_scale : {1e-38F, 1e-33F, 1e-3F, 1e25F}) {
          CheckAgainstScalar(matrix, RandomRows(m * k, x_scale, random), m);
        }
      }
    }
  }
}

TEST_CASE("every instruction set gives the golden bits where all scales of some super-blocks are small") {
  // AMX then needs one product in place of two (gemm_amx.cc): neither, one or both of two neighbouring panels. AVX-512
  // multiplies scales and codes of four panels first where all of them allow it: panels 4 to 7, in the first columns
  // only; and of the two behind them.
  struct Case {
    DType type;
    std::uint8_t scales;  // the first that is too large
  };
  for (const auto& [type, scales] : {Case{DType::kQ4_K, 18}, Case{DType::kQ5_K, 9}}) {
    Random random(37);
    constexpr std::int64_t kColumns = 512;
    std::vector<std::uint8_t> file = test::RandomFileRows(type, 160, kColumns, 1.0F, random);
    const auto block_bytes = static_cast<std::size_t>(quant::Info(type).bytes);
    for (std::size_t block = 0; block * block_bytes < file.size(); ++block) {
      const std::size_t panel = block / 2 / 16;
      if (panel == 1 || ((panel == 3 || panel == 7) && block % 2 == 1)) continue;
      // The six low bits of bytes 4 to 7 are s of groups 0 to 3, the two others the high bits of groups 4 to 7, whose
      // low four are the low bits of bytes 12 to 15.
      std::uint8_t* at = file.data() + block * block_bytes;
      for (std::size_t i = 4; i < 8; ++i) at[i] %= scales;
      for (std::size_t i = 12; i < 16; ++i) {
        at[i] = static_cast<std::uint8_t>((at[i] & 0xF0) | std::min<int>(at[i] & 15, scales - 1));
      }
      if (panel == 5) at[4] = scales - 1;  // the largest that fits, and with it the largest code
    }
    const TestMatrix matrix(type, 160, kColumns, file);
    for (const std::int64_t m : {5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 32, 33, 127, 128, 129, 150}) {
      CheckAgainstScalar(matrix, RandomRows(m * kColumns, 1.0F, random), m);
    }
  }
}

TEST_CASE("every instruction set gives the golden bits of int8-exact weights at their largest") {
  // Seven panels of rows whose weights are 127 or -127 times d, by different s, q and z = ratio * m.
  struct Case {
    std::uint8_t ratio, scale, min, code;
    int weight;
  };
  const std::vector<Case> cases = {{127, 0, 1, 0, -127}, {1, 63, 62, 3, 127}, {3, 17, 37, 14, 127}, {1, 17, 0, 7, 119}};
  for (const Case& c : cases) {
    std::vector<std::uint8_t> file(112 * 144);
    for (std::size_t row = 0; row < 112; ++row) {
      std::uint8_t* block = file.data() + row * 144;
      test::PutHalf(0.5F, block);
      test::PutHalf(0.5F * c.ratio, block + 2);
      std::uint8_t* s = block + 4;
      for (std::size_t g = 0; g < 4; ++g) {
        s[g] = static_cast<std::uint8_t>(c.scale | c.scale >> 4 << 6);
        s[g + 4] = static_cast<std::uint8_t>(c.min | c.min >> 4 << 6);
        s[g + 8] = static_cast<std::uint8_t>((c.scale & 15) | c.min << 4);
      }
      std::memset(block + 16, c.code * 17, 128);
    }
    const TestMatrix matrix(DType::kQ4_K, 112, 256, file);
    REQUIRE(matrix.format == PackFormat::kK256X4);
    for (const std::int64_t m : {1, 2, 3, 4, 5, 9, 17, 40}) {
      std::vector<float> x(static_cast<std::size_t>(m * 256), -1.0F);
      CheckAgainstScalar(matrix, x, m);
      x.assign(x.size(), 1.0F);
      CheckAgainstScalar(matrix, x, m);
      const float sum = 256.0F * 127.0F * static_cast<float>(c.weight);
      const float expected = std::fmaf(sum, 0.5F * (1.0F / 127.0F), 0.0F);
      const Activations act = Quantize(ScalarKernels(), x, m, 256, 256);
      REQUIRE(Multiply(ScalarKernels(), matrix, act, m)[0] == expected);
    }
  }
}

TEST_CASE("every power of two is a scale of MXFP4") {
  Random random(36);
  for (int e = 0; e < 256; ++e) {
    std::vector<std::uint8_t> file = test::RandomFileRows(DType::kMXFP4, 32, 64, 1.0F, random);
    for (std::size_t at = 0; at < file.size(); at += 17) file[at] = static_cast<std::uint8_t>(e);
    const TestMatrix matrix(DType::kMXFP4, 32, 64, file);
    INFO("exponent " << e);
    const std::vector<float> expected = matrix.Dequantized();
    std::vector<float> row(64);
    UnpackRow(matrix.view(), 9, row.data());
    REQUIRE(SameBits(row, {expected.begin() + 9 * 64, expected.begin() + 10 * 64}));
    CheckAgainstScalar(matrix, RandomRows(2 * 64, 1.0F, random), 2);    // codes straight from the panel
    CheckAgainstScalar(matrix, RandomRows(20 * 64, 1.0F, random), 20);  // from unpacked codes
  }
}

TEST_CASE("rows with NaN or infinity stay among themselves") {
  Random random(34);
  for (const KernelTable* table : AllTables()) {
    for (const WeightKind& kind : PackableKinds()) {
      const DType type = kind.type;
      const std::int64_t k = quant::Info(type).block == 1 ? 96 : 512;
      const std::int64_t block = ActBlock(*PackFormatOf(type));
      const TestMatrix matrix = RandomMatrix(kind, 32, k, 1.0F, random);
      for (const std::int64_t m : {3, 20}) {
        std::vector<float> x = RandomRows(m * k, 1.0F, random);
        const std::vector<float> clean = Multiply(*table, matrix, Quantize(*table, x, m, k, block), m);
        x[static_cast<std::size_t>(k + 7)] = std::numeric_limits<float>::infinity();
        x[static_cast<std::size_t>(2 * k + 7)] = std::numeric_limits<float>::quiet_NaN();
        const std::vector<float> dst = Multiply(*table, matrix, Quantize(*table, x, m, k, block), m);
        INFO(table->name << " " << kind.name() << " m " << m);
        for (std::int64_t i = 0; i < m; ++i) {
          for (std::size_t j = 0; j < 32; ++j) {
            const std::size_t at = static_cast<std::size_t>(i * 32) + j;
            if (i == 2) REQUIRE(std::isnan(dst[at]));
            if (i == 1) REQUIRE_FALSE(std::isfinite(dst[at]));
            if (i != 1 && i != 2) REQUIRE(dst[at] == clean[at]);
          }
        }
      }
    }
  }
}

TEST_CASE("a row's product depends on neither the other rows, nor the row list, nor the panel range") {
  Random random(35);
  for (const KernelTable* table : AllTables()) {
    for (const WeightKind& kind : PackableKinds()) {
      const DType type = kind.type;
      const std::int64_t k = quant::Info(type).block == 256 ? 512 : 288;
      const std::int64_t block = ActBlock(*PackFormatOf(type));
      const TestMatrix matrix = RandomMatrix(kind, 100, k, 1.0F, random);  // 7 panels
      const Activations act = Quantize(*table, RandomRows(40 * k, 1.0F, random), 40, k, block);
      const std::vector<float> all = Multiply(*table, matrix, act, 40);
      for (const std::size_t m : {std::size_t{1}, std::size_t{3}, std::size_t{8}, std::size_t{17}}) {
        std::vector<std::int32_t> rows(m);
        for (std::int32_t& row : rows) row = static_cast<std::int32_t>(random() % 40);
        for (const std::int64_t begin : {0, 1, 2, 5}) {
          for (const std::int64_t end : {begin + 1, std::int64_t{6}, std::int64_t{7}}) {
            const std::vector<float> part =
                Multiply(*table, matrix.view(), act.view(), &rows, static_cast<std::int64_t>(m), begin, end);
            const auto width = static_cast<std::size_t>((end - begin) * 16);
            INFO(table->name << " " << kind.name() << " m " << m << " panels " << begin << ".." << end);
            for (std::size_t i = 0; i < m; ++i) {
              const float* expected = all.data() + rows[i] * 112 + begin * 16;
              REQUIRE(std::memcmp(part.data() + i * width, expected, width * sizeof(float)) == 0);
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace quorum::engine
