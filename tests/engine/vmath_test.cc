// The float row functions: accuracy against double, the order of sums, and the same bits on every instruction set.
#include "engine/kernels/vmath.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "engine/base/cpu.h"
#include "engine/kernels/dispatch.h"
#include "engine/kernels/kernel_table.h"
#include "tests/support/catch.h"
#include "tests/support/kernel_tables.h"

namespace quorum::engine::avx512_emulated {  // tests/emulated

void ExpRow(const float* x, std::int64_t n, float* y);
void TanhRow(const float* x, std::int64_t n, float* y);
void LogRow(const float* x, std::int64_t n, float* y);

}  // namespace quorum::engine::avx512_emulated

namespace quorum::engine {
namespace {

using testing::AllTables;
using testing::VectorTables;
using Floats = std::vector<float>;
using RowFn = void (*)(const float*, std::int64_t, float*);

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kDenormal = std::numeric_limits<float>::denorm_min();

struct Elementary {
  RowFn exp, tanh, log;
};

Elementary ElementaryFor(const KernelTable& table) {
  if (&table == &ScalarKernels()) return {scalar::ExpRow, scalar::TanhRow, scalar::LogRow};
  if (&table == Avx2Kernels()) return {avx2::ExpRow, avx2::TanhRow, avx2::LogRow};
  if (&table == Avx512Kernels()) return {avx512::ExpRow, avx512::TanhRow, avx512::LogRow};
  return {avx512_emulated::ExpRow, avx512_emulated::TanhRow, avx512_emulated::LogRow};
}

/// Equal bits, or both NaN: payloads may differ.
bool Same(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

bool Same(const Floats& a, const Floats& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](float x, float y) { return Same(x, y); });
}

Floats Random(std::mt19937& random, std::int64_t n, float spread) {
  std::normal_distribution<float> normal(0.0F, spread);
  Floats x(static_cast<std::size_t>(n));
  for (float& v : x) v = normal(random);
  return x;
}

/// Ordinary values with the awkward ones strewn in.
Floats Awkward(std::mt19937& random, std::int64_t n, bool with_nan) {
  const std::array<float, 14> odd = {0.0F,  -0.0F,   kDenormal, -kDenormal, 1e-40F,  -3e-39F, kInf,
                                     -kInf, 3.4e38F, -3.4e38F,  88.8F,      -103.9F, -87.5F,  kNan};
  Floats x = Random(random, n, 8.0F);
  for (float& v : x) {
    if (random() % 4 == 0) v = odd[random() % (odd.size() - (with_nan ? 0U : 1U))];
  }
  return x;
}

/// |got - exact| in units of the last place of `exact`, where denormals share the smallest one.
double UlpError(float got, double exact) {
  if (std::isinf(got) || got == 0) {
    const float rounded = static_cast<float>(exact);
    if (rounded == got) return 0;
  }
  const int exponent = std::max(std::ilogb(exact), -126) - 23;
  return std::abs(static_cast<double>(got) - exact) / std::ldexp(1.0, exponent);
}

struct Worst {
  double ulp = 0;
  float at = 0;
};

/// Floats with every exponent: bit patterns from `begin` to `end` at a stride that is prime.
template <typename Reference>
Worst Sweep(RowFn fn, std::uint32_t begin, std::uint32_t end, std::uint32_t stride, Reference reference) {
  Worst worst;
  Floats x(4096);
  Floats y(x.size());
  std::uint64_t next = begin;
  while (next < end) {
    std::size_t count = 0;
    for (; count < x.size() && next < end; ++count, next += stride) {
      x[count] = std::bit_cast<float>(static_cast<std::uint32_t>(next));
    }
    fn(x.data(), static_cast<std::int64_t>(count), y.data());
    for (std::size_t i = 0; i < count; ++i) {
      const double exact = reference(static_cast<double>(x[i]));
      const double ulp = exact == 0 ? (y[i] == 0 ? 0.0 : 1e9) : UlpError(y[i], exact);
      if (!(ulp <= worst.ulp)) worst = {ulp, x[i]};
    }
  }
  return worst;
}

TEST_CASE("exp, tanh and log are within two units in the last place") {
  const Elementary fn = ElementaryFor(ScalarKernels());
  const std::uint32_t infinity = 0x7f800000U;
  const std::uint32_t sign = 0x80000000U;
  Worst worst = Sweep(fn.exp, 0, infinity, 2003, [](double x) { return std::exp(x); });
  CAPTURE(worst.at, worst.ulp);
  CHECK(worst.ulp < 1.0);
  worst = Sweep(fn.exp, sign, sign + infinity, 2003, [](double x) { return std::exp(x); });
  CAPTURE(worst.at, worst.ulp);
  CHECK(worst.ulp < 1.0);
  // Where results are ordinary, densely: 2^-24 <= |x| < 2^7.
  worst = Sweep(fn.exp, 0x33800000U, 0x43000000U, 499, [](double x) { return std::exp(x); });
  CAPTURE(worst.at, worst.ulp);
  CHECK(worst.ulp < 1.0);
  worst = Sweep(fn.exp, sign + 0x33800000U, sign + 0x43000000U, 499, [](double x) { return std::exp(x); });
  CAPTURE(worst.at, worst.ulp);
  CHECK(worst.ulp < 1.0);
  worst = Sweep(fn.tanh, 0, infinity, 2003, [](double x) { return std::tanh(x); });
  CAPTURE(worst.at, worst.ulp);
  CHECK(worst.ulp < 2.0);
  worst = Sweep(fn.tanh, 0x3c000000U, 0x41200000U, 101, [](double x) { return std::tanh(x); });
  CAPTURE(worst.at, worst.ulp);
  CHECK(worst.ulp < 2.0);
  worst = Sweep(fn.log, 0x00800000U, infinity, 2003, [](double x) { return std::log(x); });
  CAPTURE(worst.at, worst.ulp);
  CHECK(worst.ulp < 1.0);
  worst = Sweep(fn.log, 0x3f000000U, 0x40000000U, 13, [](double x) { return std::log(x); });
  CAPTURE(worst.at, worst.ulp);
  CHECK(worst.ulp < 1.0);
}

TEST_CASE("exp, tanh and log at their limits") {
  for (const KernelTable* table : AllTables()) {
    CAPTURE(table->name);
    const Elementary fn = ElementaryFor(*table);
    const auto at = [](RowFn f, float x) {
      float y = 0;
      f(&x, 1, &y);
      return y;
    };
    CHECK(at(fn.exp, 0.0F) == 1.0F);
    CHECK(at(fn.exp, -0.0F) == 1.0F);
    CHECK(at(fn.exp, kDenormal) == 1.0F);
    CHECK(at(fn.exp, kInf) == kInf);
    CHECK(Same(at(fn.exp, -kInf), 0.0F));
    CHECK(std::isnan(at(fn.exp, kNan)));
    CHECK(at(fn.exp, 88.72283F) < kInf);
    CHECK(at(fn.exp, 88.72284F) == kInf);
    CHECK(at(fn.exp, 3e38F) == kInf);
    CHECK(at(fn.exp, -103.97F) == kDenormal);
    CHECK(Same(at(fn.exp, -103.98F), 0.0F));
    CHECK(Same(at(fn.exp, -3e38F), 0.0F));
    CHECK(at(fn.tanh, kInf) == 1.0F);
    CHECK(at(fn.tanh, -kInf) == -1.0F);
    CHECK(at(fn.tanh, 9.02F) == 1.0F);
    CHECK(Same(at(fn.tanh, -0.0F), -0.0F));
    CHECK(Same(at(fn.tanh, 0.0F), 0.0F));
    CHECK(at(fn.tanh, -kDenormal) == -kDenormal);
    CHECK(std::isnan(at(fn.tanh, kNan)));
    CHECK(Same(at(fn.log, 1.0F), 0.0F));
    CHECK(at(fn.log, 0.0F) == -kInf);
    CHECK(at(fn.log, kInf) == kInf);
    CHECK(std::isnan(at(fn.log, -1.0F)));
    CHECK(std::isnan(at(fn.log, kNan)));
  }
}

TEST_CASE("Elementary functions have the same bits on every instruction set, wherever an element stands") {
  const Elementary golden = ElementaryFor(ScalarKernels());
  for (const KernelTable* table : VectorTables()) {
    CAPTURE(table->name);
    const Elementary fn = ElementaryFor(*table);
    Floats x(4099);  // a tail of 3
    Floats want(x.size());
    Floats got(x.size());
    const auto n = static_cast<std::int64_t>(x.size());
    bool same = true;
    for (std::uint64_t base = 0; base < (std::uint64_t{1} << 32); base += x.size() * 4001) {
      for (std::size_t i = 0; i < x.size(); ++i) {
        x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(base + i * 4001));
      }
      golden.exp(x.data(), n, want.data());
      fn.exp(x.data(), n, got.data());
      same = same && Same(want, got);
      golden.tanh(x.data(), n, want.data());
      fn.tanh(x.data(), n, got.data());
      same = same && Same(want, got);
      golden.log(x.data(), n, want.data());
      fn.log(x.data(), n, got.data());
      same = same && Same(want, got);
    }
    CHECK(same);

    std::mt19937 random(7);
    const Floats row = Awkward(random, 200, true);
    Floats all(row.size());
    fn.exp(row.data(), 200, all.data());
    for (std::int64_t begin = 0; begin < 40; ++begin) {
      Floats part(static_cast<std::size_t>(begin + 3));
      fn.exp(row.data() + begin, begin + 3, part.data());
      CHECK(Same(part, Floats(all.begin() + begin, all.begin() + 2 * begin + 3)));
    }
  }
}

