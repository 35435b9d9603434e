// The memory that a step works in, allocated once, and the sharing out of its work.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/activation_tap.h"
#include "engine/base/aligned_buffer.h"
#include "engine/base/check.h"
#include "engine/base/result.h"
#include "engine/kernels/kernel_table.h"
#include "engine/kernels/packed_matrix.h"
#include "engine/thread_pool.h"
#include "engine/weights.h"

namespace quorum::engine {

/// Hands out pieces of one block of memory. Without memory it only counts, so that the same code first measures.
class Bump {
 public:
  Bump() = default;
  explicit Bump(std::byte* memory) : memory_(memory) {}

  /// Room for `n` values, 64-byte aligned, zeroed.
  template <typename T>
  T* Take(std::int64_t n) {
    QUORUM_CHECK(n >= 0 && n < (std::int64_t{1} << 48));
    const std::int64_t offset = size_;
    size_ += (n * static_cast<std::int64_t>(sizeof(T)) + 63) / 64 * 64;
    return memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + offset);
  }
  std::int64_t size() const { return size_; }

 private:
  std::byte* memory_ = nullptr;
  std::int64_t size_ = 0;
};

/// How finely activations are quantized for integer weights. kInt8: one plane q * scale (DESIGN 4.1). kInt16: what that
/// leaves over is quantized the same way into a second plane, and the two products are added: about 15 bits, so that
/// answers follow a float32 run's, for twice the arithmetic on the same weights.
enum class ActPrecision : std::uint8_t { kInt8, kInt16 };

/// The largest step, and how finely it is computed.
struct StepOptions {
  std::int64_t rows = 0;    // tokens
  std::int64_t source = 0;  // tokens of sources, where there is an encoder
  std::int64_t logits = 0;  // rows of logits
  ActPrecision activations = ActPrecision::kInt16;
};

/// What a matrix reads: the plane of quantized activations or the floats, and the second plane (q null if none).
struct ActPlanes {
  ActView first, second;
};

/// `forms` and floats.
ActForms WithFloats(ActForms forms);

