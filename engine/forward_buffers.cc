#include "engine/forward_buffers.h"

#include <cstring>

namespace quorum::engine {
namespace {

std::int64_t CeilDiv(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Panels [begin, end) of a product for rows [row, row + m). A padded last panel goes through scratch, because its
/// padding would fall into the next row.
void ComputePart(const KernelTable& kernels, const Product& product, std::int64_t row, std::int64_t m,
                 std::int64_t begin, std::int64_t end, float* scratch) {
  const PackedView& w = *product.w;
  ActView act = product.act;
  if (act.x != nullptr) act.x += row * act.ld_x;
  if (act.q != nullptr) {
    act.q += row * act.ld_q;
    act.scale += row * act.ld_b;
    act.sum += row * act.ld_s;
  }
  float* dst = product.dst + row * product.ld;
  const std::int64_t whole = std::min(end, w.n / kPanelRows);
  if (begin < whole) kernels.matmul(w, act, nullptr, m, begin, whole, dst + begin * kPanelRows, product.ld);
  if (whole == end) return;
  kernels.matmul(w, act, nullptr, m, whole, end, scratch, kPanelRows);
  const std::int64_t rest = w.n - whole * kPanelRows;
  for (std::int64_t i = 0; i < m; ++i) {
    std::memcpy(dst + i * product.ld + whole * kPanelRows, scratch + i * kPanelRows,
                static_cast<std::size_t>(rest) * sizeof(float));
  }
}

}  // namespace

ActBuffer::ActBuffer(Bump& memory, std::int64_t rows, std::int64_t cols, const ActForms& forms)
    : cols_(cols), ld_q_(CeilDiv(cols, 64) * 64), ld_s_(CeilDiv(cols, 16)) {
  if (forms.floats) x_ = memory.Take<float>(rows * cols);
  if (forms.block32) block32_ = TakeForm(memory, rows, 32);
  if (forms.block256) block256_ = TakeForm(memory, rows, 256);
}

ActBuffer::Quantized ActBuffer::TakeForm(Bump& memory, std::int64_t rows, std::int64_t block) const {
  Quantized form;
  form.block = block;
  form.ld_b = CeilDiv(cols_, block);
  form.q = memory.Take<std::int8_t>(rows * ld_q_);
  form.scale = memory.Take<float>(rows * form.ld_b);
  form.sum = memory.Take<std::int32_t>(rows * ld_s_);
  return form;
}

void ActBuffer::QuantizeForm(const KernelTable& kernels, const Quantized& form, std::int64_t row, std::int64_t col,
                             const float* x, std::int64_t k) const {
  kernels.quantize_row(x, k, form.block, form.q + row * ld_q_ + col, form.scale + row * form.ld_b + col / form.block,
                       form.sum + row * ld_s_ + col / 16);
}

void ActBuffer::Quantize(const KernelTable& kernels, const ActForms& forms, std::int64_t row, std::int64_t col,
                         const float* x, std::int64_t k) {
  if (forms.block32) QuantizeForm(kernels, block32_, row, col, x, k);
  if (forms.block256) QuantizeForm(kernels, block256_, row, col, x, k);
}

ActView ActBuffer::View(PackFormat format, std::int64_t row) const {
  ActView view{};
  const std::int64_t block = ActBlock(format);
  if (block == 0) {
    view.x = x_ + row * cols_;
    view.ld_x = cols_;
    return view;
  }
  const Quantized& form = block == 32 ? block32_ : block256_;
  view.q = form.q + row * ld_q_;
  view.ld_q = ld_q_;
  view.scale = form.scale + row * form.ld_b;
  view.ld_b = form.ld_b;
  view.sum = form.sum + row * ld_s_;
  view.ld_s = ld_s_;
  return view;
}

void Team::Run(const Product* products, std::int64_t count, std::int64_t rows) const {
  std::int64_t panels = 0;
  for (std::int64_t i = 0; i < count; ++i) panels += CeilDiv(products[i].w->n, kPanelRows);
  const std::int64_t step = PanelsPerTask(panels);
  const std::int64_t row_blocks = CeilDiv(rows, kRowBlock);
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
    ComputePart(kernels, *product, row, std::min(kRowBlock, rows - row), begin, std::min(begin + step, own),
                Scratch(worker));
  });
}

}  // namespace quorum::engine