/// All the row functions on the same data, results end to end.
Floats RunAll(const KernelTable& kernels, const Floats& a, const Floats& b, const Floats& c, float factor) {
  const auto n = static_cast<std::int64_t>(a.size());
  Floats all;
  const auto keep = [&](const Floats& y) { all.insert(all.end(), y.begin(), y.end()); };
  Floats y(a.size());
  kernels.rms_norm(a.data(), b.data(), 1e-5F, n, y.data());
  keep(y);
  y = c;
  kernels.add(a.data(), n, y.data());
  keep(y);
  y = c;
  kernels.axpy(factor, a.data(), n, y.data());
  keep(y);
  kernels.layer_norm(a.data(), b.data(), c.data(), 1e-5F, n, y.data());
  keep(y);
  kernels.swiglu(a.data(), b.data(), 16, n, y.data());
  keep(y);
  kernels.geglu(a.data(), b.data(), 16, n, y.data());
  keep(y);
  kernels.clamped_swiglu(a.data(), b.data(), 16, 1.702F, 7.0F, n, y.data());
  keep(y);
  y = a;
  kernels.softcap(5.0F, n, y.data());
  keep(y);
  y = a;
  all.push_back(kernels.softmax(y.data(), n));
  keep(y);
  const double log_sum = kernels.log_sum_exp(a.data(), n);
  all.push_back(static_cast<float>(log_sum));
  all.push_back(static_cast<float>(log_sum - static_cast<double>(all.back())));
  for (const bool neox : {false, true}) {
    y = c;
    kernels.rope(y.data(), a.data(), b.data(), n / 2 * 2, neox);
    keep(y);
  }
  y = a;
  kernels.hadamard(y.data(), n, 0.25F);
  keep(y);
  return all;
}

