// The forward pass over one step, of a decoder and perhaps the encoder before it: a list of phases, each shared out
// over the pool. It reads ModelSpec and packed weights and knows no model family. Every value is computed by operations
// that do not depend on what else is in the step, on the number of threads, or on the kernel table (DESIGN 4).
// reference.cc says the same in plain loops.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/attention_block.h"
#include "engine/base/aligned_buffer.h"
#include "engine/base/result.h"
#include "engine/encoder.h"
#include "engine/forward_buffers.h"
#include "engine/kv_cache.h"
#include "engine/model_spec.h"
#include "engine/moe.h"
#include "engine/residual.h"
#include "engine/rope.h"
#include "engine/source_attention.h"
#include "engine/step_model.h"
#include "engine/weights.h"

namespace quorum::engine {

/// Working memory and the phases. One step at a time.
class Forward {
 public:
  /// Bytes that Create allocates.
  static std::int64_t WorkspaceBytes(const ModelSpec& spec, const WeightForms& forms, const StepOptions& limits,
                                     const ThreadPool& pool);

  /// All references must outlive the object. Errors: kInternal (no address space).
  static Result<std::unique_ptr<Forward>> Create(const ModelSpec& spec, const Weights& weights,
                                                 const KernelTable& kernels, ThreadPool& pool, KvCache& cache,
                                                 const StepOptions& limits);

  /// Computes one step as StepModel::Step. REQUIRES: slices within the limits, all ids, positions and pages in range;
  /// `logits` has room for the rows asked for. Counts routed tokens in `counters` if not null. False: `stop`, which is
  /// asked before every layer and may be null, said so.
  bool Step(std::span<const StepSlice> slices, float* logits, ExpertCounters* counters,
            const std::function<bool()>& stop);
  /// Shows what it asks for from now on; null: nobody looks.
  void SetTap(ActivationTap* tap) { team_.tap = tap; }

 private:
  /// Arrays of (rows, ...) in the workspace.
  struct Buffers {
    Buffers(Bump& memory, const ModelSpec& spec, const WeightForms& forms, const StepOptions& limits,
            const ThreadPool& pool);
    float* x;         // (rows, d_model) the residual stream
    float* block;     // (rows, d_model) what attention or the networks add to it
    float* cos;       // (rows, rope.dims / 2)
    float* sin;       // (rows, rope.dims / 2)
    ActBuffer model;  // (rows, d_model) normed input of a block
    std::unique_ptr<AttentionBlock> attention;
    std::unique_ptr<SourceAttention> source;  // null: there is no encoder
    float* source_x = nullptr;                // (limits.source, d_model) the encoder's residual stream
    FeedForward ffn;
    float* scratch;  // (threads, scratch_floats)
    std::int64_t scratch_floats;
  };

  Forward(const ModelSpec& spec, const Weights& weights, const KernelTable& kernels, ThreadPool& pool, KvCache& cache,
          AlignedBuffer memory, Bump bump, const StepOptions& limits);

  void Gather(std::span<const StepSlice> slices);
  void Start();
  std::span<const StepSlice> Encode(std::span<const StepSlice> slices, ExpertCounters* counters);
  void CrossAttention(const CrossWeights& cross, std::int32_t index, std::span<const StepSlice> slices);
  void ShowResidual(std::size_t layer, std::int64_t first, const std::int32_t* ids, std::int64_t count) const;
  void Logits(float* logits);
  void Hidden(std::span<const StepSlice> slices);

  const ModelSpec& spec_;
  const Weights& weights_;
  KvCache& cache_;
  AlignedBuffer memory_;
  Buffers buffers_;
  Team team_;
  ResidualRows residual_;
  RopeTable rope_;
  std::unique_ptr<Encoder> encoder_;           // null: there is none
  std::vector<StepSlice> sources_, decoding_;  // of a step with both kinds of slices
  std::vector<AttendSlice> crossing_;
  std::vector<StepRow> rows_;
  std::vector<RowExperts> row_experts_;  // of each row; empty where no slice asks for anything
  std::vector<std::int32_t> wanted_;     // rows whose logits are asked for, ascending
};

}  // namespace quorum::engine