constexpr std::int64_t CeilDiv(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Bytes between rows of `cols` int8 activations: an odd multiple of 128. Kernels read several rows side by side, and
/// at distances of 2 or 4 KiB those meet in the same few sets of the first cache (measured on Zen 4: 106 and 81 GMAC/s
/// of a tile in place of 124).
constexpr std::int64_t ActStride(std::int64_t cols) { return (CeilDiv(cols, 128) | 1) * 128; }

/// Rows of activations in the forms that packed matrices read. Rows may be written by several threads, each its own.
class ActBuffer {
 public:
  ActBuffer() = default;
  /// Room for `rows` rows of up to `cols` columns; floats and the two quantized forms only where `forms` says so.
  ActBuffer(Bump& memory, std::int64_t rows, std::int64_t cols, const ActForms& forms, ActPrecision precision);

  /// Row of floats; consecutive rows lie `cols` apart.
  float* Floats(std::int64_t row) { return x_ + row * cols_; }
  /// `count` of them from row 0 on, for a tap: every `step`th row from `first` on.
  TapRows Shown(std::int64_t cols, std::int64_t count, std::int64_t first = 0, std::int64_t step = 1) const {
    return {.x = x_ + first * cols_, .cols = cols, .ld = step * cols_, .count = count};
  }

  /// Quantizes `k` columns of row `row` from column `col` on, in the quantized forms of `forms`.
  /// REQUIRES: col is a multiple of the largest block in use; part ends at a block's end or the row's.
  void Quantize(const KernelTable& kernels, const ActForms& forms, std::int64_t row, std::int64_t col, const float* x,
                std::int64_t k);

  /// What a matrix of `format` reads, starting with row `row`.
  ActPlanes View(PackFormat format, std::int64_t row = 0) const;

 private:
  struct Plane {
    std::int8_t* q = nullptr;
    float* scale = nullptr;
    std::int32_t* sum = nullptr;
  };
  struct Form {
    Plane first, second;  // second.q is null with kInt8
    std::int64_t block = 0;
    std::int64_t ld_b = 0;
  };
  Plane TakePlane(Bump& memory, std::int64_t rows, std::int64_t ld_b) const;
  Form TakeForm(Bump& memory, std::int64_t rows, std::int64_t block, ActPrecision precision) const;
  Plane At(const Form& form, const Plane& plane, std::int64_t row, std::int64_t col) const;
  void QuantizeForm(const KernelTable& kernels, const Form& form, std::int64_t row, std::int64_t col, const float* x,
                    std::int64_t k) const;
  ActView ViewOf(const Form& form, const Plane& plane, std::int64_t row) const;

  std::int64_t cols_ = 0;
  std::int64_t ld_q_ = 0;
  std::int64_t ld_s_ = 0;
  float* x_ = nullptr;
  Form block32_, block256_;
};

/// One matrix product of a step: dst[i] = W act[i] for all rows.
struct Product {
  const PackedView* w;
  ActPlanes act;
  float* dst;       // (rows, w->n)
  std::int64_t ld;  // row stride of dst in floats, at least w->n
};

/// Rows that one matmul call handles: what a worker's scratch has room for.
inline constexpr std::int64_t kRowBlock = 128;

/// Rows from which on kernels unpack panels, the last of them.
inline constexpr std::int64_t kUnpackedRows = 9;

/// Floats of scratch that Matmul takes from the end of a worker's scratch.
inline constexpr std::int64_t kPlaneScratch = kRowBlock * 2 * kPanelRows;

/// KernelTable::matmul of up to kRowBlock rows over both planes of `act`. `scratch` has room for kPlaneScratch floats.
void Matmul(const KernelTable& kernels, const PackedView& w, const ActPlanes& act, const std::int32_t* rows,
            std::int64_t m, std::int64_t begin, std::int64_t end, float* dst, std::int64_t ld, float* scratch,
            const std::uint8_t* next);

/// Where a panel lies: what KernelTable::matmul is told as `next`.
inline const std::uint8_t* PanelAt(const PackedView& w, std::int64_t panel) { return w.panels + panel * w.panel_bytes; }

/// What all parts of a step share.
struct Team {
  const KernelTable& kernels;
  ThreadPool& pool;
  float* scratch = nullptr;  // (pool.size(), scratch_floats)
  std::int64_t scratch_floats = 0;
  ActivationTap* tap = nullptr;  // null: nobody looks

  float* Scratch(int worker) const { return scratch + worker * scratch_floats; }
  float* PlaneScratch(int worker) const { return Scratch(worker + 1) - kPlaneScratch; }

  /// body(row) for each of `rows` rows, a few rows a task; few rows stay on the calling thread.
  template <typename Body>
  void ForRows(std::int64_t rows, Body&& body) const {
    constexpr std::int64_t kRowsPerTask = 4;
    const std::int64_t tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
    const auto run = [&](std::int64_t task, int) {
      for (std::int64_t row = task * kRowsPerTask; row < std::min(rows, (task + 1) * kRowsPerTask); ++row) body(row);
    };
    pool.ParallelFor(tasks, run);  // a single task stays here, but under the pool's floating-point mode
  }

  /// Panels of one task when `panels` of them are shared out: several tasks a thread, so that a slow one does less;
  /// with many rows whole fours, or at least a pair, as kernels unpack them.
  std::int64_t PanelsPerTask(std::int64_t panels, std::int64_t rows) const {
    const auto step = std::clamp<std::int64_t>(panels / (4 * static_cast<std::int64_t>(pool.size())), 1, 16);
    if (rows < kUnpackedRows) return step;
    return step >= 4 ? step / 4 * 4 : 2;
  }

  /// Computes `count` products of `rows` rows each, sharing out panels and blocks of rows.
  void Run(const Product* products, std::int64_t count, std::int64_t rows) const;
};

}  // namespace quorum::engine