TEST_CASE("Row functions have the bits of the scalar ones for every length") {
  std::mt19937 random(11);
  for (std::int64_t n = 1; n <= 130; ++n) {
    for (int kind = 0; kind < 3; ++kind) {
      const auto make = [&] { return kind == 0 ? Random(random, n, 3.0F) : Awkward(random, n, kind == 2); };
      const Floats a = make();
      const Floats b = make();
      const Floats c = make();
      const Floats want = RunAll(ScalarKernels(), a, b, c, b[0]);
      for (const KernelTable* table : VectorTables()) {
        CAPTURE(table->name, n, kind);
        CHECK(Same(want, RunAll(*table, a, b, c, b[0])));
      }
    }
  }
}

TEST_CASE("Row functions write nothing beyond their row and may work in place") {
  std::mt19937 random(12);
  for (const KernelTable* table : AllTables()) {
    const KernelTable& kernels = *table;
    for (const std::int64_t n : {1, 15, 16, 17, 33, 48}) {
      CAPTURE(table->name, n);
      const Floats x = Random(random, n, 2.0F);
      const Floats w = Random(random, n, 2.0F);
      const auto size = static_cast<std::size_t>(n);
      Floats apart(size);
      kernels.rms_norm(x.data(), w.data(), 1e-6F, n, apart.data());
      Floats in_place = x;
      in_place.resize(size + 16, 77.0F);
      kernels.rms_norm(in_place.data(), w.data(), 1e-6F, n, in_place.data());
      CHECK(std::equal(apart.begin(), apart.end(), in_place.begin()));
      CHECK(std::count(in_place.begin() + n, in_place.end(), 77.0F) == 16);

      kernels.swiglu(x.data(), w.data(), 16, n, apart.data());
      in_place = w;
      in_place.resize(size + 16, 77.0F);
      kernels.swiglu(x.data(), in_place.data(), 16, n, in_place.data());
      CHECK(std::equal(apart.begin(), apart.end(), in_place.begin()));
      kernels.softmax(in_place.data(), n);
      kernels.layer_norm(in_place.data(), w.data(), x.data(), 1e-6F, n, in_place.data());
      kernels.geglu(x.data(), in_place.data(), 16, n, in_place.data());
      kernels.clamped_swiglu(in_place.data(), x.data(), 16, 1.702F, 7.0F, n, in_place.data());
      kernels.softcap(3.0F, n, in_place.data());
      kernels.add(x.data(), n, in_place.data());
      kernels.axpy(2.0F, x.data(), n, in_place.data());
      kernels.rope(in_place.data(), x.data(), w.data(), n / 2 * 2, false);
      kernels.rope(in_place.data(), x.data(), w.data(), n / 2 * 2, true);
      kernels.hadamard(in_place.data(), n, 2.0F);
      CHECK(std::count(in_place.begin() + n, in_place.end(), 77.0F) == 16);
    }
  }
}

