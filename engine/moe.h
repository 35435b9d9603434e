// The feed-forward part of a layer: route rows to experts, group them by expert, compute each needed expert once for
// all its rows, combine. A dense network is one expert that every row visits with weight 1, so dense and MoE layers run
// the very same operations: a top-1 MoE of copies equals its dense original bit for bit.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/expert_options.h"
#include "engine/expert_trace.h"
#include "engine/forward_buffers.h"
#include "engine/model_spec.h"
#include "engine/moe_router.h"
#include "engine/step_model.h"
#include "engine/weights.h"

namespace quorum::engine {

/// One row's request, as far as experts go.
struct RowExperts {
  const ExpertOptions* options = nullptr;  // null: the model's own routing
  ExpertTally* tally = nullptr;            // null: not asked for
  ExpertTrace* trace = nullptr;            // null: not asked for
  std::int64_t trace_row = 0;              // the row's place in it
};

/// One entry for each token of the slices, or none where no slice asks for anything. Counts the tokens in their
/// tallies.
void GatherExperts(std::span<const StepSlice> slices, std::vector<RowExperts>& rows);

/// Working memory of the feed-forward layers of one model; one step at a time.
class FeedForward {
 public:
  /// Takes its memory from `memory`, for steps of up to `max_rows` rows on a pool with `nodes` groups of workers.
  FeedForward(Bump& memory, const ModelSpec& spec, const WeightForms& forms, std::int64_t max_rows,
              ActPrecision precision, std::int64_t nodes);

  /// Floats of scratch that a worker needs.
  static std::int64_t ScratchFloats();

  /// out[row] = sum over row's experts, ascending by id, of weight * expert(in[row]); fma from 0.
  /// `in` holds `rows` normed rows of d_model in the forms that the layer asks for, `out` is (rows, d_model).
  /// `requests` is one for each row, or empty where nobody asks for anything.
  void Run(const Team& team, std::int32_t layer, const LayerSpec& spec, const LayerWeights& weights, ActBuffer& in,
           std::int64_t rows, float* out, std::span<const RowExperts> requests, ExpertCounters* counters);

 private:
  /// Rows of one network: slots [begin, end) of the arrays below.
  struct Group {
    const NetworkWeights* network;
    std::int64_t begin, end;
    std::int64_t node;  // group of workers
  };
  /// Hidden columns [col, col + cols) of slots [slot, slot + m).
  struct HiddenTask {
    const NetworkWeights* network;
    std::int64_t slot, m, col, cols;
  };
  /// Panels of the down matrices of some groups of rows.
  struct DownTask {
    std::span<const Group> groups;
    std::int64_t begin, end;
  };

  void Route(const Team& team, std::int32_t layer, const LayerSpec& spec, const LayerWeights& weights, ActBuffer& in,
             std::int64_t rows, std::span<const RowExperts> requests);
  void GroupByExpert(std::int32_t layer, const LayerSpec& spec, const LayerWeights& weights, std::int64_t rows,
                     std::int64_t nodes, std::span<const RowExperts> requests, ExpertCounters* counters);
  void NextPass();
  void StartTrace(std::int32_t layer, std::int64_t rows, ActBuffer& in, std::span<const RowExperts> requests);
  void TraceNorms(std::int32_t layer, const LayerWeights& weights);
  /// Whose trace the row of a slot is in; null: nobody's.
  const RowExperts* TraceOf(std::int64_t slot) const;
  void Show(ActivationTap& tap, std::int32_t layer, const LayerSpec& spec, const LayerWeights& weights,
            const ActBuffer& in) const;
  void SplitHidden(const Team& team);
  void Activate(const KernelTable& kernels, const float* gate, const float* up, std::int64_t step, std::int64_t n,
                float* hidden) const;
  static void AddBias(const KernelTable& kernels, const float* bias, const HiddenTask& task, std::int64_t step,
                      float* row);
  void Hidden(const Team& team, std::int32_t layer, const LayerWeights& weights, std::int64_t index,
              const ActBuffer& in, int worker);
  /// The panels that whoever computes hidden task `index` will need next, probably.
  const std::uint8_t* AfterHidden(const Team& team, std::int64_t index) const;
  /// `fresh`: how many rows of `out` hold nothing yet.
  void RunDown(const Team& team, std::int64_t fresh, float* out);
  /// Each part goes to `out`, times its weight, or unweighted to `parts_` if there are.
  void Down(const Team& team, const DownTask& task, std::int64_t fresh, float* out, int worker);
  void TraceSquares(std::int64_t slot, std::int64_t begin, std::int64_t end, const float* row);

  RouterSpec router_;
  Activation activation_;
  float swiglu_alpha_, swiglu_limit_;
  std::int64_t d_model_ = 0;
  float* router_logits_ = nullptr;        // (max_rows, experts)
  std::int64_t stride_ = 0;               // the most experts that a row may visit
  std::int32_t* expert_count_ = nullptr;  // (max_rows) experts that the row visits
  std::int32_t* expert_ids_ = nullptr;    // (max_rows, stride)
  float* expert_weights_ = nullptr;       // (max_rows, stride)
  float* shared_weights_ = nullptr;       // (max_rows)
  std::int32_t* slot_rows_ = nullptr;     // (slots) the row of each slot; slots ascend by expert, then by row
  float* slot_weights_ = nullptr;         // (slots)
  std::int64_t capacity_ = 0;             // slots of a pass: enough for the model's own routing, or for any one expert
  ActBuffer hidden_;                      // (capacity, max_ff)
  std::vector<std::int64_t> fill_;        // (experts + 1)
  std::vector<Group> groups_;             // of this step, ascending by expert
  std::span<const Group> pass_;           // those that are computed at once: more experts a row than usual take several
  std::vector<HiddenTask> hidden_tasks_;
  std::vector<std::int64_t> node_ends_;  // of tasks, for each group of workers
  std::vector<DownTask> down_tasks_;
  std::int64_t down_step_ = 0;  // panels of a down task
  float* parts_ = nullptr;  // (capacity, d_model) with several groups of workers; else null
  // Of a step that is traced:
  std::span<const RowExperts> traced_;  // of each row; empty: no row is traced
  bool trace_norms_ = false, trace_hidden_ = false;
  std::vector<double> squares_;  // (slots of the pass, panels) parts of the squared lengths of the networks' outputs
};

}  // namespace quorum::engine
