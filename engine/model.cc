#include "engine/model.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/base/units.h"
#include "engine/dnnl_gemm.h"
#include "engine/kernels/dispatch.h"
#include "engine/model_files.h"
#include "engine/window_pages.h"

namespace quorum::engine {
namespace {

std::int32_t PagesOf(std::int64_t positions) {
  return static_cast<std::int32_t>((positions + kPageTokens - 1) / kPageTokens);
}

/// The widest window of the layers that have one; 0: none has.
std::int32_t WidestWindow(const ModelSpec& spec) {
  std::int32_t widest = 0;
  for (const LayerSpec& layer : spec.layers) widest = std::max(widest, layer.window);
  return widest;
}

std::vector<bool> Windowed(const ModelSpec& spec) {
  std::vector<bool> windowed;
  for (const LayerSpec& layer : spec.layers) windowed.push_back(layer.window > 0);
  return windowed;
}

KvShape ShapeOf(const ModelSpec& spec, KvType type) {
  return {.layers = static_cast<std::int32_t>(spec.layers.size()),
          .kv_heads = spec.attention.kv_heads,
          .head_dim_k = spec.attention.cached_key_dim(),
          .head_dim_v = spec.attention.cached_value_dim(),
          .type = type,
          .values_in_keys = spec.attention.is_latent(),
          .windowed = Windowed(spec)};
}

/// How many of so many pages have memory in windowed layers: `enough` for what runs, and a quarter for shared prefixes.
/// 0: all of them, which is also right without such layers (`enough` is 0).
std::int64_t WindowPlaces(std::int64_t pages, std::int64_t enough) {
  const std::int64_t places = enough + pages / 4;
  return enough > 0 && places < pages ? places : 0;
}

std::int64_t KvBytes(const KvShape& shape, std::int64_t pages, std::int64_t window_places) {
  const std::int64_t without = window_places > 0 ? pages - window_places : 0;
  return pages * KvCache::BytesPerPage(shape) - without * KvCache::WindowBytesPerPage(shape);
}

/// As many pages as `bytes` hold, up to `most`.
std::int64_t FitPages(std::int64_t bytes, const KvShape& shape, std::int64_t enough, std::int64_t most) {
  std::int64_t fits = 0;
  for (std::int64_t beyond = most + 1; beyond - fits > 1;) {  // bytes grow with pages
    const std::int64_t pages = fits + (beyond - fits) / 2;
    (KvBytes(shape, pages, WindowPlaces(pages, enough)) <= bytes ? fits : beyond) = pages;
  }
  return fits;
}

Status CheckOptions(const LoadOptions& options) {
  if (options.context < 0 || options.context > 1 << 20) {
    return InvalidArgument(fmt::format("the context length is {}, expected 1 to {}", options.context, 1 << 20));
  }
  if (options.max_batch < 1 || options.max_batch > 4096) {
    return InvalidArgument(fmt::format("the batch size is {}, expected 1 to 4096", options.max_batch));
  }
  if (options.kv_bytes < 0 || options.max_step_tokens < 0 || options.max_step_logits < 0 ||
      options.max_step_tokens > 1 << 16 || options.max_step_logits > 1 << 16) {
    return InvalidArgument("sizes of the KV cache and of a step must not be negative, and steps at most 65536 rows");
  }
  return {};
}

/// What a model will hold, settled before anything is allocated.
struct Sizes {
  std::int32_t context = 0;
  std::int32_t pages = 0;
  std::int32_t window_places = 0;
  StepOptions limits;
  KvType kv_type = KvType::kInt8;
  MemoryPlan plan;
};

Error TooBig(const MemoryPlan& plan, const MemoryLimit& memory) {
  return InvalidArgument(fmt::format(
      "this model needs {} of memory (weights {}, KV cache {}, workspace {}), but only {} are available ({})",
      FormatBytes(plan.total()), FormatBytes(plan.weights), FormatBytes(plan.kv_cache), FormatBytes(plan.workspace),
      FormatBytes(memory.available), memory.source));
}

std::string_view KvTypeName(KvType type) {
  switch (type) {
    case KvType::kF32: return "f32";
    case KvType::kBf16: return "bf16";
    case KvType::kInt8: return "int8";
  }
  return "unknown";
}

Result<Sizes> Settle(const ModelSpec& spec, const WeightPlan& weights, const LoadOptions& options) {
  const MemoryLimit memory = options.memory.available > 0 ? options.memory : AvailableMemory();
  Sizes sizes;
  sizes.context = options.context > 0 ? options.context : spec.context_length;
  if (sizes.context > spec.context_length) {
    Log(LogLevel::kWarn, "a context of {} is asked for, but this model was made for {}: expect poor answers beyond it",
        sizes.context, spec.context_length);
  }
  sizes.limits.rows = options.max_step_tokens > 0 ? options.max_step_tokens : 512 + options.max_batch;
  sizes.limits.logits = options.max_step_logits > 0 ? options.max_step_logits : std::max(options.max_batch, 64);
  sizes.limits.logits = std::min(sizes.limits.logits, sizes.limits.rows);
  const bool encodes = !spec.encoder.empty();
  if (encodes) sizes.limits.source = std::max<std::int64_t>(sizes.context, sizes.limits.rows);
  const bool fine = FineByDefault(spec);
  sizes.kv_type = options.kv_type.value_or(fine ? KvType::kF32 : KvType::kInt8);
  sizes.limits.activations = options.activations.value_or(fine ? ActPrecision::kInt16 : ActPrecision::kInt8);
  sizes.plan.weights = weights.bytes;
  sizes.plan.workspace = Forward::WorkspaceBytes(spec, weights.forms, sizes.limits, *options.pool);

  const KvShape shape = ShapeOf(spec, sizes.kv_type);
  const std::int64_t page_bytes = KvCache::BytesPerPage(shape);
  const std::int32_t window = WidestWindow(spec);
  const std::int64_t enough =
      window > 0 && options.map_windows ? WindowPages::Enough(options.max_batch, window, sizes.limits.rows) : 0;
  const std::int64_t least = encodes ? 2 : 1;  // the source and the reply have pages of their own
  const std::int64_t one_context = least * PagesOf(sizes.context);
  const std::int64_t all = std::min<std::int64_t>(one_context * options.max_batch, 1 << 30);
  std::int64_t pages = 0;
  if (options.kv_bytes > 0) {
    pages = FitPages(options.kv_bytes, shape, enough, all);
    if (pages < least) {
      return InvalidArgument(fmt::format("a KV cache of {} is too small: {} of {} tokens, the least, takes {}",
                                         FormatBytes(options.kv_bytes), encodes ? "two pages" : "one page", kPageTokens,
                                         FormatBytes(least * page_bytes)));
    }
  } else {
    const std::int64_t left = std::max<std::int64_t>(memory.available - sizes.plan.total(), 0);
    // If nobody asked for this context, a shorter one that fits is better than none.
    pages = std::max(FitPages(left / 2, shape, enough, all), options.context == 0 ? least : one_context);
  }
  sizes.pages = static_cast<std::int32_t>(pages);
  sizes.window_places = static_cast<std::int32_t>(WindowPlaces(pages, enough));
  sizes.plan.kv_cache = KvBytes(shape, pages, sizes.window_places);
  if (sizes.plan.total() > memory.available) return TooBig(sizes.plan, memory);
  if (pages < one_context) {
    const auto fits = static_cast<std::int32_t>(pages / least * kPageTokens);
    Log(LogLevel::kWarn, "the KV cache holds {} tokens: the context is cut from {} to that", fits, sizes.context);
    sizes.context = fits;
  }
  return sizes;
}

}  // namespace

bool FineByDefault(const ModelSpec& spec) {
  constexpr std::int64_t kSmall = 500'000'000;
  return spec.active_weights() <= kSmall;
}

Result<std::unique_ptr<Model>> Model::Load(const std::string& path, const LoadOptions& options) {
  QUORUM_ASSIGN(const std::unique_ptr<ModelFiles> files, ModelFiles::Open(path));
  Result<std::unique_ptr<Model>> model =
      Create(files->spec(), files->tensors(), options,
             [&](std::span<const std::byte> bytes) { return files->Release(bytes); });
  if (!model.ok()) {
    const bool named = model.error().message.starts_with(path);
    return Error{model.error().code, named ? model.error().message : path + ": " + model.error().message, {}, {}};
  }
  return model;
}

Result<std::unique_ptr<Model>> Model::Create(ModelSpec spec, const ModelTensors& file_tensors,
                                             const LoadOptions& options, const Weights::ReleaseFn& release) {
  QUORUM_CHECK(options.pool != nullptr);
  QUORUM_TRY(CheckOptions(options));
  QUORUM_TRY(CheckSpec(spec));
  QUORUM_TRY(CheckTensors(spec, file_tensors));
  const ModelTensors tensors = ChooseWeights(file_tensors, options.weights);
  const KernelTable* kernels = options.kernels;
  if (kernels == nullptr) {
    QUORUM_ASSIGN(kernels, ChooseKernels());
  }
  if (options.one_dnn) {
    QUORUM_ASSIGN(kernels, WithOneDnn(*kernels));
  }
  QUORUM_ASSIGN(const WeightPlan weight_plan, Weights::Plan(spec, tensors));
  // By what is asked for, not by what then fits into memory: answers must not depend on that.
  spec.rope.long_context = (options.context > 0 ? options.context : spec.context_length) > spec.rope.original_context;
  QUORUM_ASSIGN(const Sizes sizes, Settle(spec, weight_plan, options));
  const LogLevel level = options.quiet ? LogLevel::kDebug : LogLevel::kInfo;
  Log(level, "{}", DescribeSpec(spec));
  const std::string windowed = sizes.window_places == 0 ? ""
                                                        : fmt::format(", {} of them in layers with a window",
                                                                      std::int64_t{sizes.window_places} * kPageTokens);
  Log(level,
      "memory: weights {}, KV cache up to {} ({} {} tokens{}), workspace {}; {} kernels, {} threads, {} activations",
      FormatBytes(sizes.plan.weights), FormatBytes(sizes.plan.kv_cache), std::int64_t{sizes.pages} * kPageTokens,
      KvTypeName(sizes.kv_type), windowed, FormatBytes(sizes.plan.workspace), kernels->name, options.pool->size(),
      sizes.limits.activations == ActPrecision::kInt16 ? "int16" : "int8");

  QUORUM_ASSIGN(Weights weights, Weights::Pack(spec, tensors, *options.pool, release, options.progress));
  QUORUM_ASSIGN(KvCache cache, KvCache::Create(ShapeOf(spec, sizes.kv_type), sizes.pages, sizes.window_places));
  std::unique_ptr<Model> model(new Model(std::move(spec), *kernels, std::move(weights), std::move(cache), sizes.context,
                                         sizes.limits, sizes.plan));
  model->stop_ = options.stop;
  QUORUM_ASSIGN(model->forward_,
                Forward::Create(model->spec_, model->weights_, *kernels, *options.pool, *model->cache_, sizes.limits));
  return model;
}

Model::Model(ModelSpec spec, const KernelTable& kernels, Weights weights, KvCache cache, std::int32_t context,
             const StepOptions& limits, const MemoryPlan& plan)
    : spec_(std::move(spec)),
      kernels_(&kernels),
      weights_(std::move(weights)),
      cache_(std::make_unique<KvCache>(std::move(cache))),
      context_(context),
      window_(WidestWindow(spec_)),
      limits_(limits),
      plan_(plan),
      counters_(spec_.all_layers(), spec_.max_experts()),
      bytes_read_(weight_costs()) {}

std::optional<tok::TokenId> Model::decoder_start() const {
  return spec_.encoder.empty() ? std::nullopt : std::optional(spec_.decoder_start);
}

Status Model::CheckPages(std::span<const std::int32_t> pages, std::int64_t positions) const {
  if (std::ssize(pages) < PagesOf(positions)) {
    return InvalidArgument(fmt::format("{} pages do not cover {} positions", pages.size(), positions));
  }
  for (std::int64_t i = 0; i < PagesOf(positions); ++i) {
    const std::int32_t page = pages[static_cast<std::size_t>(i)];
    if (page < 0 || page >= num_pages()) return InvalidArgument(fmt::format("page {} does not exist", page));
  }
  return {};
}

/// Whether the slice's pages have memory where windowed layers write and read.
Status Model::CheckWindow(const StepSlice& slice) const {
  if (cache_->window_places() == 0) return {};
  const std::int64_t first = std::max<std::int64_t>(0, std::int64_t{slice.pos} - window_ + 1) / kPageTokens;
  for (std::int64_t i = first; i < PagesOf(slice.pos + std::ssize(slice.tokens)); ++i) {
    const std::int32_t page = slice.pages[static_cast<std::size_t>(i)];
    if (!cache_->IsMapped(page)) return InvalidArgument(fmt::format("page {} has no windowed layers", page));
  }
  return {};
}

/// What a slice has to do with an encoder.
Status Model::CheckSource(const StepSlice& slice) const {
  if (spec_.encoder.empty()) {
    if (slice.encode || slice.source_tokens != 0) return InvalidArgument("this model has no encoder");
    return {};
  }
  if (slice.encode) {
    if (slice.pos != 0 || slice.first_logits != std::ssize(slice.tokens)) {
      return InvalidArgument("a source begins at position 0 and has no logits");
    }
    return {};
  }
  if (slice.source_tokens < 1 || slice.source_tokens > context_) {
    return InvalidArgument(fmt::format("a source of {} tokens, expected 1 to {}", slice.source_tokens, context_));
  }
  return CheckPages(slice.source_pages, slice.source_tokens);
}

ExpertShape Model::experts() const {
  ExpertShape shape{spec_.router.top_k, {}};
  for (const std::vector<LayerSpec>* stack : {&spec_.layers, &spec_.encoder}) {
    for (const LayerSpec& layer : *stack) shape.experts.push_back(layer.experts);
  }
  return shape;
}

Status Model::CheckStep(std::span<const StepSlice> slices, std::size_t logits) const {
  std::int64_t rows = 0;
  std::int64_t sources = 0;
  std::int64_t wanted = 0;
  for (const StepSlice& slice : slices) {
    const std::int64_t n = std::ssize(slice.tokens);
    if (n == 0) return InvalidArgument("a slice of the step has no tokens");
    if (slice.pos < 0 || slice.pos + n > context_) {
      return InvalidArgument(
          fmt::format("positions {} to {} lie outside the context of {}", slice.pos, slice.pos + n - 1, context_));
    }
    QUORUM_TRY(CheckPages(slice.pages, slice.pos + n));
    QUORUM_TRY(CheckWindow(slice));
    for (const tok::TokenId token : slice.tokens) {
      if (token < 0 || token >= spec_.vocab_size) {
        return InvalidArgument(fmt::format("token {} is outside the vocabulary of {}", token, spec_.vocab_size));
      }
    }
    if (slice.hidden != nullptr && slice.first_logits != n) {
      return InvalidArgument("a slice wants hidden states and logits at once");
    }
    if (slice.first_logits < 0 || slice.first_logits > n) {
      return InvalidArgument(fmt::format("logits are asked for from token {} of {}", slice.first_logits, n));
    }
    const auto cells = static_cast<std::size_t>(spec_.all_layers()) * static_cast<std::size_t>(spec_.max_experts());
    const ExpertOptions* options = slice.experts;
    if ((slice.tally != nullptr && slice.tally->tokens.size() != cells) ||
        (options != nullptr && (options->top_k < 1 || options->experts != spec_.max_experts() ||
                                (!options->masked.empty() && options->masked.size() != cells)))) {
      return InvalidArgument("a slice's expert options were made for another model");
    }
    const std::int32_t visits = options != nullptr ? options->top_k : spec_.router.top_k;
    if (slice.trace != nullptr && (slice.trace->layers() != spec_.all_layers() || slice.trace->rows() < n ||
                                   slice.trace->visits() < std::min(visits, spec_.max_experts()) ||
                                   (slice.trace->parts().inputs && slice.trace->parts().d_model != spec_.d_model) ||
                                   (slice.trace->parts().hidden && slice.trace->parts().ff < spec_.max_ff()))) {
      return InvalidArgument("a slice's trace was made for another model or a smaller slice");
    }
    QUORUM_TRY(CheckSource(slice));
    (slice.encode ? sources : rows) += n;
    wanted += n - slice.first_logits;
  }
  if (rows > limits_.rows || wanted > limits_.logits) {
    return InvalidArgument(fmt::format("a step of {} tokens and {} rows of logits is over the limits of {} and {}",
                                       rows, wanted, limits_.rows, limits_.logits));
  }
  if (sources > limits_.source) {
    return InvalidArgument(fmt::format("sources of {} tokens are over the limit of {}", sources, limits_.source));
  }
  if (logits < static_cast<std::size_t>(wanted * spec_.vocab_size)) {
    return InvalidArgument(fmt::format("room for {} logits, {} are needed", logits, wanted * spec_.vocab_size));
  }
  return {};
}

Status Model::Step(std::span<const StepSlice> slices, std::span<float> logits) {
  QUORUM_TRY(CheckStep(slices, logits.size()));
  if (slices.empty()) return {};
  ExpertCounters* counters = spec_.has_experts() && counts_experts_ ? &counters_ : nullptr;
  if (!forward_->Step(slices, logits.data(), counters, stop_)) {
    return Error{ErrorCode::kCancelled, "interrupted", {}, {}};
  }
  bytes_read_.CountStep(spec_, cache_->shape(), slices);
  return {};
}

}  // namespace quorum::engine
