// A model loaded from a file: spec, packed weights, KV cache and workspace behind StepModel.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "engine/base/result.h"
#include "engine/bytes_read.h"
#include "engine/forward.h"
#include "engine/kernels/kernel_table.h"
#include "engine/kv_cache.h"
#include "engine/memory_limit.h"
#include "engine/model_spec.h"
#include "engine/model_tensors.h"
#include "engine/moe_router.h"
#include "engine/step_cost.h"
#include "engine/step_model.h"
#include "engine/thread_pool.h"
#include "engine/weight_choice.h"
#include "engine/weights.h"

namespace quorum::engine {

struct LoadOptions {
  ThreadPool* pool = nullptr;            // required; must outlive the model, which is its only user meanwhile
  const KernelTable* kernels = nullptr;  // null: ChooseKernels()
  std::int32_t context = 0;              // positions of one sequence; 0: the model's own
  std::int32_t max_batch = 32;           // sequences that the KV cache is sized for
  std::int64_t kv_bytes = 0;             // KV cache; 0: max_batch whole contexts, at most half of the free memory
  // Where these say nothing, a small model (FineByDefault) gets float keys and values and int16 activations, others
  // int8.
  std::optional<KvType> kv_type;
  std::optional<ActPrecision> activations;
  // Layers that see only a window of positions get memory for max_batch windows, one step, and a quarter of the pages
  // for shared prefixes, where that is less than for all pages. Then a step's pages must be mapped
  // (StepModel::MapWindow).
  bool map_windows = false;
  std::int32_t max_step_tokens = 0;  // rows of a step; 0: 512 + max_batch
  std::int32_t max_step_logits = 0;  // rows of logits of a step; 0: max(max_batch, 64)
  WeightChoice weights = WeightChoice::kAuto;
  bool one_dnn = false;  // products with float matrices on oneDNN (dnnl_gemm.h): outside the promise of one answer
  MemoryLimit memory;    // available == 0: ask the system
  bool quiet = false;    // no word of shape and plan in the log
  /// Called on the loading thread with the file bytes packed so far and in all; false ends loading with kCancelled. May
  /// be null.
  std::function<bool(std::int64_t done, std::int64_t total)> progress;
  /// Asked between the layers of every step; true ends it with kCancelled, its results unfinished. May be null.
  std::function<bool()> stop;
};

/// Whether a model is so small that precision costs little time and memory, while its answers suffer most from
/// rounding: up to 500 million weights for each token.
bool FineByDefault(const ModelSpec& spec);

/// Where a model's memory goes, in bytes.
struct MemoryPlan {
  std::int64_t weights = 0;
  std::int64_t kv_cache = 0;
  std::int64_t workspace = 0;
  std::int64_t total() const { return weights + kv_cache + workspace; }
};

class Model final : public StepModel {
 public:
  /// Loads a GGUF file or a Hugging Face folder. The plan is logged before anything is allocated.
  /// Errors: those of ModelFiles::Open; kInvalidArgument when the options ask for what the model cannot do or for more
  /// memory than there is (with the sum); kDataLoss when a file is cut short meanwhile.
  static Result<std::unique_ptr<Model>> Load(const std::string& path, const LoadOptions& options);

  /// The same from parts. `release` is told of file bytes that are not needed any more; may be null.
  static Result<std::unique_ptr<Model>> Create(ModelSpec spec, const ModelTensors& tensors, const LoadOptions& options,
                                               const Weights::ReleaseFn& release = {});

  std::int32_t vocab_size() const override { return spec_.vocab_size; }
  std::int32_t context_length() const override { return context_; }
  std::int32_t num_pages() const override { return cache_->num_pages(); }
  std::int32_t max_step_tokens() const override { return static_cast<std::int32_t>(limits_.rows); }
  std::int32_t max_step_logits() const override { return static_cast<std::int32_t>(limits_.logits); }
  std::optional<tok::TokenId> decoder_start() const override;
  std::int32_t hidden_size() const override {
    return spec_.encoder.empty() ? static_cast<std::int32_t>(spec_.d_model) : 0;
  }

  ExpertShape experts() const override;
  WindowMemory window_memory() const override { return {window_, cache_->window_places()}; }
  void MapWindow(std::int32_t page, std::int32_t place) override { cache_->MapWindow(page, place); }
  void CopyPage(std::int32_t from, std::int32_t to) override { cache_->CopyPage(from, to); }
  std::int64_t page_bytes() const override { return KvCache::BytesPerPage(cache_->shape()); }
  void ReadPage(std::int32_t page, std::span<std::byte> out) const override { cache_->ReadPage(page, out); }
  void WritePage(std::int32_t page, std::span<const std::byte> in) override { cache_->WritePage(page, in); }

  /// Errors: kInvalidArgument for a step outside the limits above; then nothing was computed. kCancelled by
  /// LoadOptions::stop.
  Status Step(std::span<const StepSlice> slices, std::span<float> logits) override;

  /// Shows `tap` from now on what steps read (activation_tap.h); null: nobody looks. Not during a step.
  void SetTap(ActivationTap* tap) { forward_->SetTap(tap); }

  const ModelSpec& spec() const { return spec_; }
  const MemoryPlan& memory() const { return plan_; }
  const KernelTable& kernels() const { return *kernels_; }
  KvType kv_type() const { return cache_->shape().type; }
  ActPrecision activations() const { return limits_.activations; }
  /// Exact counts since loading; the encoder's layers stand behind the decoder's. Thread-safe, also during a step.
  ExpertStats expert_stats() const { return counters_.Read(); }
  /// For measuring what counting costs. Not during a step.
  void CountExperts(bool count) { counts_experts_ = count; }
  /// What steps have read since loading. Thread-safe.
  BytesRead bytes_read() const { return bytes_read_.Read(counters_.Read()); }
  const Weights& weights() const { return weights_; }
  /// What its matrices cost (step_cost.h), and the shape of its cache.
  WeightCosts weight_costs() const { return {spec_, weights_}; }
  const KvShape& kv_shape() const { return cache_->shape(); }

 private:
  Model(ModelSpec spec, const KernelTable& kernels, Weights weights, KvCache cache, std::int32_t context,
        const StepOptions& limits, const MemoryPlan& plan);
  Status CheckSource(const StepSlice& slice) const;
  Status CheckPages(std::span<const std::int32_t> pages, std::int64_t positions) const;
  Status CheckWindow(const StepSlice& slice) const;
  Status CheckStep(std::span<const StepSlice> slices, std::size_t logits) const;

  ModelSpec spec_;
  const KernelTable* kernels_;
  Weights weights_;
  std::unique_ptr<KvCache> cache_;
  std::int32_t context_;
  std::int32_t window_ = 0;  // of the layer that sees most, of those that do not see all
  StepOptions limits_;
  MemoryPlan plan_;
  ExpertCounters counters_;
  bool counts_experts_ = true;
  std::function<bool()> stop_;
  BytesReadCounter bytes_read_;
  std::unique_ptr<Forward> forward_;
};

}  // namespace quorum::engine
