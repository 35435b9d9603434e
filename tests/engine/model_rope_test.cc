// Rotary positions: own elementary functions, frequencies, scalings.
#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/rope.h"
#include "tests/support/catch.h"

namespace quorum::engine {
namespace {

TEST_CASE("Own elementary functions are as good as the library's") {
  double worst_sin = 0;
  double worst_cos = 0;
  for (int i = -200000; i < 200000; ++i) {
    const double x = i * 4.7123 + 0.1;  // up to 9e5
    double s = 0;
    double c = 0;
    ExactSinCos(x, &s, &c);
    worst_sin = std::max(worst_sin, std::abs(s - std::sin(x)));
    worst_cos = std::max(worst_cos, std::abs(c - std::cos(x)));
  }
  CHECK(worst_sin < 1e-14);
  CHECK(worst_cos < 1e-14);
  double worst_exp = 0;
  double worst_log = 0;
  for (int i = 1; i < 100000; ++i) {
    const double x = i * 0.0139 - 690;
    worst_exp = std::max(worst_exp, std::abs(ExactExp(x) / std::exp(x) - 1));
    const double y = i * 0.0371 * i;
    worst_log = std::max(worst_log, std::abs(ExactLog(y) - std::log(y)) / std::max(1.0, std::abs(std::log(y))));
  }
  CHECK(worst_exp < 1e-14);
  CHECK(worst_log < 1e-14);
  CHECK(ExactExp(0.0) == 1.0);
  CHECK(ExactLog(1.0) == 0.0);
}

TEST_CASE("Frequencies and angles follow the formula") {
  RopeSpec spec;
  spec.dims = 64;
  spec.base = 100000.0;
  const RopeTable table = MakeRopeTable(spec);
  REQUIRE(table.frequencies.size() == 32);
  CHECK(table.frequencies[0] == 1.0);
  CHECK(std::abs(table.frequencies[31] - std::pow(1e5, -62.0 / 64)) < 1e-18);
  std::vector<float> cos(32);
  std::vector<float> sin(32);
  RopeAngles(table, 8191, cos.data(), sin.data());
  CHECK(cos[0] == static_cast<float>(std::cos(8191.0)));
  CHECK(std::abs(sin[7] - static_cast<float>(std::sin(8191.0 * std::pow(1e5, -14.0 / 64)))) < 1e-7F);
  RopeAngles(table, 0, cos.data(), sin.data());
  CHECK(cos[5] == 1.0F);
  CHECK(sin[5] == 0.0F);
}

TEST_CASE("Scalings change the frequencies that they should") {
  RopeSpec spec;
  spec.dims = 16;
  const RopeTable plain = MakeRopeTable(spec);
  spec.scaling = RopeScaling::kLinear;
  spec.factor = 4.0;
  const RopeTable linear = MakeRopeTable(spec);
  spec.scaling = RopeScaling::kYarn;
  spec.original_context = 2048;
  const RopeTable yarn = MakeRopeTable(spec);
  CHECK(linear.magnitude == 1.0);
  CHECK(std::abs(yarn.magnitude - (0.1 * std::log(4.0) + 1.0)) < 1e-15);
  for (std::size_t i = 0; i < 8; ++i) {
    CHECK(linear.frequencies[i] == plain.frequencies[i] / 4.0);
    CHECK(yarn.frequencies[i] <= plain.frequencies[i]);
    CHECK(yarn.frequencies[i] >= plain.frequencies[i] / 4.0);
  }
  CHECK(yarn.frequencies.front() == plain.frequencies.front());      // many turns: not stretched
  CHECK(yarn.frequencies.back() == plain.frequencies.back() / 4.0);  // less than one turn: stretched fully
  spec.scaling = RopeScaling::kNone;
  spec.factors = {1, 2, 1, 1, 1, 1, 1, 8};
  const RopeTable llama3 = MakeRopeTable(spec);
  CHECK(llama3.frequencies[1] == plain.frequencies[1] / 2.0);
  CHECK(llama3.frequencies[2] == plain.frequencies[2]);
  CHECK(llama3.frequencies[7] == plain.frequencies[7] / 8.0);
}

}  // namespace
}  // namespace quorum::engine