/// Sixteen lanes and the fixed tree, spelled out.
template <typename Term>
float LaneSum(std::int64_t n, Term term) {
  std::array<float, 16> lane{};
  for (std::int64_t i = 0; i < n; ++i) {
    float& sum = lane[static_cast<std::size_t>(i % 16)];
    sum = term(i, sum);
  }
  for (std::size_t half = 8; half > 0; half /= 2) {
    for (std::size_t l = 0; l < half; ++l) lane[l] += lane[l + half];
  }
  return lane[0];
}

TEST_CASE("rms_norm is the formula, summed in lanes") {
  std::mt19937 random(13);
  for (const std::int64_t n : {1, 7, 16, 100, 2048}) {
    const Floats x = Random(random, n, 4.0F);
    const Floats w = Random(random, n, 1.0F);
    Floats y(x.size());
    ScalarKernels().rms_norm(x.data(), w.data(), 1e-5F, n, y.data());
    const float sum = LaneSum(n, [&](std::int64_t i, float s) {
      const float v = x[static_cast<std::size_t>(i)];
      return std::fmaf(v, v, s);
    });
    const float factor = 1.0F / std::sqrt(sum / static_cast<float>(n) + 1e-5F);
    double exact = 0;
    for (const float v : x) exact += static_cast<double>(v) * static_cast<double>(v);
    exact = 1.0 / std::sqrt(exact / static_cast<double>(n) + static_cast<double>(1e-5F));
    for (std::size_t i = 0; i < x.size(); ++i) {
      CHECK(y[i] == x[i] * factor * w[i]);
      const double want = static_cast<double>(x[i]) * exact * static_cast<double>(w[i]);
      CHECK(std::abs(static_cast<double>(y[i]) - want) <= 1e-6 * std::abs(want));
    }
  }
}

