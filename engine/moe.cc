#include "engine/moe.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/base/check.h"

namespace quorum::engine {
namespace {

// Hidden columns of a task: whole blocks of the down matrix's activations, so that the task can quantize them.
constexpr std::int64_t kWideColumns = 256;  // blocks of 256
constexpr std::int64_t kColumns = 128;      // blocks of 32, and floats

std::int64_t SlotsPerRow(const ModelSpec& spec) {
  std::int64_t most = 1;
  for (const std::vector<LayerSpec>* stack : {&spec.layers, &spec.encoder}) {
    for (const LayerSpec& layer : *stack) {
      const std::int64_t slots = (layer.experts > 0 ? spec.router.top_k : 1) + (layer.shared_ff > 0 ? 1 : 0);
      most = std::max(most, slots);
    }
  }
  return most;
}

}  // namespace

void GatherExperts(std::span<const StepSlice> slices, std::vector<RowExperts>& rows) {
  rows.clear();
  const bool special = std::any_of(slices.begin(), slices.end(), [](const StepSlice& slice) {
    return slice.experts != nullptr || slice.tally != nullptr || slice.trace != nullptr;
  });
  if (!special) return;
  for (const StepSlice& slice : slices) {
    for (std::int64_t i = 0; i < std::ssize(slice.tokens); ++i) {
      rows.push_back({slice.experts, slice.tally, slice.trace, i});
    }
    if (slice.tally != nullptr) slice.tally->rows += std::ssize(slice.tokens);
  }
}

FeedForward::FeedForward(Bump& memory, const ModelSpec& spec, const WeightForms& forms, std::int64_t max_rows,
                         ActPrecision precision, std::int64_t nodes)
    : router_(spec.router),
      activation_(spec.activation),
      swiglu_alpha_(spec.swiglu_alpha),
      swiglu_limit_(spec.swiglu_limit),
      d_model_(spec.d_model),
      stride_(spec.max_experts()),
      capacity_(max_rows * SlotsPerRow(spec)) {
  const std::int64_t experts = spec.max_experts();
  const std::int64_t slots = max_rows * (std::max<std::int64_t>(experts, 1) + 1);  // all experts and a shared one
  router_logits_ = memory.Take<float>(max_rows * experts);
  expert_count_ = memory.Take<std::int32_t>(max_rows);
  expert_ids_ = memory.Take<std::int32_t>(max_rows * stride_);
  expert_weights_ = memory.Take<float>(max_rows * stride_);
  shared_weights_ = memory.Take<float>(max_rows);
  slot_rows_ = memory.Take<std::int32_t>(slots);
  slot_weights_ = memory.Take<float>(slots);
  hidden_ = ActBuffer(memory, capacity_, spec.max_ff(), forms.hidden, precision);
  if (nodes > 1 && experts > 0) parts_ = memory.Take<float>(capacity_ * d_model_);
  node_ends_.reserve(static_cast<std::size_t>(nodes));
  fill_.reserve(static_cast<std::size_t>(experts) + 1);
  groups_.reserve(static_cast<std::size_t>(experts) + 1);
  const std::int64_t row_blocks = CeilDiv(capacity_, kRowBlock) + experts + 1;
  hidden_tasks_.reserve(static_cast<std::size_t>(row_blocks * CeilDiv(spec.max_ff(), kColumns)));
}

std::int64_t FeedForward::ScratchFloats() {
  // Gate and up of a task side by side, then one row of hidden units.
  return kRowBlock * 2 * kWideColumns + kWideColumns;
}

void FeedForward::Run(const Team& team, std::int32_t layer, const LayerSpec& spec, const LayerWeights& weights,
                      ActBuffer& in, std::int64_t rows, float* out, std::span<const RowExperts> requests,
                      ExpertCounters* counters) {
  StartTrace(layer, rows, in, requests);
  Route(team, layer, spec, weights, in, rows, requests);
  if (team.tap != nullptr && spec.experts > 0) team.tap->Choices(layer, expert_ids_, expert_count_, stride_, rows);
  GroupByExpert(layer, spec, weights, rows, std::ssize(team.pool.group_nodes()), requests, counters);
  // Passes go by ascending expert, and so does the sum of a row in each: their number changes no bit.
  pass_ = {};
  if (trace_norms_) squares_.resize(static_cast<std::size_t>(capacity_ * CeilDiv(d_model_, kPanelRows)));
  std::int64_t fresh = rows;
  for (NextPass(); !pass_.empty(); NextPass()) {
    SplitHidden(team);
    team.pool.ParallelForGroups(node_ends_,
                                [&](std::int64_t task, int worker) { Hidden(team, layer, weights, task, in, worker); });
    if (team.tap != nullptr) Show(*team.tap, layer, spec, weights, in);
    RunDown(team, fresh, out);
    fresh = 0;
    if (trace_norms_) TraceNorms(layer, weights);
  }
  std::fill_n(out, fresh * d_model_, 0.0F);  // no row visits anything
}

/// Notes which rows are traced and what their networks read.
void FeedForward::StartTrace(std::int32_t layer, std::int64_t rows, ActBuffer& in,
                             std::span<const RowExperts> requests) {
  traced_ = {};
  trace_norms_ = trace_hidden_ = false;
  for (std::int64_t row = 0; row < rows && !requests.empty(); ++row) {
    const RowExperts& request = requests[static_cast<std::size_t>(row)];
    if (request.trace == nullptr) continue;
    traced_ = requests;
    trace_norms_ |= request.trace->parts().norms;
    trace_hidden_ |= request.trace->parts().hidden;
    if (request.trace->parts().inputs) request.trace->SetInput(layer, request.trace_row, in.Floats(row));
  }
}

const RowExperts* FeedForward::TraceOf(std::int64_t slot) const {
  if (traced_.empty()) return nullptr;
  const RowExperts& request = traced_[static_cast<std::size_t>(slot_rows_[slot])];
  return request.trace == nullptr ? nullptr : &request;
}

/// Adds up the pass's parts in a fixed order.
void FeedForward::TraceNorms(std::int32_t layer, const LayerWeights& weights) {
  const std::int64_t panels = CeilDiv(d_model_, kPanelRows);
  const std::int64_t first = pass_.front().begin;
  for (const Group& group : pass_) {
    for (std::int64_t slot = group.begin; slot < group.end; ++slot) {
      const RowExperts* request = TraceOf(slot);
      if (request == nullptr || !request->trace->parts().norms) continue;
      double sum = 0;
      for (std::int64_t panel = 0; panel < panels; ++panel) {
        sum += squares_[static_cast<std::size_t>((slot - first) * panels + panel)];
      }
      request->trace->SetNorm(layer, request->trace_row,
                              static_cast<std::int32_t>(group.network - weights.networks.data()),
                              static_cast<float>(std::sqrt(sum)));
    }
  }
}

/// What the networks of this pass read.
void FeedForward::Show(ActivationTap& tap, std::int32_t layer, const LayerSpec& spec, const LayerWeights& weights,
                       const ActBuffer& in) const {
  for (const Group& group : pass_) {
    const std::int64_t at = group.network - weights.networks.data();
    const std::int32_t part = spec.experts == 0   ? ActivationTap::kWhole
                              : at < spec.experts ? static_cast<std::int32_t>(at)
                                                  : ActivationTap::kShared;
    const std::int64_t count = group.end - group.begin;
    TapRows read = in.Shown(d_model_, count);
    read.ids = slot_rows_ + group.begin;
    tap.Rows(TapPoint::kFfnInput, layer, part, read);
    if (ActBlock(group.network->down.format) > 0) continue;
    tap.Rows(TapPoint::kFfnHidden, layer, part,
             hidden_.Shown(group.network->ff, count, group.begin - pass_.front().begin));
  }
}

/// The groups after pass_, as many as fit.
void FeedForward::NextPass() {
  const Group* const end = groups_.data() + groups_.size();
  const Group* const first = pass_.empty() ? groups_.data() : pass_.data() + pass_.size();
  const Group* last = first;
  while (last != end && last->end - first->begin <= capacity_) ++last;
  pass_ = {first, last};
  QUORUM_CHECK(first == end || !pass_.empty());
}

void FeedForward::Route(const Team& team, std::int32_t layer, const LayerSpec& spec, const LayerWeights& weights,
                        ActBuffer& in, std::int64_t rows, std::span<const RowExperts> requests) {
  Product products[2];
  std::int64_t count = 0;
  if (spec.experts > 0) {
    products[count++] = {&weights.router, in.View(weights.router.format), router_logits_, spec.experts};
  }
  const bool gated = spec.shared_ff > 0 && weights.shared_gate.n > 0;
  if (gated) products[count++] = {&weights.shared_gate, in.View(weights.shared_gate.format), shared_weights_, 1};
  if (count > 0) team.Run(products, count, rows);
  if (spec.shared_ff > 0 && !gated) std::fill_n(shared_weights_, rows, 1.0F);
  if (count == 0) return;
  team.ForRows(rows, [&](std::int64_t row) {
    if (spec.experts > 0) {
      float* logits = router_logits_ + row * spec.experts;
      if (weights.router_bias != nullptr) team.kernels.add(weights.router_bias, spec.experts, logits);
      RouteLimits limits;
      const RowExperts request = requests.empty() ? RowExperts{} : requests[static_cast<std::size_t>(row)];
      float seen[kMaxExperts];  // the logits, which routing destroys
      if (request.trace != nullptr) std::copy_n(logits, spec.experts, seen);
      if (request.options != nullptr) {
        const ExpertOptions& options = *request.options;
        limits = {options.top_k, options.min_weight, options.MaskOf(layer)};
      }
      expert_count_[row] =
          RouteToken(team.kernels, router_, weights.choice_bias, {logits, static_cast<std::size_t>(spec.experts)},
                     expert_ids_ + row * stride_, expert_weights_ + row * stride_, limits);
      if (request.trace != nullptr) {
        const auto visits = static_cast<std::size_t>(expert_count_[row]);
        request.trace->SetChoice(layer, request.trace_row, {expert_ids_ + row * stride_, visits},
                                 {expert_weights_ + row * stride_, visits},
                                 {seen, static_cast<std::size_t>(spec.experts)}, limits.masked);
      }
    }
    if (gated) shared_weights_[row] = Sigmoid(team.kernels, shared_weights_[row]);
  });
}

void FeedForward::GroupByExpert(std::int32_t layer, const LayerSpec& spec, const LayerWeights& weights,
                                std::int64_t rows, std::int64_t nodes, std::span<const RowExperts> requests,
                                ExpertCounters* counters) {
  groups_.clear();
  const auto add_all = [&](const NetworkWeights& network, const float* weight_of_row) {
    const std::int64_t begin = groups_.empty() ? 0 : groups_.back().end;
    for (std::int64_t row = 0; row < rows; ++row) {
      slot_rows_[begin + row] = static_cast<std::int32_t>(row);
      slot_weights_[begin + row] = weight_of_row == nullptr ? 1.0F : weight_of_row[row];
    }
    groups_.push_back({&network, begin, begin + rows, groups_.empty() ? 0 : groups_.back().node});
  };
  if (spec.experts == 0) {
    add_all(weights.networks.front(), nullptr);
    return;
  }
  fill_.assign(static_cast<std::size_t>(spec.experts) + 1, 0);
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int32_t* ids = expert_ids_ + row * stride_;
    for (std::int32_t i = 0; i < expert_count_[row]; ++i) ++fill_[static_cast<std::size_t>(ids[i]) + 1];
  }
  for (std::int64_t e = 0; e < spec.experts; ++e) {
    const auto at = static_cast<std::size_t>(e);
    if (fill_[at + 1] > 0) {
      groups_.push_back(
          {&weights.networks[at], fill_[at], fill_[at] + fill_[at + 1], NodeOfExpert(e, spec.experts, nodes)});
    }
    fill_[at + 1] += fill_[at];
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    ExpertTally* tally = requests.empty() ? nullptr : requests[static_cast<std::size_t>(row)].tally;
    for (std::int64_t i = row * stride_; i < row * stride_ + expert_count_[row]; ++i) {
      const std::int64_t slot = fill_[static_cast<std::size_t>(expert_ids_[i])]++;
      slot_rows_[slot] = static_cast<std::int32_t>(row);
      slot_weights_[slot] = expert_weights_[i];
      if (tally != nullptr) tally->Count(layer, expert_ids_[i], expert_weights_[i]);
    }
  }
  if (counters != nullptr) {
    for (const Group& group : groups_) {
      double mass = 0;
      for (std::int64_t slot = group.begin; slot < group.end; ++slot) mass += static_cast<double>(slot_weights_[slot]);
      counters->Count(layer, static_cast<std::int32_t>(group.network - weights.networks.data()),
                      static_cast<std::uint64_t>(group.end - group.begin), mass);
    }
  }
  if (spec.shared_ff > 0) add_all(weights.networks.back(), shared_weights_);
}

