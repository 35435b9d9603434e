// The quantizer: every type's blocks hold what went in, no worse than the plain rounding, and the int8-exact constraint
// is kept.
#include "quant/encode.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "quant/int8_exact.h"
#include "quant/quantize.h"
#include "tests/support/catch.h"

namespace quorum::quant {
namespace {

constexpr std::int64_t kBlocks = 24;

enum class Shape { kNormal, kHeavy, kPositive, kGroups, kTiny, kHuge };
constexpr Shape kShapes[] = {Shape::kNormal, Shape::kHeavy, Shape::kPositive,
                             Shape::kGroups, Shape::kTiny,  Shape::kHuge};

std::vector<float> Values(Shape shape, std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float v = normal(random);
    switch (shape) {
      case Shape::kNormal: x[i] = 0.02F * v; break;
      case Shape::kHeavy: x[i] = 0.02F * v * v * v; break;
      case Shape::kPositive: x[i] = 0.5F + 0.1F * std::fabs(v); break;
      case Shape::kGroups: x[i] = v * std::exp2(static_cast<float>(i / 32 % 7) - 3.0F); break;
      case Shape::kTiny: x[i] = 1e-6F * v; break;
      case Shape::kHuge: x[i] = 1000.0F * v; break;
    }
  }
  return x;
}

double Error(const std::vector<float>& x, const Encoding& encoding, const std::vector<std::uint8_t>& blocks,
             const float* weights = nullptr) {
  std::vector<float> y(x.size());
  REQUIRE(Dequantize(encoding.type, blocks.data(), y.data(), static_cast<std::int64_t>(y.size())));
  double sum = 0;
  bool finite = true;
  for (std::size_t i = 0; i < x.size(); ++i) {
    finite = finite && std::isfinite(y[i]);
    const double e = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    sum += e * e * (weights == nullptr ? 1.0 : static_cast<double>(weights[i]));
  }
  REQUIRE(finite);
  return sum;
}

std::vector<std::uint8_t> Encoded(const Encoding& encoding, const std::vector<float>& x,
                                  const float* importance = nullptr) {
  std::vector<std::uint8_t> blocks(
      static_cast<std::size_t>(BytesOf(encoding.type, static_cast<std::int64_t>(x.size()))));
  REQUIRE(Encode(encoding, x.data(), importance, blocks.data(), static_cast<std::int64_t>(x.size())));
  return blocks;
}

double Squares(const std::vector<float>& x) {
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v) * static_cast<double>(v);
  return sum;
}

/// The relative error of a normal distribution that each type may have: a bit more than it has.
struct Bound {
  const char* name;
  double relative;
};
constexpr Bound kBounds[] = {{"f16", 0.0004}, {"bf16", 0.003}, {"q8_0", 0.006}, {"q6_k", 0.02}, {"q5_k", 0.045},
                             {"q5_1", 0.045}, {"q5_0", 0.05},  {"q4_k", 0.085}, {"q4x", 0.09},  {"q4_1", 0.09},
                             {"q4_0", 0.1},   {"mxfp4", 0.14}, {"q3_k", 0.19},  {"q2_k", 0.36}};

TEST_CASE("Every type holds normal weights within its precision") {
  const std::vector<float> x = Values(Shape::kNormal, 256 * kBlocks, 1);
  for (const Bound& bound : kBounds) {
    INFO(bound.name);
    const auto encoding = FindEncoding(bound.name);
    REQUIRE(encoding);
    const double relative = std::sqrt(Error(x, *encoding, Encoded(*encoding, x)) / Squares(x));
    CAPTURE(relative);
    CHECK(relative < bound.relative);
    CHECK(relative > bound.relative / 4);  // else the bound says nothing
  }
}

TEST_CASE("With importance that tells nothing a search never loses more than ggml's plain rounding") {
  for (const DType type : {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1}) {
    for (const Shape shape : kShapes) {
      const std::vector<float> x = Values(shape, 32 * 64, 7);
      const Encoding encoding{type, false};
      const std::vector<std::uint8_t> plain = Encoded(encoding, x);
      // The reciprocal of what the search multiplies importance with: all errors count alike.
      std::vector<float> alike(x.size());
      for (std::size_t b = 0; b < x.size(); b += 32) {
        float squares = 0;
        for (std::size_t i = b; i < b + 32; ++i) squares += x[i] * x[i];
        for (std::size_t i = b; i < b + 32; ++i) alike[i] = 1.0F / std::sqrt(squares / 32 + x[i] * x[i]);
      }
      CAPTURE(NameOf(encoding), static_cast<int>(shape));
      CHECK(Error(x, encoding, Encoded(encoding, x, alike.data())) <= Error(x, encoding, plain) * 1.000001);
    }
  }
}

TEST_CASE("Q8_0, Q4_0 and Q4_1 are ggml's, byte for byte") {
  for (const DType type : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1}) {
    for (const Shape shape : {Shape::kNormal, Shape::kHeavy, Shape::kPositive, Shape::kGroups, Shape::kHuge}) {
      std::vector<float> x = Values(shape, 32 * 62, 9);  // the last eight are not whole
      for (std::size_t i = 0; i < x.size(); i += 64) {  // the largest twice, with either sign first
        x[i + 5] = i % 128 == 0 ? 9000.0F : -9000.0F;
        x[i + 9] = -x[i + 5];
      }
      std::vector<std::uint8_t> plain(static_cast<std::size_t>(BytesOf(type, std::ssize(x))));
      REQUIRE(Quantize(type, x.data(), plain.data(), std::ssize(x)));
      CHECK(Encoded({type, false}, x) == plain);
    }
  }
}