TEST_CASE("layer_norm is the formula, summed in lanes") {
  std::mt19937 random(16);
  for (const std::int64_t n : {1, 7, 16, 100, 2048}) {
    Floats x = Random(random, n, 4.0F);
    for (float& v : x) v += 3.0F;
    const Floats w = Random(random, n, 1.0F);
    const Floats b = Random(random, n, 1.0F);
    Floats y(x.size());
    ScalarKernels().layer_norm(x.data(), w.data(), b.data(), 1e-5F, n, y.data());
    const auto at = [&](std::int64_t i) { return x[static_cast<std::size_t>(i)]; };
    const float mean = LaneSum(n, [&](std::int64_t i, float s) { return s + at(i); }) / static_cast<float>(n);
    const float squares = LaneSum(n, [&](std::int64_t i, float s) { return std::fmaf(at(i) - mean, at(i) - mean, s); });
    const float factor = 1.0F / std::sqrt(squares / static_cast<float>(n) + 1e-5F);
    double exact_mean = 0;
    for (const float v : x) exact_mean += static_cast<double>(v) / static_cast<double>(n);
    double variance = 0;
    for (const float v : x) variance += std::pow(static_cast<double>(v) - exact_mean, 2) / static_cast<double>(n);
    for (std::size_t i = 0; i < x.size(); ++i) {
      CHECK(y[i] == std::fmaf((x[i] - mean) * factor, w[i], b[i]));
      const double normed = (static_cast<double>(x[i]) - exact_mean) / std::sqrt(variance + static_cast<double>(1e-5F));
      CHECK(std::abs(static_cast<double>(y[i]) - (normed * static_cast<double>(w[i]) + static_cast<double>(b[i]))) <
            2e-5);
    }
  }
}

TEST_CASE("gate and up may alternate every 16 columns") {
  std::mt19937 random(18);
  for (const KernelTable* kernels : AllTables()) {
    for (const std::int64_t n : {1, 15, 16, 17, 48, 100}) {
      const auto size = static_cast<std::size_t>(n);
      const Floats gate = Random(random, n, 4.0F);
      const Floats up = Random(random, n, 4.0F);
      Floats both((size + 15) / 16 * 32, std::numeric_limits<float>::quiet_NaN());
      for (std::size_t i = 0; i < size; ++i) {
        both[i / 16 * 32 + i % 16] = gate[i];
        both[i / 16 * 32 + 16 + i % 16] = up[i];
      }
      Floats apart(size);
      Floats together(size);
      const auto same = [&] { return std::memcmp(apart.data(), together.data(), size * sizeof(float)) == 0; };
      INFO(kernels->name << " n " << n);
      kernels->swiglu(gate.data(), up.data(), 16, n, apart.data());
      kernels->swiglu(both.data(), both.data() + 16, 32, n, together.data());
      CHECK(same());
      kernels->geglu(gate.data(), up.data(), 16, n, apart.data());
      kernels->geglu(both.data(), both.data() + 16, 32, n, together.data());
      CHECK(same());
      kernels->clamped_swiglu(gate.data(), up.data(), 16, 1.702F, 3.0F, n, apart.data());
      kernels->clamped_swiglu(both.data(), both.data() + 16, 32, 1.702F, 3.0F, n, together.data());
      CHECK(same());
    }
  }
}