void FeedForward::SplitHidden(const Team& team) {
  hidden_tasks_.clear();
  node_ends_.assign(team.pool.group_nodes().size(), 0);
  std::int64_t most = 0;
  for (const Group& group : pass_) {
    most = std::max(most, group.end - group.begin);
    const NetworkWeights& network = *group.network;
    const std::int64_t block = ActBlock(network.down.format);
    std::int64_t width = block > 32 ? kWideColumns : kColumns;
    // Few networks on many threads: narrower tasks, where blocks allow it.
    const std::int64_t wanted = 4 * static_cast<std::int64_t>(team.pool.size());
    while (block <= 32 && width > 64 && std::ssize(pass_) * CeilDiv(network.ff, width) < wanted) width /= 2;
    for (std::int64_t col = 0; col < network.ff; col += width) {
      for (std::int64_t slot = group.begin; slot < group.end; slot += kRowBlock) {
        hidden_tasks_.push_back(
            {&network, slot, std::min(kRowBlock, group.end - slot), col, std::min(width, network.ff - col)});
      }
    }
    // Groups ascend by node: what later ones add is behind.
    std::fill(node_ends_.begin() + group.node, node_ends_.end(), std::ssize(hidden_tasks_));
  }
  down_step_ = team.PanelsPerTask(CeilDiv(d_model_, kPanelRows), most);
}

