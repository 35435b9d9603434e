#include "cli/bench_gemm.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>

#include <fmt/format.h>

#include "engine/base/aligned_buffer.h"
#include "engine/dnnl_gemm.h"
#include "engine/dnnl_int8.h"
#include "engine/forward_buffers.h"
#include "engine/kernels/packed_matrix.h"

namespace quorum::cli {
namespace {

using engine::PackedView;

constexpr int kRounds = 5;
constexpr double kRoundSeconds = 0.1;
constexpr std::int64_t kMostCopies = 64;  // of the yardstick's weights: they are twice as large as ours

/// Quantized rows of made-up activations.
class Rows {
 public:
  Rows(const engine::KernelTable& kernels, std::int64_t m, std::int64_t k, std::int64_t block)
      : ld_(engine::ActStride(k)),
        q_(Size(m * ld_)),
        scale_(Size(m * Blocks(k, block))),
        sum_(Size(m * Blocks(k, 16))) {
    std::vector<float> x(Size(k));
    for (std::int64_t row = 0; row < m; ++row) {
      for (std::int64_t i = 0; i < k; ++i) x[Size(i)] = std::sin(static_cast<float>(i * 7 + row * 13));
      kernels.quantize_row(x.data(), k, block, q_.data() + row * ld_, scale_.data() + row * Blocks(k, block),
                           sum_.data() + row * Blocks(k, 16));
    }
    view_.q = q_.data();
    view_.ld_q = ld_;
    view_.scale = scale_.data();
    view_.ld_b = Blocks(k, block);
    view_.sum = sum_.data();
    view_.ld_s = Blocks(k, 16);
  }
  const engine::ActView& view() const { return view_; }

 private:
  static std::size_t Size(std::int64_t n) { return static_cast<std::size_t>(n); }
  static std::int64_t Blocks(std::int64_t k, std::int64_t block) { return (k + block - 1) / block; }

  std::int64_t ld_;
  std::vector<std::int8_t> q_;
  std::vector<float> scale_;
  std::vector<std::int32_t> sum_;
  engine::ActView view_{};
};

/// Calls of `product` a second, over kRoundSeconds.
template <typename Product>
Result<double> CallsPerSecond(Product&& product) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  double seconds = 0;
  std::int64_t calls = 0;
  do {
    QUORUM_TRY(product(calls++));
    seconds = std::chrono::duration<double>(Clock::now() - start).count();
  } while (seconds < kRoundSeconds);
  return static_cast<double>(calls) / seconds;
}

/// The networks that take turns: those of the first layer that has most.
std::vector<PackedView> Matrices(const engine::Weights& weights) {
  const engine::LayerWeights* layer = &weights.layers().front();
  for (const engine::LayerWeights& other : weights.layers()) {
    if (other.networks.size() > layer->networks.size()) layer = &other;
  }
  std::vector<PackedView> matrices;
  for (const engine::NetworkWeights& network : layer->networks) {
    const PackedView& view = network.interleaved ? network.gate_up : network.up;
    const bool alike = matrices.empty() || (view.n == matrices[0].n && view.format == matrices[0].format);
    if (alike) matrices.push_back(view);  // not a shared expert of another width
  }
  return matrices;
}

}  // namespace

Result<GemmTable> MeasureGemm(const engine::Model& model, const std::vector<std::int64_t>& rows) {
  const std::vector<PackedView> matrices = Matrices(model.weights());
  const PackedView& first = matrices.front();
  const std::int64_t block = engine::ActBlock(first.format);
  if (block == 0) {
    return InvalidArgument(
        "--gemm compares int8 products, and this model's networks are floats: load it with --weights q4");
  }
  GemmTable table;
  table.bits = static_cast<double>(first.panel_bytes * 8) / static_cast<double>(engine::kPanelRows * first.k);
  table.n = first.n;
  table.k = first.k;
  table.experts = std::ssize(matrices);
  const std::int64_t panels = (first.n + engine::kPanelRows - 1) / engine::kPanelRows;
  const std::int64_t copies = std::min(kMostCopies, table.experts);
  const engine::KernelTable& kernels = model.kernels();
  for (const std::int64_t m : rows) {
    const Rows act(kernels, m, first.k, block);
    QUORUM_ASSIGN(AlignedBuffer out,
                  AlignedBuffer::Allocate(static_cast<std::size_t>(m * panels * engine::kPanelRows) * sizeof(float)));
    QUORUM_ASSIGN(auto yardstick, engine::DnnlInt8Product::Create(m, first.n, first.k, copies));
    table.implementation = engine::OneDnnVersion() + " " + yardstick.implementation();
    const double operations = 2.0 * static_cast<double>(m * first.n * first.k);
    GemmRow row{.rows = m};
    for (int round = 0; round < kRounds; ++round) {
      QUORUM_ASSIGN(const double own, CallsPerSecond([&](std::int64_t call) -> Status {
                      const PackedView& w = matrices[static_cast<std::size_t>(call % table.experts)];
                      kernels.matmul(w, act.view(), nullptr, m, 0, panels, out.As<float>(),
                                     panels * engine::kPanelRows, nullptr);
                      return {};
                    }));
      QUORUM_ASSIGN(const double other,
                    CallsPerSecond([&](std::int64_t call) { return yardstick.Run(call % copies); }));
      row.own = std::max(row.own, own * operations / 1e9);
      row.yardstick = std::max(row.yardstick, other * operations / 1e9);
    }
    table.rows.push_back(row);
  }
  return table;
}

void PrintGemm(const GemmTable& table, double operations_per_second) {
  fmt::print(
      "Products of rows with {} matrices of {} x {} weights of {:.2f} bits, one thread, and of {} with int8 "
      "weights:\n\n"
      "| rows | Quorum GOPS | of the peak | oneDNN int8 GOPS | ratio |\n|---:|---:|---:|---:|---:|\n",
      table.experts, table.n, table.k, table.bits, table.implementation);
  for (const GemmRow& row : table.rows) {
    fmt::print("| {} | {:.1f} | {:.0f} % | {:.1f} | {:.2f} |\n", row.rows, row.own,
               100 * row.own * 1e9 / operations_per_second, row.yardstick, row.own / row.yardstick);
  }
}

nlohmann::ordered_json ToJson(const GemmTable& table, double operations_per_second) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const GemmRow& row : table.rows) {
    rows.push_back({{"rows", row.rows},
                    {"n", table.n},
                    {"k", table.k},
                    {"bits", table.bits},
                    {"matrices", table.experts},
                    {"gops", row.own},
                    {"gops_of_roof", row.own * 1e9 / operations_per_second},
                    {"yardstick", table.implementation},
                    {"yardstick_gops", row.yardstick}});
  }
  return rows;
}

}  // namespace quorum::cli