TEST_CASE("geglu, clamped_swiglu and softcap are their formulas") {
  std::mt19937 random(17);
  const std::int64_t n = 3000;
  const Floats gate = Random(random, n, 4.0F);
  const Floats up = Random(random, n, 4.0F);
  const KernelTable& kernels = ScalarKernels();
  Floats y(gate.size());
  const auto close = [&](std::size_t i, double want) {
    return std::abs(static_cast<double>(y[i]) - want) <= 2e-6 * std::abs(want) + 1e-12;
  };
  const double root = std::sqrt(2.0 / std::acos(-1.0));
  kernels.geglu(gate.data(), up.data(), 16, n, y.data());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const auto v = static_cast<double>(gate[i]);
    // 1 + tanh t, without its cancellation
    const double twice = 2.0 / (1.0 + std::exp(-2.0 * root * (v + 0.044715 * v * v * v)));
    CHECK(close(i, 0.5 * v * twice * static_cast<double>(up[i])));
  }
  kernels.clamped_swiglu(gate.data(), up.data(), 16, 1.702F, 3.0F, n, y.data());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const auto g = static_cast<double>(std::min(gate[i], 3.0F));
    const auto u = static_cast<double>(std::clamp(up[i], -3.0F, 3.0F));
    const double want = g / (1 + std::exp(-static_cast<double>(1.702F) * g)) * (u + 1);
    CHECK(std::abs(static_cast<double>(y[i]) - want) <= 2e-6 * std::abs(want) + 1e-6);  // u + 1 may cancel
  }
  y = gate;
  kernels.softcap(2.5F, n, y.data());
  for (std::size_t i = 0; i < y.size(); ++i) CHECK(close(i, 2.5 * std::tanh(static_cast<double>(gate[i]) / 2.5)));
  const Floats extremes = {kInf, -kInf, 1e20F, -1e20F};
  y = extremes;
  kernels.softcap(30.0F, 4, y.data());
  CHECK(y == Floats{30.0F, -30.0F, 30.0F, -30.0F});
}

TEST_CASE("softmax sums to one, returns the maximum, and is exactly 1 for one element") {
  for (const float only : {0.0F, -3.5F, 1e30F, -1e30F, kDenormal}) {
    float x = only;
    CHECK(ScalarKernels().softmax(&x, 1) == only);
    CHECK(x == 1.0F);
    CHECK(ScalarKernels().log_sum_exp(&only, 1) == static_cast<double>(only));
  }
  std::mt19937 random(14);
  for (const std::int64_t n : {2, 5, 16, 31, 64, 1000, 50000}) {
    CAPTURE(n);
    const Floats x = Random(random, n, 6.0F);
    const float max = *std::max_element(x.begin(), x.end());
    Floats e(x.size());
    Floats shifted = x;
    for (float& v : shifted) v -= max;
    scalar::ExpRow(shifted.data(), n, e.data());
    const float sum = LaneSum(n, [&](std::int64_t i, float s) { return s + e[static_cast<std::size_t>(i)]; });
    Floats p = x;
    CHECK(ScalarKernels().softmax(p.data(), n) == max);
    double total = 0;
    double exact_sum = 0;
    bool as_specified = true;
    for (std::size_t i = 0; i < x.size(); ++i) {
      as_specified = as_specified && p[i] == e[i] / sum;
      total += static_cast<double>(p[i]);
      exact_sum += std::exp(static_cast<double>(x[i]) - static_cast<double>(max));
    }
    CHECK(as_specified);
    CHECK(std::abs(total - 1) < 5e-6);
    const double want = static_cast<double>(max) + std::log(exact_sum);
    const double got = ScalarKernels().log_sum_exp(x.data(), n);
    CHECK(std::abs(got - want) < 5e-7 + 1e-7 * std::log(exact_sum));
  }
  // One likely token before a large vocabulary of unlikely ones, each below the last bit of the sum.
  Floats peaked(200'000, -17.0F);
  peaked[0] = 0;
  const double tail = 199'999 * std::exp(-17.0);
  CHECK(std::abs(ScalarKernels().log_sum_exp(peaked.data(), std::ssize(peaked)) - std::log1p(tail)) < 5e-7);
  Floats masked = {-kInf, 2.0F, -kInf, 2.0F};
  ScalarKernels().softmax(masked.data(), 4);
  CHECK(masked == Floats{0.0F, 0.5F, 0.0F, 0.5F});
}

TEST_CASE("swiglu, add, axpy and rope are their formulas") {
  std::mt19937 random(15);
  const std::int64_t n = 90;
  const Floats a = Random(random, n, 5.0F);
  const Floats b = Random(random, n, 5.0F);
  const KernelTable& kernels = ScalarKernels();
  Floats y(a.size());
  kernels.swiglu(a.data(), b.data(), 16, n, y.data());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const auto v = static_cast<double>(a[i]);
    const double want = v / (1 + std::exp(-v)) * static_cast<double>(b[i]);
    CHECK(std::abs(static_cast<double>(y[i]) - want) <= 4e-7 * std::abs(want));
  }
  y = b;
  kernels.add(a.data(), n, y.data());
  for (std::size_t i = 0; i < y.size(); ++i) CHECK(y[i] == a[i] + b[i]);
  y = b;
  kernels.axpy(-1.7F, a.data(), n, y.data());
  for (std::size_t i = 0; i < y.size(); ++i) CHECK(y[i] == std::fmaf(-1.7F, a[i], b[i]));

  for (const bool neox : {false, true}) {
    for (const std::size_t rot : {std::size_t{2}, std::size_t{20}, std::size_t{64}, std::size_t{90}}) {
      CAPTURE(neox, rot);
      Floats cos(rot / 2);
      Floats sin(rot / 2);
      for (std::size_t i = 0; i < rot / 2; ++i) {
        const auto angle = static_cast<float>(i) * 0.7F + 0.1F;
        cos[i] = std::cos(angle);
        sin[i] = std::sin(angle);
      }
      Floats head = a;
      kernels.rope(head.data(), cos.data(), sin.data(), static_cast<std::int64_t>(rot), neox);
      for (std::size_t i = 0; i < rot / 2; ++i) {
        const std::size_t first = neox ? i : 2 * i;
        const std::size_t second = neox ? i + rot / 2 : 2 * i + 1;
        const double x0 = static_cast<double>(a[first]);
        const double x1 = static_cast<double>(a[second]);
        const double c = static_cast<double>(cos[i]);
        const double s = static_cast<double>(sin[i]);
        CHECK(std::abs(static_cast<double>(head[first]) - (x0 * c - x1 * s)) < 1e-5);
        CHECK(std::abs(static_cast<double>(head[second]) - (x1 * c + x0 * s)) < 1e-5);
      }
      for (std::size_t i = rot; i < head.size(); ++i) CHECK(head[i] == a[i]);
    }
  }
}