TEST_CASE("A block's bytes do not depend on its neighbours") {
  for (const Bound& bound : kBounds) {
    INFO(bound.name);
    const Encoding encoding = *FindEncoding(bound.name);
    const DTypeInfo& info = Info(encoding.type);
    const std::vector<float> x = Values(Shape::kHeavy, 256 * 13, 2);
    const std::vector<std::uint8_t> all = Encoded(encoding, x);
    std::vector<std::uint8_t> single;
    for (auto at = x.begin(); at != x.end(); at += info.block) {
      const auto block = Encoded(encoding, {at, at + info.block});
      single.insert(single.end(), block.begin(), block.end());
    }
    CHECK(all == single);
  }
}

TEST_CASE("Halves and bfloats of many are those of one") {
  std::vector<float> x;
  for (std::uint32_t h = 0; h < 65536; ++h) x.push_back(HalfToFloat(static_cast<std::uint16_t>(h)));
  std::mt19937 random(4);
  for (int i = 0; i < 100'003; ++i) {
    const auto bits = static_cast<std::uint32_t>(random());
    float value;
    std::memcpy(&value, &bits, sizeof value);
    x.push_back(value);
  }
  std::vector<std::uint16_t> halves(x.size()), bfloats(x.size());
  REQUIRE(Quantize(DType::kF16, x.data(), halves.data(), std::ssize(x)));
  REQUIRE(Quantize(DType::kBF16, x.data(), bfloats.data(), std::ssize(x)));
  std::vector<float> back(x.size());
  REQUIRE(Dequantize(DType::kF16, halves.data(), back.data(), std::ssize(x)));
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float one = HalfToFloat(halves[i]);
    wrong += halves[i] == FloatToHalf(x[i]) && bfloats[i] == FloatToBf16(x[i]) ? 0U : 1U;
    wrong += std::memcmp(&one, &back[i], sizeof one) == 0 ? 0U : 1U;
  }
  CHECK(wrong == 0);
}

TEST_CASE("q4x blocks are exact in eight bits and hardly worse than Q4_K") {
  const Encoding exact = *FindEncoding("q4x");
  const Encoding free = *FindEncoding("q4_k");
  for (const Shape shape : kShapes) {
    for (unsigned seed = 0; seed < 8; ++seed) {
      const std::vector<float> x = Values(shape, 256 * kBlocks, seed);
      const std::vector<std::uint8_t> blocks = Encoded(exact, x);
      CHECK(IsInt8Exact(blocks.data(), std::ssize(x)));
      if (shape == Shape::kNormal) {
        CHECK(Error(x, exact, blocks) < 1.1 * Error(x, free, Encoded(free, x)));
        CHECK_FALSE(IsInt8Exact(Encoded(free, x).data(), std::ssize(x)));
      }
    }
  }
}

TEST_CASE("Importance moves the error to columns that matter less") {
  const std::vector<float> x = Values(Shape::kNormal, 256 * kBlocks, 3);
  std::vector<float> importance(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) importance[i] = i % 8 == 0 ? 50.0F : 0.5F;
  for (const char* name : {"q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k", "q4_k", "q4x", "q5_k", "q6_k"}) {
    INFO(name);
    const Encoding encoding = *FindEncoding(name);
    CHECK(Error(x, encoding, Encoded(encoding, x, importance.data()), importance.data()) <
          Error(x, encoding, Encoded(encoding, x), importance.data()));
  }
}

TEST_CASE("Zeros stay zeros, and what is not finite gives some valid block") {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Bound& bound : kBounds) {
    INFO(bound.name);
    const Encoding encoding = *FindEncoding(bound.name);
    const std::vector<float> zeros(512);
    CHECK(Error(zeros, encoding, Encoded(encoding, zeros)) == 0);
    for (const float odd :
         {inf, -inf, nan, std::numeric_limits<float>::max(), std::numeric_limits<float>::denorm_min()}) {
      std::vector<float> x = Values(Shape::kNormal, 512, 5);
      x[3] = odd;
      x[300] = -odd;
      const std::vector<float> zero_importance(x.size());
      const auto blocks = Encoded(encoding, x, zero_importance.data());
      if (encoding.int8_exact && std::isfinite(odd)) CHECK(IsInt8Exact(blocks.data(), std::ssize(x)));
    }
    for (const float same : {1.0F, -1.0F, 0.37F}) {  // a block of one value
      const std::vector<float> x(256, same);
      CHECK(std::sqrt(Error(x, encoding, Encoded(encoding, x)) / Squares(x)) < 0.05);
    }
  }
}

TEST_CASE("Encodings have names that read back, and rows that do not fit get another type") {
  for (const Bound& bound : kBounds) CHECK(NameOf(*FindEncoding(bound.name)) == bound.name);
  CHECK(FindEncoding("Q4_K") == Encoding{DType::kQ4_K, false});
  CHECK(FindEncoding("q8") == Encoding{DType::kQ8_0, false});
  CHECK_FALSE(FindEncoding("q4_k_m"));
  CHECK_FALSE(FindEncoding(""));
  CHECK(FitToRow({DType::kQ4_K, true}, 576) == Encoding{DType::kQ5_0, false});
  CHECK(FitToRow({DType::kQ6_K, false}, 576) == Encoding{DType::kQ8_0, false});
  CHECK(FitToRow({DType::kQ4_K, true}, 512) == Encoding{DType::kQ4_K, true});
  CHECK(FitToRow({DType::kQ8_0, false}, 17) == Encoding{DType::kF16, false});
  std::uint8_t byte = 0;
  CHECK_FALSE(Encode({DType::kIQ4_XS, false}, nullptr, nullptr, &byte, 0));
}

}  // namespace
}  // namespace quorum::quant
