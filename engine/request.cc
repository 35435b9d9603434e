#include "engine/request.h"

#include <algorithm>
#include <utility>

namespace quorum::engine {

Choice::Choice(Request& owner, std::int32_t index) : request(owner), stop(owner.params.stop) { key.choice = index; }

Request::Request(GenerationRequest asked, std::shared_ptr<EventQueue> queue, std::int32_t context,
                 std::optional<tok::TokenId> decoder_start)
    : params(std::move(asked)), events(std::move(queue)), open_choices(params.n) {
  std::sort(params.stop_ids.begin(), params.stop_ids.end());
  std::sort(params.shown_controls.begin(), params.shown_controls.end());
  for (std::int32_t c = 0; c < params.n; ++c) choices.push_back(std::make_unique<Choice>(*this, c));
  prompt_event.kind = Event::Kind::kPrompt;
  // Choice 0 computes the prompt; the others join when it is done.
  Choice& first = *choices.front();
  first.tokens = params.prompt;
  if (decoder_start) {
    first.source = prompt_size();
    first.tokens.push_back(*decoder_start);
  }
  token_limit = std::min(params.max_tokens, context - (first.length() - first.source));
  if (params.prompt_logprobs) first.score_end = prompt_size() - 1;
  first.compute_all = params.pooling == Pooling::kMean;
}

void Request::SetOrdinal(std::int64_t ordinal) {
  for (const auto& choice : choices) choice->key.request = ordinal;
}

Status CheckRequest(const GenerationRequest& request, std::int32_t vocab, std::int32_t context, bool encodes_prompt) {
  if (request.prompt.empty()) return InvalidArgument("The prompt is empty: it needs at least one token.", "prompt");
  for (std::size_t i = 0; i < request.prompt.size(); ++i) {
    const tok::TokenId id = request.prompt[i];
    if (id < 0 || id >= vocab) {
      return InvalidArgument("Token " + std::to_string(i) + " of the prompt is " + std::to_string(id) +
                                 ", but the vocabulary has ids 0 to " + std::to_string(vocab - 1) + ".",
                             "prompt");
    }
  }
  if (request.max_tokens < 0) return InvalidArgument("max_tokens must not be negative.", "max_tokens");
  if (request.n < 1 || request.n > kMaxChoices) {
    return InvalidArgument("n must be between 1 and " + std::to_string(kMaxChoices) + ".", "n");
  }
  if (request.pooling != Pooling::kNone && (request.max_tokens != 0 || request.n != 1 || request.prompt_logprobs)) {
    return InvalidArgument("Hidden states are pooled only without generating or scoring.", "max_tokens");
  }
  if (request.top_logprobs < 0) return InvalidArgument("top_logprobs must not be negative.", "top_logprobs");
  std::size_t stop_bytes = 0;
  for (const std::string& stop : request.stop) {
    stop_bytes += stop.size();
    if (!tok::IsValidUtf8(stop)) return InvalidArgument("A stop string is not valid UTF-8.", "stop");
  }
  if (request.stop.size() > kMaxStops || stop_bytes > kMaxStopBytes) {
    return InvalidArgument("At most " + std::to_string(kMaxStops) + " stop strings with " +
                               std::to_string(kMaxStopBytes) + " bytes in all are supported.",
                           "stop");
  }
  QUORUM_TRY(CheckSampling(request.sampling, vocab));
  if (encodes_prompt && request.prompt_logprobs) {
    return InvalidArgument("This model's encoder reads the prompt as a whole: its tokens have no logprobs.", "echo");
  }
  // A reply needs at least one position of its own, which is not the encoder's; scoring needs none.
  const std::size_t needed = request.prompt.size() + (request.max_tokens > 0 && !encodes_prompt ? 1 : 0);
  if (needed > static_cast<std::size_t>(context)) {
    return InvalidArgument("This model's context length is " + std::to_string(context) +
                               " tokens, but the prompt has " + std::to_string(request.prompt.size()) + " tokens" +
                               (needed > request.prompt.size() ? " and the reply needs at least 1." : "."),
                           "prompt", "context_length_exceeded");
  }
  return {};
}

}  // namespace quorum::engine
