#include "engine/request.h"

#include <algorithm>
#include <utility>

namespace quorum::engine {

namespace {

Status CheckThinking(const ThinkingRules& thinking, std::int32_t vocab) {
  if (thinking.close.empty()) {
    if (thinking.budget < 0) return {};
    return InvalidArgument("This model does not think in a known way, so a budget cannot be kept.", "thinking_budget");
  }
  if (thinking.budget >= 0 && std::search(thinking.forced.begin(), thinking.forced.end(), thinking.close.begin(),
                                          thinking.close.end()) == thinking.forced.end()) {
    return InvalidArgument("What ends a thought by force does not end it.", "thinking_budget");
  }
  for (const std::vector<tok::TokenId>* ids : {&thinking.open, &thinking.close, &thinking.forced}) {
    if (std::any_of(ids->begin(), ids->end(), [vocab](tok::TokenId id) { return id < 0 || id >= vocab; })) {
      return InvalidArgument("A marker of thoughts is outside the vocabulary.", "thinking_budget");
    }
  }
  return {};
}

}  // namespace

Choice::Choice(Request& owner, std::int32_t index)
    : request(owner), stop(owner.params.stop), thinking(owner.params.thinking) {
  key.choice = index;
  key.priority = owner.params.priority;
}

Request::Request(GenerationRequest asked, std::shared_ptr<EventQueue> queue, std::int32_t context,
                 std::optional<tok::TokenId> decoder_start, const ExpertShape& shape)
    : params(std::move(asked)), events(std::move(queue)), open_choices(params.n) {
  std::sort(params.stop_ids.begin(), params.stop_ids.end());
  std::sort(params.shown_controls.begin(), params.shown_controls.end());
  for (std::int32_t c = 0; c < params.n; ++c) choices.push_back(std::make_unique<Choice>(*this, c));
  prompt_event.kind = Event::Kind::kPrompt;
  if (params.experts.report) tally = std::make_shared<ExpertTally>(shape);
  std::string lineage;
  if (const auto resolved = ResolveExperts(params.experts, shape); resolved.ok()) {
    lineage = resolved->Lineage(shape);
    if (!lineage.empty()) experts = *resolved;
  }
  // What an encoder makes of a token depends on its whole source, before and behind it.
  if (decoder_start) {
    lineage.append(reinterpret_cast<const char*>(params.prompt.data()), params.prompt.size() * sizeof(tok::TokenId));
  }
  if (!lineage.empty()) {
    const auto shared = std::make_shared<const std::string>(std::move(lineage));
    for (const auto& choice : choices) choice->lineage = shared;
  }
  // Choice 0 computes the prompt; the others join when it is done.
  Choice& first = *choices.front();
  first.tokens = params.prompt;
  if (decoder_start) {
    first.source = prompt_size();
    first.tokens.push_back(*decoder_start);
  }
  token_limit = std::min(params.max_tokens, context - (first.length() - first.source));
  if (params.prompt_logprobs) first.score_end = prompt_size() - 1;
  first.compute_all = params.pooling == Pooling::kMean || !params.reuse_prefix;
}

void Request::SetOrdinal(std::int64_t ordinal, Clock::time_point now) {
  for (const auto& choice : choices) choice->key.request = ordinal;
  submitted = now;
  if (params.time_limit.count() > 0) deadline = now + params.time_limit;
}

Error PromptTooLong(std::int64_t prompt, bool at_least, std::int64_t context, std::int64_t reply) {
  std::string message = "prompt is too long: " + std::to_string(prompt) + " tokens > " +
                        std::to_string(context - reply) + " maximum. This model's maximum context length is " +
                        std::to_string(context) + " tokens";
  if (reply > 0) message += ", and the reply needs at least " + std::to_string(reply);
  message += at_least ? "; the prompt has at least that many tokens." : ".";
  return InvalidArgument(std::move(message), "prompt", "context_length_exceeded");
}

Status CheckRequest(const GenerationRequest& request, std::int32_t vocab, std::int32_t context, bool encodes_prompt,
                    const ExpertShape& shape) {
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
  if (request.time_limit.count() < 0 || request.time_limit > std::chrono::hours(24 * 365)) {
    return InvalidArgument("timeout must be between 0 and a year.", "timeout");
  }
  QUORUM_TRY(CheckSampling(request.sampling, vocab));
  QUORUM_TRY(CheckThinking(request.thinking, vocab));
  QUORUM_TRY(ResolveExperts(request.experts, shape));
  if (encodes_prompt && request.prompt_logprobs) {
    return InvalidArgument("This model's encoder reads the prompt as a whole: its tokens have no logprobs.", "echo");
  }
  // A reply needs at least one position of its own, which is not the encoder's; scoring needs none.
  const std::int64_t needed = std::ssize(request.prompt) + (request.max_tokens > 0 && !encodes_prompt ? 1 : 0);
  if (needed > context) {
    return PromptTooLong(std::ssize(request.prompt), false, context, std::ssize(request.prompt) < needed ? 1 : 0);
  }
  return {};
}

}  // namespace quorum::engine
