#include "cli/eval_stepper.h"

#include <charconv>
#include <numeric>
#include <utility>

namespace quorum::cli {
namespace {

bool Number(std::string_view text, std::int32_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0;
}

}  // namespace

Stepper::Stepper(LoadedModel loaded, std::int32_t context)
    : loaded_(std::move(loaded)),
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
    return Unsupported(flags.path + " is an encoder-decoder: it has no perplexity of a text by itself");
  }
  Stepper stepper(std::move(loaded), context);
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
  return loaded_.model->Step({&slice, 1}, logits.first((last_only ? 1 : rows) * vocab()));
}

Status ParseMask(const std::string& text, engine::ExpertRequest& experts) {
  std::string_view left = text;
  while (!left.empty()) {
    const std::size_t semicolon = left.find(';');
    std::string_view part = left.substr(0, semicolon);
    left.remove_prefix(semicolon == std::string_view::npos ? left.size() : semicolon + 1);
    std::int32_t layer = -1;
    if (const std::size_t colon = part.find(':'); colon != std::string_view::npos) {
      if (!Number(part.substr(0, colon), layer))
        return InvalidArgument("--mask: '" + text + "' has a layer that is no number");
      part.remove_prefix(colon + 1);
    }
    while (true) {
      const std::size_t comma = part.find(',');
      std::int32_t expert = 0;
      if (!Number(part.substr(0, comma), expert)) {
        return InvalidArgument("--mask: '" + text + "' is not like 3, 1,2 or 0:1,2;5:7");
      }
      experts.masked.push_back({layer, expert});
      if (comma == std::string_view::npos) break;
      part.remove_prefix(comma + 1);
    }
  }
  return {};
}

}  // namespace quorum::cli
