// Speed of the matrix products on one thread, not a test: GB/s of packed weights and billions of operations (two a
// multiplication) a second, by format, rows and shape.
//   kernel_bench [--isa scalar|avx2|avxvnni|avx512|amx] [--type Q4_1] [--shape 2048x2048] [--m 1,8] [--stream MIB]
//   [--seconds 0.1] [--largest-scale 17] [--exact 1]
// Without --stream the same matrix is multiplied again and again, so it lies in some cache; with it, as many copies as
// fill that much memory take turns. --largest-scale cuts the integer scales of Q4_K and Q5_K: up to 17 and 8 they can
// be multiplied into the codes beforehand. --exact 1: what is int8-exact alone.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/kernels/dispatch.h"
#include "engine/kernels/kernel_table.h"
#include "engine/kernels/pack_layout.h"
#include "engine/kernels/packed_matrix.h"
#include "tests/bench/bench_tools.h"
#include "tests/engine/random_weights.h"

namespace quorum::engine {
namespace {

struct Options : BenchOptions {
  std::vector<test::WeightKind> kinds = test::PackableKinds();
  std::vector<std::pair<std::int64_t, std::int64_t>> shapes = {{1536, 576}, {2048, 2048}, {768, 2048}};
  std::vector<std::int64_t> rows = {1, 2, 4, 8, 32, 128, 512};
  std::int64_t largest_scale = 255;
};

/// Cuts the integer scales of a packed matrix of kBytes scales.
void CutScales(std::int64_t largest, const PackedView& view, std::uint8_t* packed) {
  const PackTraits traits = TraitsOf(view.format);
  if (traits.scales != Scales::kBytes) return;
  const std::int64_t panels = (view.n + kPanelRows - 1) / kPanelRows;
  const std::int64_t block = BlockBytes(traits, kBlockGroups);
  for (std::int64_t b = 0; b < panels * view.panel_bytes / block; ++b) {
    std::uint8_t* scales = packed + b * block + kBlockGroups * GroupBytes(traits.payload);
    for (std::int64_t i = 0; i < BehindScales(traits); ++i) {
      const int s = scales[i] & kSmallScale;
      scales[i] = static_cast<std::uint8_t>((scales[i] - s) | static_cast<int>(s % (largest + 1)));
    }
  }
}

bool Parse(int argc, char** argv, Options* options) {
  return ParseFlags(argc, argv, options, [options](const std::string& flag, const std::string& value) {
    if (flag == "--type") {
      const std::vector<std::string> names = Split(value, ',');
      std::erase_if(options->kinds, [&](const test::WeightKind& kind) {
        return std::find(names.begin(), names.end(), quant::Info(kind.type).name) == names.end();
      });
    } else if (flag == "--exact") {
      std::erase_if(options->kinds, [&](const test::WeightKind& kind) { return kind.exact != (value != "0"); });
    } else if (flag == "--shape") {
      options->shapes.clear();
      for (const std::string& shape : Split(value, ',')) {
        const std::vector<std::string> sides = Split(shape, 'x');
        if (sides.size() != 2) return false;
        options->shapes.emplace_back(std::stoll(sides[0]), std::stoll(sides[1]));
      }
    } else if (flag == "--largest-scale") {
      options->largest_scale = std::stoll(value);
    } else if (flag == "--m") {
      options->rows = Numbers(value);
    } else {
      return false;
    }
    return true;
  });
}

/// Seconds of one product: the best of some repetitions.
double TimeProduct(const Options& options, const test::TestMatrix& matrix, std::int64_t m, test::Random& random) {
  const PackedView view = matrix.view();
  const std::int64_t bytes = PackedBytes(view.format, view.n, view.k);
  const std::int64_t copies = std::max<std::int64_t>(1, options.stream_mib * (1 << 20) / bytes);
  std::vector<test::AlignedBytes> copy;
  for (std::int64_t i = 1; i < copies; ++i) {
    copy.emplace_back(bytes);
    std::memcpy(copy.back().data(), matrix.packed.data(), static_cast<std::size_t>(bytes));
  }

  const std::int64_t k = view.k;
  std::int64_t block = ActBlock(view.format);
  if (block == 0) block = k;
  const std::int64_t blocks = (k + block - 1) / block;
  std::vector<float> x(static_cast<std::size_t>(m * k));
  for (float& value : x) value = test::Uniform(random, -1, 1);
  std::vector<std::int8_t> q(x.size());
  std::vector<float> scale(static_cast<std::size_t>(m * blocks));
  std::vector<std::int32_t> sum(static_cast<std::size_t>(m * (k / 16)));
  for (std::int64_t i = 0; i < m; ++i) {
    options.table->quantize_row(x.data() + i * k, k, block, q.data() + i * k, scale.data() + i * blocks,
                                sum.data() + i * (k / 16));
  }
  const ActView act = {x.data(), k, q.data(), k, scale.data(), sum.data(), blocks, k / 16};
  const std::int64_t panels = (view.n + kPanelRows - 1) / kPanelRows;
  const std::int64_t ld = panels * kPanelRows;
  std::vector<float> dst(static_cast<std::size_t>(m * ld));

  double best = 1e9;
  const double begin = ThreadSeconds();
  for (int runs = 0; runs < 3 || ThreadSeconds() - begin < options.seconds; ++runs) {
    const double start = ThreadSeconds();
    for (std::int64_t i = 0; i < copies; ++i) {
      PackedView w = view;
      if (i > 0) w.panels = copy[static_cast<std::size_t>(i - 1)].data();
      const std::uint8_t* next = i + 1 < copies ? copy[static_cast<std::size_t>(i)].data() : view.panels;
      options.table->matmul(w, act, nullptr, m, 0, panels, dst.data(), ld, next);
    }
    best = std::min(best, (ThreadSeconds() - start) / static_cast<double>(copies));
  }
  return best;
}

int Main(int argc, char** argv) {
  Options options;
  if (!Parse(argc, argv, &options)) {
    std::fputs("see the head of tests/bench/kernel_bench.cc for the flags\n", stderr);
    return 2;
  }
  test::Random random(1);
  for (const auto& [n, k] : options.shapes) {
    std::printf("%s, %lld x %lld: GB/s | GOPS at m =", options.table->name, static_cast<long long>(n),
                static_cast<long long>(k));
    for (const std::int64_t m : options.rows) std::printf(" %lld", static_cast<long long>(m));
    std::printf("\n");
    for (const test::WeightKind& kind : options.kinds) {
      if (k % quant::Info(kind.type).block != 0) continue;
      test::TestMatrix matrix = test::RandomMatrix(kind, n, k, 0.1F, random);
      CutScales(options.largest_scale, matrix.view(), matrix.packed.data());
      std::printf("%-7s", kind.name().c_str());
      const auto bytes = static_cast<double>(PackedBytes(matrix.format, n, k));
      for (const std::int64_t m : options.rows) {
        const double seconds = TimeProduct(options, matrix, m, random);
        std::printf(" | %5.1f %6.1f", bytes / seconds * 1e-9, 2e-9 * static_cast<double>(n * k * m) / seconds);
        std::fflush(stdout);
      }
      std::printf("\n");
    }
  }
  return 0;
}

}  // namespace
}  // namespace quorum::engine

int main(int argc, char** argv) { return quorum::engine::Main(argc, argv); }
