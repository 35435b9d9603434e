// Scales of channels that are searched: what rounding costs is less, or nothing changes.
#include "quant/equalize_search.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tests/support/catch.h"

namespace quorum::quant {
namespace {

constexpr std::int64_t kCols = 256, kRows = 16;

SourceTensor Matrix(const std::vector<float>& values) {
  SourceTensor tensor;
  tensor.name = "blk.0.ffn_down.weight";
  tensor.dims = {kCols, kRows};
  tensor.read = [&values](std::int64_t first, std::int64_t count, float* dst) {
    std::copy_n(values.begin() + first * kCols, count * kCols, dst);
  };
  return tensor;
}

std::vector<float> Random(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> out;
  for (std::size_t i = 0; i < n; ++i) out.push_back(normal(random));
  return out;
}

/// Squared error of the products of activations that have `squares`, when columns are scaled.
double Loss(const std::vector<float>& weights, const std::vector<double>& squares, const std::vector<float>& scales,
            const Encoding& encoding) {
  double loss = 0;
  std::vector<float> row(kCols), again(kCols), means(kCols);
  std::vector<std::byte> made(static_cast<std::size_t>(BytesOf(encoding.type, kCols)));
  for (std::size_t c = 0; c < kCols; ++c) means[c] = static_cast<float>(squares[c]) / (scales[c] * scales[c]);
  for (std::size_t r = 0; r < kRows; ++r) {
    for (std::size_t c = 0; c < kCols; ++c) row[c] = weights[r * kCols + c] * scales[c];
    Encode(encoding, row.data(), means.data(), made.data(), kCols);
    Dequantize(encoding.type, made.data(), again.data(), kCols);
    for (std::size_t c = 0; c < kCols; ++c) {
      loss += static_cast<double>(means[c] * (row[c] - again[c]) * (row[c] - again[c]));
    }
  }
  return loss;
}

TEST_CASE("Coarse types get the power that loses least, fine ones the square root") {
  const std::vector<float> weights = Random(kCols * kRows, 1);
  const SourceTensor tensor = Matrix(weights);
  std::vector<double> squares(kCols, 1.0);
  for (std::size_t c = 5; c < kCols; c += 32) squares[c] = 900.0;  // one channel of each block is far larger
  const std::vector<float> means(squares.begin(), squares.end());
  for (const char* name : {"q4x", "q4_k", "q4_0", "q3_k", "q5_0"}) {
    CAPTURE(name);
    const std::vector<ChannelReader> readers = {{&tensor, 0, kRows, means, *FindEncoding(name)}};
    const auto scales = SearchScales(squares, {}, readers, 2);
    REQUIRE(scales.size() == kCols);
    const double least = Loss(weights, squares, scales, readers[0].encoding);
    double before = 0;
    for (const double power : {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}) {
      std::vector<float> other;
      for (const double square : squares) {
        const double rms = std::sqrt(square) / std::pow(30.0, 1.0 / 32.0);  // around the geometric mean
        other.push_back(static_cast<float>(std::pow(rms, power)));
      }
      const double loss = Loss(weights, squares, other, readers[0].encoding);
      if (power == 0.0) before = loss;
      CHECK(least <= 1.001 * loss);
    }
    if (!readers[0].encoding.int8_exact) CHECK(least < 0.97 * before);  // that one finds its way around such channels
  }
  const std::vector<ChannelReader> fine = {{&tensor, 0, kRows, means, *FindEncoding("q8_0")}};
  const auto scales = SearchScales(squares, {}, fine, 1);
  CHECK(std::fabs(scales[5] / scales[6] - std::sqrt(30.0F)) < 1e-3F);
}

TEST_CASE("Channels that are alike, or of which nothing is known, keep their scale") {
  const std::vector<float> weights = Random(kCols * kRows, 2);
  const SourceTensor tensor = Matrix(weights);
  const Encoding q4 = *FindEncoding("q4_0");
  const std::vector<ChannelReader> readers = {{&tensor, 0, kRows, std::vector<float>(kCols, 3.0F), q4}};
  const std::vector<float> ones(kCols, 1.0F);
  const auto near = [](float a, float b) { return std::fabs(a - b) < 1e-5F; };
  CHECK(std::ranges::equal(SearchScales(std::vector<double>(kCols, 3.0), {}, readers, 1), ones, near));
  CHECK(SearchScales(std::vector<double>(kCols, 0.0), {}, readers, 1) == ones);
  std::vector<double> uneven(kCols, 1.0);
  uneven[0] = 100.0;
  CHECK(SearchScales(uneven, {}, {}, 1) == ones);  // nothing is rounded
}

TEST_CASE("Large channels whose weights would be rounded worse stay") {
  // Every block has one weight that is far larger, in a channel that is large too: more of it makes all others worse.
  std::vector<float> weights = Random(kCols * kRows, 3);
  std::vector<double> squares(kCols, 1.0);
  for (std::size_t c = 5; c < kCols; c += 32) squares[c] = 4.0;
  for (std::size_t i = 5; i < weights.size(); i += 32) weights[i] = weights[i] < 0 ? -40.0F : 40.0F;
  const SourceTensor tensor = Matrix(weights);
  const std::vector<ChannelReader> readers = {
      {&tensor, 0, kRows, std::vector<float>(squares.begin(), squares.end()), *FindEncoding("q4_0")}};
  CHECK(SearchScales(squares, {}, readers, 1) == std::vector<float>(kCols, 1.0F));
}

TEST_CASE("Columns that read the same channel are scaled alike") {
  const std::vector<float> weights = Random(kCols * kRows, 4);
  const SourceTensor tensor = Matrix(weights);
  std::vector<std::size_t> channel(kCols);
  for (std::size_t c = 0; c < kCols; ++c) channel[c] = c % 128;
  std::vector<double> squares(128, 1.0);
  std::vector<float> means(kCols, 1.0F);
  for (std::size_t c = 3; c < 128; c += 32) squares[c] = 900.0;
  for (std::size_t c = 3; c < kCols; c += 32) means[c] = 900.0F;
  const std::vector<ChannelReader> readers = {{&tensor, 0, kRows, means, *FindEncoding("q4_0")}};
  const auto scales = SearchScales(squares, channel, readers, 1);
  REQUIRE(scales.size() == 128);
  CHECK(scales[3] > 1.2F * scales[4]);
}

}  // namespace
}  // namespace quorum::quant
