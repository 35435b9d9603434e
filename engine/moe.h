// The feed-forward part of a layer: route rows to experts, group them by expert, compute each needed expert once for
// all its rows, combine. A dense network is one expert that every row visits with weight 1, so dense and MoE layers run
// the very same operations: a top-1 MoE of copies equals its dense original bit for bit.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/forward_buffers.h"
#include "engine/model_spec.h"
#include "engine/moe_router.h"
#include "engine/weights.h"

namespace quorum::engine {

/// Working memory of the feed-forward layers of one model; one step at a time.
class FeedForward {
 public:
  /// Takes its memory from `memory`, for steps of up to `max_rows` rows.
  FeedForward(Bump& memory, const ModelSpec& spec, const WeightForms& forms, std::int64_t max_rows,
              ActPrecision precision);

  /// Floats of scratch that a worker needs.
  static std::int64_t ScratchFloats();

  /// out[row] += sum over row's experts, ascending by id, of weight * expert(in[row]); fma from what `out` holds.
  /// `in` holds `rows` normed rows of d_model in the forms that the layer asks for, `out` is (rows, d_model).
  void Run(const Team& team, std::int32_t layer, const LayerSpec& spec, const LayerWeights& weights, ActBuffer& in,
           std::int64_t rows, float* out, ExpertCounters* counters);

 private:
  /// Rows of one network: slots [begin, end) of the arrays below.
  struct Group {
    const NetworkWeights* network;
    std::int64_t begin, end;
  };
  /// Hidden columns [col, col + cols) of slots [slot, slot + m).
  struct HiddenTask {
    const NetworkWeights* network;
    std::int64_t slot, m, col, cols;
  };

  void Route(const Team& team, const LayerSpec& spec, const LayerWeights& weights, ActBuffer& in, std::int64_t rows);
  void GroupByExpert(std::int32_t layer, const LayerSpec& spec, const LayerWeights& weights, std::int64_t rows,
                     ExpertCounters* counters);
  void SplitHidden(const Team& team);
  void Activate(const KernelTable& kernels, const float* gate, const float* up, std::int64_t n, float* hidden) const;
  void Hidden(const Team& team, const HiddenTask& task, const ActBuffer& in, int worker);
  void Down(const Team& team, std::int64_t begin, std::int64_t end, float* out, int worker) const;

  RouterSpec router_;
  Activation activation_;
  float swiglu_alpha_, swiglu_limit_;
  std::int64_t d_model_ = 0;
  float* router_logits_ = nullptr;      // (max_rows, experts)
  std::int32_t* expert_ids_ = nullptr;  // (max_rows, top_k)
  float* expert_weights_ = nullptr;     // (max_rows, top_k)
  float* shared_weights_ = nullptr;     // (max_rows)
  std::int32_t* slot_rows_ = nullptr;   // (slots) the row of each slot; slots ascend by expert, then by row
  float* slot_weights_ = nullptr;       // (slots)
  ActBuffer hidden_;                    // (slots, max_ff)
  std::vector<std::int64_t> fill_;      // (experts + 1)
  std::vector<Group> groups_;           // of this step, ascending by expert
  std::vector<HiddenTask> hidden_tasks_;
};

}  // namespace quorum::engine
