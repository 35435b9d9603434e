// The second half of FeedForward: down projections, and the weighted sums of experts.
#include <algorithm>

#include "engine/moe.h"

namespace quorum::engine {
namespace {

/// Zeros in columns [col, col + cols) of `rows` rows.
void Clear(std::int64_t rows, std::int64_t d_model, std::int64_t col, std::int64_t cols, float* out) {
  for (std::int64_t row = 0; row < rows; ++row) std::fill_n(out + row * d_model + col, cols, 0.0F);
}

}  // namespace

/// A task's columns of `out` belong to it alone, and it adds the pass's experts in ascending order. Where experts are
/// shared out over memory nodes each group of workers leaves its experts' rows in `parts_`, which are then added
/// by the same operations in the same order.
void FeedForward::RunDown(const Team& team, std::int64_t fresh, float* out) {
  const std::int64_t panels = CeilDiv(d_model_, kPanelRows);
  down_tasks_.clear();
  const Group* const last = pass_.data() + pass_.size();
  for (const Group* first = pass_.data(); first != last;) {
    const Group* end = parts_ == nullptr
                           ? last
                           : std::find_if(first, last, [&](const Group& group) { return group.node != first->node; });
    for (std::int64_t begin = 0; begin < panels; begin += down_step_) {
      down_tasks_.push_back({{first, end}, begin, std::min(panels, begin + down_step_)});
    }
    std::fill(node_ends_.begin() + first->node, node_ends_.end(), std::ssize(down_tasks_));
    first = end;
  }
  team.pool.ParallelForGroups(node_ends_, [&](std::int64_t task, int worker) {
    Down(team, down_tasks_[static_cast<std::size_t>(task)], fresh, out, worker);
  });
  if (parts_ == nullptr) return;
  team.pool.ParallelFor(CeilDiv(panels, down_step_), [&](std::int64_t task, int) {
    const std::int64_t col = task * down_step_ * kPanelRows;
    const std::int64_t cols = std::min(down_step_ * kPanelRows, d_model_ - col);
    Clear(fresh, d_model_, col, cols, out);
    for (std::int64_t slot = pass_.front().begin; slot < pass_.back().end; ++slot) {
      const float* row = parts_ + (slot - pass_.front().begin) * d_model_ + col;
      team.kernels.axpy(slot_weights_[slot], row, cols, out + std::int64_t{slot_rows_[slot]} * d_model_ + col);
    }
  });
}

void FeedForward::Down(const Team& team, const DownTask& task, std::int64_t fresh, float* out, int worker) {
  float* scratch = team.Scratch(worker);
  const std::int64_t col = task.begin * kPanelRows;
  const std::int64_t width = (task.end - task.begin) * kPanelRows;
  const std::int64_t cols = std::min(width, d_model_ - col);
  const std::int64_t first = pass_.front().begin;
  if (parts_ == nullptr) Clear(fresh, d_model_, col, cols, out);  // here, where the sums will find them in the cache
  for (const Group& group : task.groups) {
    const PackedView& down = group.network->down;
    const std::uint8_t* next =
        &group == &task.groups.back() ? nullptr : PanelAt((&group + 1)->network->down, task.begin);
    for (std::int64_t slot = group.begin; slot < group.end; slot += kRowBlock) {
      const std::int64_t m = std::min(kRowBlock, group.end - slot);
      Matmul(team.kernels, down, hidden_.View(down.format, slot - first), nullptr, m, task.begin, task.end, scratch,
             width, team.PlaneScratch(worker), next);
      for (std::int64_t i = 0; i < m; ++i) {
        float* row = scratch + i * width;
        if (group.network->down_bias != nullptr) team.kernels.add(group.network->down_bias + col, cols, row);
        if (parts_ != nullptr) {
          std::copy_n(row, cols, parts_ + (slot - first + i) * d_model_ + col);
        } else {
          float* dst = out + std::int64_t{slot_rows_[slot + i]} * d_model_ + col;
          team.kernels.axpy(slot_weights_[slot + i], row, cols, dst);
        }
        if (trace_norms_) TraceSquares(slot - first + i, task.begin, task.end, row);
      }
    }
  }
}

/// Squared lengths of a network's output over some panels, whose first column is row[0]. `slot` counts in the pass.
void FeedForward::TraceSquares(std::int64_t slot, std::int64_t begin, std::int64_t end, const float* row) {
  const std::int64_t panels = CeilDiv(d_model_, kPanelRows);
  for (std::int64_t panel = begin; panel < end; ++panel) {
    double sum = 0;
    for (std::int64_t c = panel * kPanelRows; c < std::min(d_model_, (panel + 1) * kPanelRows); ++c) {
      const auto value = static_cast<double>(row[c - begin * kPanelRows]);
      sum += value * value;
    }
    squares_[static_cast<std::size_t>(slot * panels + panel)] = sum;
  }
}

}  // namespace quorum::engine
