#include "engine/forward_buffers.h"

#include <cstring>

namespace quorum::engine {
namespace {

ActView FromRow(ActView act, std::int64_t row) {
  if (act.x != nullptr) act.x += row * act.ld_x;
  if (act.q != nullptr) {
    act.q += row * act.ld_q;
    act.scale += row * act.ld_b;
    act.sum += row * act.ld_s;
  }
  return act;
}

/// Panels [begin, end) of a product for rows [row, row + m), by way of scratch: partial sums are read and written once
/// a block of columns, which takes long where dst's rows lie far apart, or in another core's cache.
void ComputePart(const KernelTable& kernels, const Product& product, std::int64_t row, std::int64_t m,
                 std::int64_t begin, std::int64_t end, float* scratch, float* plane_scratch, const std::uint8_t* next) {
  const PackedView& w = *product.w;
  const ActPlanes act = {FromRow(product.act.first, row), FromRow(product.act.second, row)};
  const std::int64_t ld = (end - begin) * kPanelRows;
  Matmul(kernels, w, act, nullptr, m, begin, end, scratch, ld, plane_scratch, next);
  const std::int64_t cols = std::min(ld, w.n - begin * kPanelRows);
  float* dst = product.dst + row * product.ld + begin * kPanelRows;
  for (std::int64_t i = 0; i < m; ++i) {
    std::memcpy(dst + i * product.ld, scratch + i * ld, static_cast<std::size_t>(cols) * sizeof(float));
  }
}

}  // namespace

ActForms WithFloats(ActForms forms) {
  forms.floats = true;
  return forms;
}

ActBuffer::ActBuffer(Bump& memory, std::int64_t rows, std::int64_t cols, const ActForms& forms, ActPrecision precision)
    : cols_(cols), ld_q_(ActStride(cols)), ld_s_(CeilDiv(cols, 16)) {
  if (forms.floats) x_ = memory.Take<float>(rows * cols);
  if (forms.block32) block32_ = TakeForm(memory, rows, 32, precision);
  if (forms.block256) block256_ = TakeForm(memory, rows, 256, precision);
}

ActBuffer::Plane ActBuffer::TakePlane(Bump& memory, std::int64_t rows, std::int64_t ld_b) const {
  return {memory.Take<std::int8_t>(rows * ld_q_), memory.Take<float>(rows * ld_b),
          memory.Take<std::int32_t>(rows * ld_s_)};
}

ActBuffer::Form ActBuffer::TakeForm(Bump& memory, std::int64_t rows, std::int64_t block, ActPrecision precision) const {
  Form form;
  form.block = block;
  form.ld_b = CeilDiv(cols_, block);
  form.first = TakePlane(memory, rows, form.ld_b);
  if (precision == ActPrecision::kInt16) form.second = TakePlane(memory, rows, form.ld_b);
  return form;
}

ActBuffer::Plane ActBuffer::At(const Form& form, const Plane& plane, std::int64_t row, std::int64_t col) const {
  return {plane.q + row * ld_q_ + col, plane.scale + row * form.ld_b + col / form.block,
          plane.sum + row * ld_s_ + col / 16};
}

void ActBuffer::QuantizeForm(const KernelTable& kernels, const Form& form, std::int64_t row, std::int64_t col,
                             const float* x, std::int64_t k) const {
  const Plane first = At(form, form.first, row, col);
  kernels.quantize_row(x, k, form.block, first.q, first.scale, first.sum);
  if (form.second.q == nullptr) return;
  constexpr std::int64_t kPart = 256;  // whole blocks of either size
  float rest[kPart];
  for (std::int64_t i = 0; i < k; i += kPart) {
    const std::int64_t n = std::min(kPart, k - i);
    for (std::int64_t begin = 0; begin < n; begin += form.block) {
      const float scale = first.scale[(i + begin) / form.block];
      const std::int64_t end = std::min(begin + form.block, n);
      for (std::int64_t j = begin; j < end; ++j) rest[j] = x[i + j] - static_cast<float>(first.q[i + j]) * scale;
    }
    const Plane second = At(form, form.second, row, col + i);
    kernels.quantize_row(rest, n, form.block, second.q, second.scale, second.sum);
  }
}

void ActBuffer::Quantize(const KernelTable& kernels, const ActForms& forms, std::int64_t row, std::int64_t col,
                         const float* x, std::int64_t k) {
  if (forms.block32) QuantizeForm(kernels, block32_, row, col, x, k);
  if (forms.block256) QuantizeForm(kernels, block256_, row, col, x, k);
}

ActView ActBuffer::ViewOf(const Form& form, const Plane& plane, std::int64_t row) const {
  ActView view{};
  if (plane.q == nullptr) return view;
  const Plane at = At(form, plane, row, 0);
  view.q = at.q;
  view.ld_q = ld_q_;
  view.scale = at.scale;
  view.ld_b = form.ld_b;
  view.sum = at.sum;
  view.ld_s = ld_s_;
  return view;
}

ActPlanes ActBuffer::View(PackFormat format, std::int64_t row) const {
  const std::int64_t block = ActBlock(format);
  if (block == 0) {
    ActPlanes planes{};
    planes.first.x = x_ + row * cols_;
    planes.first.ld_x = cols_;
    return planes;
  }
  const Form& form = block == 32 ? block32_ : block256_;
  return {ViewOf(form, form.first, row), ViewOf(form, form.second, row)};
}

void Matmul(const KernelTable& kernels, const PackedView& w, const ActPlanes& act, const std::int32_t* rows,
            std::int64_t m, std::int64_t begin, std::int64_t end, float* dst, std::int64_t ld, float* scratch,
            const std::uint8_t* next) {
  if (act.second.q == nullptr) {
    kernels.matmul(w, act.first, rows, m, begin, end, dst, ld, next);
    return;
  }
  // Two panels at a time: the second plane finds them in the nearest cache.
  for (std::int64_t panel = begin; panel < end; panel += 2) {
    const std::int64_t stop = std::min(panel + 2, end);
    const std::int64_t cols = (stop - panel) * kPanelRows;
    float* part = dst + (panel - begin) * kPanelRows;
    kernels.matmul(w, act.first, rows, m, panel, stop, part, ld, stop == end ? next : PanelAt(w, stop));
    kernels.matmul(w, act.second, rows, m, panel, stop, scratch, cols, nullptr);
    for (std::int64_t i = 0; i < m; ++i) kernels.add(scratch + i * cols, cols, part + i * ld);
  }
}

void Team::Run(const Product* products, std::int64_t count, std::int64_t rows) const {
  std::int64_t panels = 0;
  for (std::int64_t i = 0; i < count; ++i) panels += CeilDiv(products[i].w->n, kPanelRows);
  const std::int64_t row_blocks = CeilDiv(rows, kRowBlock);
  const std::int64_t step = PanelsPerTask(panels * row_blocks, rows);
  std::int64_t tasks = 0;
  for (std::int64_t i = 0; i < count; ++i) tasks += CeilDiv(CeilDiv(products[i].w->n, kPanelRows), step) * row_blocks;
  pool.ParallelFor(tasks, [&](std::int64_t task, int worker) {
    const Product* product = products;
    std::int64_t own = CeilDiv(product->w->n, kPanelRows);
    while (task >= CeilDiv(own, step) * row_blocks) {
      task -= CeilDiv(own, step) * row_blocks;
      ++product;
      own = CeilDiv(product->w->n, kPanelRows);
    }
    // Blocks of rows vary fastest, so that a thread meets the same panels again while they are in its cache.
    const std::int64_t row = task % row_blocks * kRowBlock;
    const std::int64_t begin = task / row_blocks * step;
    // Tasks go round the workers, about.
    const std::int64_t then = begin + step * (row_blocks > 1 ? 1 : pool.size());
    const std::uint8_t* next = then < own ? PanelAt(*product->w, then) : nullptr;
    ComputePart(kernels, *product, row, std::min(kRowBlock, rows - row), begin, std::min(begin + step, own),
                Scratch(worker), PlaneScratch(worker), next);
  });
}

}  // namespace quorum::engine
