// A request inside the engine: what was asked, its choices, and how far they are.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/engine.h"
#include "engine/event_queue.h"
#include "engine/expert_options.h"
#include "engine/prompt_lookup.h"
#include "engine/sampler.h"
#include "engine/sequence.h"
#include "engine/stop_matcher.h"
#include "engine/thinking.h"
#include "engine/token_constraint.h"
#include "tokenizer/utf8_stream.h"

namespace quorum::engine {

/// Limits on what one request may ask for, so that the engine's work per token is bounded.
inline constexpr std::int32_t kMaxChoices = 128;  // OpenAI's limit on n
inline constexpr std::size_t kMaxStops = 64;
inline constexpr std::size_t kMaxStopBytes = 64 << 10;  // all stop strings together

struct Request;

struct Choice : Sequence {
  Choice(Request& owner, std::int32_t index);

  Request& request;
  TokenCounts counts;
  tok::Utf8Stream utf8;
  StopMatcher stop;
  ThinkingState thinking;
  PromptLookup lookup;
  DraftGate gate;
  std::vector<tok::TokenId> guesses;     // of the tokens behind `tokens`
  std::vector<tok::TokenId> step_input;  // the last token and those guesses that the planned step computes
  std::optional<TokenConstraint> constraint;
  std::shared_ptr<ExpertTrace> trace;  // of the step that was computed last, if asked for or logged
  bool logged = false;                 // that step goes into the expert log
  std::int32_t generated = 0;
  bool finished = false;
};

struct Request {
  using Clock = std::chrono::steady_clock;

  /// `context`: positions that one sequence may have; `decoder_start`: as StepModel's. REQUIRES: CheckRequest passed.
  Request(GenerationRequest asked, std::shared_ptr<EventQueue> queue, std::int32_t context,
          std::optional<tok::TokenId> decoder_start = {}, const ExpertShape& shape = {});

  /// Its place in the order of arrival, and when that was.
  void SetOrdinal(std::int64_t ordinal, Clock::time_point now = Clock::now());
  std::int64_t ordinal() const { return choices.front()->key.request; }
  std::int32_t prompt_size() const { return static_cast<std::int32_t>(params.prompt.size()); }

  GenerationRequest params;
  std::shared_ptr<EventQueue> events;
  std::int32_t token_limit = 0;  // max_tokens, clipped to the context
  std::vector<std::unique_ptr<Choice>> choices;
  std::int32_t open_choices;             // not finished yet
  std::optional<ExpertOptions> experts;  // none: the model's own routing
  std::shared_ptr<ExpertTally> tally;    // null: not asked for
  Clock::time_point submitted{};
  Clock::time_point deadline = Clock::time_point::max();
  bool started = false;  // has been in a step
  bool prompt_done = false;
  Event prompt_event;          // collects the prompt's scores
  std::vector<double> pooled;  // sum of hidden states so far, or the last one
};

/// Errors: kInvalidArgument with the field at fault; see Engine::Submit.
Status CheckRequest(const GenerationRequest& request, std::int32_t vocab, std::int32_t context,
                    bool encodes_prompt = false, const ExpertShape& shape = {});

}  // namespace quorum::engine