void FeedForward::Activate(const KernelTable& kernels, const float* gate, const float* up, std::int64_t step,
                           std::int64_t n, float* hidden) const {
  switch (activation_) {
    case Activation::kSilu: return kernels.swiglu(gate, up, step, n, hidden);
    case Activation::kGelu: return kernels.geglu(gate, up, step, n, hidden);
    case Activation::kRelu:
      for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t at = i / kPanelRows * step + i % kPanelRows;
        hidden[i] = (gate[at] < 0.0F ? 0.0F : gate[at]) * up[at];  // NaN stays
      }
      return;
    case Activation::kClampedSwiGlu:
      return kernels.clamped_swiglu(gate, up, step, swiglu_alpha_, swiglu_limit_, n, hidden);
  }
}

const std::uint8_t* FeedForward::AfterHidden(const Team& team, std::int64_t index) const {
  const std::int64_t then = index + team.pool.size();  // tasks go round the workers, about
  const std::int64_t behind = then - std::ssize(hidden_tasks_);
  if (behind >= 0) {  // down projections come next
    const std::int64_t last_panel = CeilDiv(d_model_, kPanelRows) - 1;
    return PanelAt(pass_.front().network->down, std::min(behind * down_step_, last_panel));
  }
  const HiddenTask& task = hidden_tasks_[static_cast<std::size_t>(then)];
  const NetworkWeights& network = *task.network;
  const std::int64_t panel = task.col / kPanelRows;
  if (network.interleaved) return PanelAt(network.gate_up, 2 * panel);
  return PanelAt(network.gate.n > 0 ? network.gate : network.up, panel);
}