TEST_CASE("hadamard is Sylvester's matrix, keeps dot products and spreads one large dimension") {
  std::mt19937 random(16);
  const KernelTable& kernels = ScalarKernels();
  for (const std::int64_t n : {1, 6, 8, 20, 80, 96, 128}) {
    CAPTURE(n);
    const std::int64_t width = HadamardWidth(n);
    const Floats x = Random(random, n, 3.0F);
    Floats y = x;
    kernels.hadamard(y.data(), n, 1.0F);
    for (std::int64_t i = 0; i < n; ++i) {
      double want = 0;
      for (std::int64_t j = 0; j < width; ++j) {
        const bool minus = std::popcount(static_cast<std::uint64_t>(i % width & j)) % 2 == 1;
        const auto value = static_cast<double>(x[static_cast<std::size_t>(i / width * width + j)]);
        want += minus ? -value : value;
      }
      CHECK(std::abs(static_cast<double>(y[static_cast<std::size_t>(i)]) - want) < 1e-4);
    }
    const Floats key = Random(random, n, 3.0F);
    Floats mixed = key;
    kernels.hadamard(mixed.data(), n, 1.0F / static_cast<float>(width));
    const auto dot = [](const Floats& a, const Floats& b) {
      return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
    };
    CHECK(std::abs(dot(x, key) - dot(y, mixed)) < 1e-3);
  }
  Floats one(64, 0.0F);
  one[37] = 8.0F;
  kernels.hadamard(one.data(), 64, 0.125F);
  for (const float v : one) CHECK(std::abs(v) == 1.0F);
}

}  // namespace
}  // namespace quorum::engine
