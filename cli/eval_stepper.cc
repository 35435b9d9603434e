#include "cli/eval_stepper.h"

#include <numeric>
#include <utility>

#include "cli/model_header.h"
#include "engine/finite_check.h"

namespace quorum::cli {

Stepper::Stepper(LoadedModel loaded, std::string name, std::int32_t context)
    : loaded_(std::move(loaded)),
      name_(std::move(name)),
      pages_(static_cast<std::size_t>((context + engine::kPageTokens - 1) / engine::kPageTokens)) {
  std::iota(pages_.begin(), pages_.end(), 0);
}

Result<Stepper> Stepper::Load(const ModelFlags& flags, std::int32_t context, const engine::ExpertRequest& experts) {
  engine::LoadOptions options;
  options.context = context;
  options.max_batch = 1;
  options.max_step_tokens = kScoredRows;
  options.max_step_logits = kScoredRows;
  ModelFlags own = flags;
  own.context = 0;
  QUORUM_ASSIGN(LoadedModel loaded, LoadModel(own, options));
  if (loaded.model->decoder_start()) {
    return Unsupported(flags.Name() + " is an encoder-decoder: it has no perplexity of a text by itself");
  }
  Stepper stepper(std::move(loaded), flags.Name(), context);
  QUORUM_TRY(stepper.Choose(experts));
  return stepper;
}

Status Stepper::Choose(const engine::ExpertRequest& experts) {
  own_routing_ = experts.top_k == 0 && !experts.dense && experts.min_weight == 0 && experts.masked.empty();
  if (own_routing_) return {};
  QUORUM_ASSIGN(experts_, engine::ResolveExperts(experts, loaded_.model->experts()));
  return {};
}

Status Stepper::Step(std::span<const tok::TokenId> sequence, std::size_t first, std::size_t rows, bool last_only,
                     std::span<float> logits) {
  const engine::StepSlice slice{.tokens = sequence.subspan(first, rows),
                                .pos = static_cast<std::int32_t>(first),
                                .pages = pages_,
                                .first_logits = last_only ? static_cast<std::int32_t>(rows) - 1 : 0,
                                .experts = own_routing_ ? nullptr : &experts_};
  const std::span<float> wanted = logits.first((last_only ? 1 : rows) * vocab());
  QUORUM_TRY(loaded_.model->Step({&slice, 1}, wanted));
  const Status finite = engine::CheckFinite(*loaded_.model, slice, wanted);
  return finite.ok() ? Status() : InModel(name_, finite.error());
}

}  // namespace quorum::cli
