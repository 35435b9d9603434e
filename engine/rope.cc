#include "engine/rope.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <numbers>

#include "engine/base/check.h"

namespace quorum::engine {
namespace {

// pi/2 and ln 2 in parts of 33 (32) bits, so that n * first part is exact for |n| < 2^20.
constexpr double kHalfPi1 = 0x1.921fb54400000p+0;
constexpr double kHalfPi2 = 0x1.0b4611a600000p-34;
constexpr double kHalfPi3 = 0x1.3198a2e037073p-69;
constexpr double kLn2High = 0x1.62e42fee00000p-1;
constexpr double kLn2Low = 0x1.a39ef35793c76p-33;

// Terms of the Taylor series up to x^`degree`, enough for the reduced ranges below.
double SinSeries(double x) {
  const double x2 = x * x;
  double sum = 0;
  for (int n = 17; n >= 3; n -= 2) sum = -(sum + 1.0) * x2 / static_cast<double>(n * (n - 1));
  return x + x * sum;  // x - x^3/3! + ...
}

double CosSeries(double x) {
  const double x2 = x * x;
  double sum = 0;
  for (int n = 18; n >= 2; n -= 2) sum = -(sum + 1.0) * x2 / static_cast<double>(n * (n - 1));
  return 1.0 + sum;  // 1 - x^2/2! + ...
}

double Pow(double base, double exponent) { return ExactExp(exponent * ExactLog(base)); }

/// The pair index at which the angle makes `turns` over `context` positions (YaRN's correction dimension).
double PairOfTurns(const RopeSpec& spec, double turns) {
  const double wavelengths = static_cast<double>(spec.original_context) / (turns * 2.0 * std::numbers::pi);
  return static_cast<double>(spec.dims) * ExactLog(wavelengths) / (2.0 * ExactLog(spec.base));
}

void ApplyYarn(const RopeSpec& spec, RopeTable& table) {
  const double last = static_cast<double>(spec.dims - 1);
  double low = PairOfTurns(spec, spec.beta_fast);
  double high = PairOfTurns(spec, spec.beta_slow);
  if (spec.whole_pairs) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, last);
  if (high == low) high += 0.001;  // as the reference implementations do: a step instead of a ramp
  for (std::size_t i = 0; i < table.frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double plain = table.frequencies[i];
    table.frequencies[i] = plain / spec.factor * ramp + plain * (1.0 - ramp);
  }
  table.magnitude = YarnTemperature(spec.factor) * spec.attention_factor;
}

}  // namespace

double ExactExp(double x) {
  const double n = std::floor(x * (1.0 / std::numbers::ln2) + 0.5);
  const double r = (x - n * kLn2High) - n * kLn2Low;  // |r| <= ln(2) / 2
  double sum = 1.0;
  for (int k = 16; k >= 1; --k) sum = 1.0 + r * sum / static_cast<double>(k);
  const auto exponent = static_cast<std::int64_t>(n) + 1023;
  QUORUM_CHECK(exponent > 0 && exponent < 2047);
  return sum * std::bit_cast<double>(exponent << 52);
}

double ExactLog(double x) {
  const auto bits = std::bit_cast<std::int64_t>(x);
  std::int64_t exponent = (bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xfffffffffffff) | (std::int64_t{1023} << 52));  // 1 <= m < 2
  if (m > std::numbers::sqrt2) {
    m *= 0.5;
    ++exponent;
  }
  const double s = (m - 1.0) / (m + 1.0);  // log m = 2 atanh(s), |s| < 0.172
  const double s2 = s * s;
  double sum = 0;
  for (int k = 25; k >= 1; k -= 2) sum = sum * s2 + 1.0 / static_cast<double>(k);
  const auto e = static_cast<double>(exponent);
  return e * kLn2High + (2.0 * s * sum + e * kLn2Low);
}

void ExactSinCos(double x, double* sin, double* cos) {
  const double n = std::floor(x * (2.0 / std::numbers::pi) + 0.5);
  const double r = ((x - n * kHalfPi1) - n * kHalfPi2) - n * kHalfPi3;  // |r| <= pi/4
  const double s = SinSeries(r);
  const double c = CosSeries(r);
  switch (static_cast<std::int64_t>(n) & 3) {
    case 0:
      *sin = s;
      *cos = c;
      break;
    case 1:
      *sin = c;
      *cos = -s;
      break;
    case 2:
      *sin = -s;
      *cos = -c;
      break;
    default:
      *sin = -c;
      *cos = s;
      break;
  }
}

double YarnTemperature(double factor, double mscale) {
  return factor > 1.0 ? 0.1 * mscale * ExactLog(factor) + 1.0 : 1.0;
}

RopeTable MakeRopeTable(const RopeSpec& spec) {
  RopeTable table;
  const std::int32_t pairs = spec.dims / 2;
  const bool use_long = spec.scaling == RopeScaling::kLongRope && spec.long_context;
  const std::vector<float>& factors = use_long ? spec.long_factors : spec.factors;
  table.frequencies.resize(static_cast<std::size_t>(pairs));
  for (std::int32_t i = 0; i < pairs; ++i) {
    double& frequency = table.frequencies[static_cast<std::size_t>(i)];
    frequency = Pow(spec.base, -static_cast<double>(2 * i) / static_cast<double>(spec.dims));
    if (!factors.empty()) frequency /= static_cast<double>(factors[static_cast<std::size_t>(i)]);
    if (spec.scaling == RopeScaling::kLinear) frequency /= spec.factor;
  }
  if (spec.scaling == RopeScaling::kYarn) ApplyYarn(spec, table);
  if (spec.scaling == RopeScaling::kLongRope) table.magnitude = use_long ? spec.long_magnitude : spec.magnitude;
  return table;
}

void RopeAngles(const RopeTable& table, std::int64_t position, float* cos, float* sin) {
  for (std::size_t i = 0; i < table.frequencies.size(); ++i) {
    double s = 0;
    double c = 0;
    ExactSinCos(static_cast<double>(position) * table.frequencies[i], &s, &c);
    sin[i] = static_cast<float>(s * table.magnitude);
    cos[i] = static_cast<float>(c * table.magnitude);
  }
}

}  // namespace quorum::engine