/// Adds a network's bias (ff), where there is one, to a task's columns: each panel's are `step` floats behind the
/// last's.
void FeedForward::AddBias(const KernelTable& kernels, const float* bias, const HiddenTask& task, std::int64_t step,
                          float* row) {
  if (bias == nullptr) return;
  for (std::int64_t col = 0; col < task.cols; col += kPanelRows, row += step) {
    kernels.add(bias + task.col + col, std::min(kPanelRows, task.cols - col), row);
  }
}

void FeedForward::Hidden(const Team& team, std::int32_t layer, const LayerWeights& weights, std::int64_t index,
                         const ActBuffer& in, int worker) {
  const HiddenTask& task = hidden_tasks_[static_cast<std::size_t>(index)];
  const std::uint8_t* const next = AfterHidden(team, index);
  float* scratch = team.Scratch(worker);
  float* planes = team.PlaneScratch(worker);
  const KernelTable& kernels = team.kernels;
  const NetworkWeights& network = *task.network;
  const std::int32_t* rows = slot_rows_ + task.slot;
  const std::int64_t begin = task.col / kPanelRows;
  const std::int64_t end = CeilDiv(task.col + task.cols, kPanelRows);
  const std::int64_t width = (end - begin) * kPanelRows;
  // scratch: (m, 2 * width); gate and up alternate every 16 columns when interleaved, else up lies behind gate. Without
  // a gate, up takes its place, and ones that of up.
  const bool gated = network.gate.n > 0;
  const std::int64_t ld = 2 * width;
  if (network.interleaved) {
    Matmul(kernels, network.gate_up, in.View(network.gate_up.format), rows, task.m, 2 * begin, 2 * end, scratch, ld,
           planes, next);
  } else {
    if (gated)
      Matmul(kernels, network.gate, in.View(network.gate.format), rows, task.m, begin, end, scratch, ld, planes,
             PanelAt(network.up, begin));
    Matmul(kernels, network.up, in.View(network.up.format), rows, task.m, begin, end, scratch + (gated ? width : 0), ld,
           planes, next);
  }
  ActForms forms;
  forms.Add(network.down.format);
  float* row = scratch + kRowBlock * 2 * kWideColumns;
  const std::int64_t slot = task.slot - pass_.front().begin;
  for (std::int64_t i = 0; i < task.m; ++i) {
    float* gate = scratch + i * ld;
    float* up = gate + (network.interleaved ? kPanelRows : width);
    const std::int64_t step = network.interleaved ? 2 * kPanelRows : kPanelRows;
    AddBias(kernels, gated ? network.gate_bias : network.up_bias, task, step, gate);
    if (gated) {
      AddBias(kernels, network.up_bias, task, step, up);
    } else {
      std::fill_n(up, width, 1.0F);
    }
    Activate(kernels, gate, up, step, width, row);
    if (trace_hidden_) {
      const RowExperts* request = TraceOf(task.slot + i);
      if (request != nullptr && request->trace->parts().hidden) {
        request->trace->SetHidden(layer, request->trace_row,
                                  static_cast<std::int32_t>(task.network - weights.networks.data()), task.col, row,
                                  task.cols);
      }
    }
    if (forms.floats) {
      std::memcpy(hidden_.Floats(slot + i) + task.col, row, static_cast<std::size_t>(task.cols) * sizeof(float));
    } else {
      hidden_.Quantize(kernels, forms, slot + i, task.col, row, task.cols);
    }
  }
}

}  // namespace quorum::engine
