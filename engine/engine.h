// The engine as the server sees it: submit a request, read its events, cancel it.
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/expert_options.h"
#include "engine/expert_trace.h"
#include "engine/step_model.h"
#include "tokenizer/tokenizer.h"

namespace quorum::grammar {
class CompiledGrammar;
}

namespace quorum::engine {

class ExpertLogWriter;

/// How the next token is drawn. Defaults are OpenAI's: temperature 1, nothing cut.
struct SamplingParams {
  float temperature = 1.0F;                  // 0: greedy, ties to the lowest id
  std::int32_t top_k = 0;                    // 0: off
  float top_p = 1.0F;                        // 1: off
  float min_p = 0.0F;                        // 0: off
  float typical_p = 1.0F;                    // 1: off
  float presence_penalty = 0.0F;             // OpenAI: subtracted once from a token's logit if it was generated
  float frequency_penalty = 0.0F;            // OpenAI: subtracted per time that it was generated
  float repetition_penalty = 1.0F;           // CTRL (Keskar et al. 2019), over prompt and generated tokens
  std::map<tok::TokenId, float> logit_bias;  // added to logits; <= -100 bans
  std::uint64_t seed = 0;                    // the caller draws one where the request gave none
};

/// A token with its log-probability from the raw logits (before bias, penalties and temperature).
struct TokenLogprob {
  tok::TokenId id = 0;
  float logprob = 0;
};

/// What becomes of the prompt's last hidden states (after the final norm): nothing, their mean, or the last token's.
enum class Pooling { kNone, kMean, kLast };

/// How a model's replies think before they answer, and for how long they may.
struct ThinkingRules {
  std::vector<tok::TokenId> open = {};    // begins a thought
  std::vector<tok::TokenId> close = {};   // ends it; empty: the model does not think, and nothing here is read
  std::vector<tok::TokenId> forced = {};  // what the engine writes when the budget is spent; `close` is in it
  bool open_at_start = false;             // the prompt ends inside a thought
  std::int32_t budget = -1;               // tokens of thoughts; -1: no limit
};

struct GenerationRequest {
  std::vector<tok::TokenId> prompt;  // not empty
  SamplingParams sampling;
  std::int32_t max_tokens = 0;         // tokens to generate; 0: only score the prompt
  std::int32_t n = 1;                  // choices; choice c uses the generator keyed by (seed, c, position)
  std::vector<std::string> stop;       // text that ends a choice; not returned
  std::vector<tok::TokenId> stop_ids;  // further ids that end a choice, besides the tokenizer's own
  bool ignore_eos = false;
  bool logprobs = false;                     // report each token's logprob
  std::int32_t top_logprobs = 0;             // and the best few
  bool prompt_logprobs = false;              // score the prompt's tokens too (echo)
  bool include_control_text = false;         // control tokens become text (skip_special_tokens = false)
  Pooling pooling = Pooling::kNone;          // else max_tokens is 0 and n 1: the answer is the kPrompt event's `pooled`
  std::vector<tok::TokenId> shown_controls;  // these control tokens become text in any case: marks of tool calls
  ExpertRequest experts;
  std::int32_t priority = 0;                // smaller numbers are served before larger ones, as in vLLM
  std::chrono::milliseconds time_limit{0};  // from submission; then the request ends as it is. 0: none
  bool save_prefix = false;                 // keep the prompt's whole pages in EngineOptions::prefix_file
  bool reuse_prefix = true;                 // take what the prefix cache has of the prompt; never changes the answer
  bool explain_cache = false;               // say where the prompt departs from what the prefix cache knows
  bool speculate = true;                    // guess tokens from the prompt where that pays; never changes the answer
  ThinkingRules thinking;
  std::shared_ptr<const grammar::CompiledGrammar> grammar;  // what the reply must be; null: any text
};

/// kTimeLimit: `time_limit` ran out after the first step; before it, the request fails with kUnavailable.
enum class FinishReason { kStop, kLength, kCancelled, kTimeLimit, kError };

/// One thing that happened to a request. Events of one choice come in order; prompt scores come first.
struct Event {
  enum class Kind { kPrompt, kToken, kFinish, kError };
  Kind kind = Kind::kToken;
  std::int32_t choice = 0;

  // kPrompt (once, when the prompt has been computed): scores of prompt[1...] if asked for.
  std::vector<TokenLogprob> prompt_logprobs;                   // [i] scores prompt[i + 1]
  std::vector<std::vector<TokenLogprob>> prompt_top_logprobs;  // parallel to it
  std::int32_t cached_tokens = 0;                              // prompt tokens whose KV came from the cache
  std::vector<float> pooled;                                   // the pooled hidden state, if asked for; not normalised
  std::int32_t known_tokens = -1;  // explain_cache: leading tokens of the prompt that the cache knew when it came
  double queue_seconds = 0;        // from submission to the first step that had some of the request

  // kToken: one token was generated.
  tok::TokenId token = 0;
  float logprob = 0;
  std::vector<TokenLogprob> top_logprobs;    // best first
  bool ends_text = false;                    // a token that carries no text: EOS, or one that completed a stop string
  std::shared_ptr<const ExpertTrace> trace;  // if asked for: its last row is what the token's logits were computed from

  // kToken and kFinish: text that is now certain (whole UTF-8, no part of a stop string). May be empty, and may
  // belong to earlier tokens: a possible stop string is held back until it is decided.
  std::string text;

  // kFinish: the choice is over.
  FinishReason finish = FinishReason::kStop;
  std::string stop_text;                       // the stop string that matched, if one did
  std::int32_t completion_tokens = 0;          // tokens generated for this choice, EOS included
  std::int32_t reasoning_tokens = 0;           // of these, tokens of thoughts
  std::shared_ptr<const ExpertTally> experts;  // of the last choice to finish, if asked for: of the whole request

  // kError: the whole request failed; nothing follows.
  Error error;
};

/// The reading end of one request. Thread-safe. Dropping it cancels the request.
class Generation {
 public:
  virtual ~Generation() = default;
  /// Waits up to `timeout` for the next event. Nothing: none came. After every choice finished (or kError): `done`.
  virtual std::optional<Event> Next(std::chrono::milliseconds timeout) = 0;
  virtual bool done() const = 0;  // all events have been read
  virtual void Cancel() = 0;      // frees the sequence within one step; events may stop at once
  /// Requests ahead of this one while it waits for its first step; -1 once it runs.
  virtual std::int32_t queue_position() const = 0;
};

struct EngineOptions {
  std::int32_t max_batch = 32;        // sequences that run at once
  std::int32_t max_queue = 256;       // sequences that may wait; more are refused with kOverloaded
  std::int64_t max_queue_tokens = 0;  // prompt tokens of those that wait, all together; 0: no limit
  std::int32_t prefill_chunk = 512;   // prompt tokens computed in one step, over all sequences
  double max_itl_ms = 0;              // longest step that prompts may make of it while others decode; 0: no limit
  std::int32_t speculate = 0;         // most tokens guessed at once; 0: never
  std::string prefix_file = {};       // where chosen prefixes are kept over restarts; empty: nowhere
  std::string fingerprint = {};       // of the model and how it is computed: whose prefixes they are
  bool speculate_always = false;      // guess wherever there is a guess, not only where it is expected to pay
  std::shared_ptr<ExpertLogWriter> expert_log = nullptr;  // what each computed token visited; null: no log
};

/// How many rows of one kind steps had: steps by rows, for a histogram.
struct RowCounts {
  static constexpr std::size_t kBuckets = 14;  // [i]: up to 2^(i - 1) rows, [0] none; the last one holds all beyond too
  std::array<std::int64_t, kBuckets> steps{};
  std::int64_t rows = 0;  // of all steps

  void Add(std::int64_t step_rows) {
    const auto bucket =
        static_cast<std::size_t>(step_rows == 0 ? 0 : 1 + std::bit_width(static_cast<std::uint64_t>(step_rows) - 1));
    ++steps[bucket < kBuckets ? bucket : kBuckets - 1];
    rows += step_rows;
  }
};

/// Figures since the start, and gauges of now.
struct EngineStats {
  std::int64_t requests = 0, finished = 0, cancelled = 0, refused = 0, failed = 0;
  std::int64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0, steps = 0, preemptions = 0;
  std::int64_t computed_tokens = 0;                      // rows of all steps: prompts, replies, guesses
  std::int64_t drafted_tokens = 0, accepted_tokens = 0;  // guessed, and those that were right
  std::int64_t timed_out = 0;                            // ended by their time limit
  std::int32_t running = 0, waiting = 0, pages_used = 0, pages_cached = 0, pages_total = 0;
  RowCounts decode_rows;                           // next tokens of replies, and guesses behind them
  RowCounts prefill_rows;                          // prompts, and what was computed again
  double step_seconds = 0, predicted_seconds = 0;  // of the last step: measured, and what was expected of it
  double busy_seconds = 0;                         // of all steps
};

/// Owns the thread that runs steps. Thread-safe.
class Engine {
 public:
  virtual ~Engine() = default;  // cancels what runs and joins

  /// Checks and queues a request. Errors: kInvalidArgument (empty prompt, ids outside the vocabulary, parameters out of
  /// range, prompt longer than the context: reason "context_length_exceeded" with both counts), kOverloaded (queue
  /// full), kUnavailable (draining).
  virtual Result<std::shared_ptr<Generation>> Submit(GenerationRequest request) = 0;

  virtual EngineStats Stats() const = 0;
  virtual std::int32_t context_length() const = 0;
  /// Whether the prompt is an encoder's source, to which the reply is a text of its own.
  virtual bool encodes_prompt() const = 0;
  /// Whether GenerationRequest::save_prefix has a file to go to.
  virtual bool stores_prefixes() const = 0;

  /// Refuses new requests from now on; returns true when everything finished within `limit`, else cancels the rest.
  virtual bool Drain(std::chrono::milliseconds limit) = 0;
};

/// The error for a prompt of `prompt` tokens (`at_least`: or more) in a context of `context`, of which a reply needs
/// `reply`. Clients of OpenAI's and of Anthropic's API each look for words of their own in it.
Error PromptTooLong(std::int64_t prompt, bool at_least, std::int64_t context, std::int64_t reply);

/// `model` and `tokenizer` must outlive the engine.
std::unique_ptr<Engine> MakeEngine(StepModel& model, const tok::Tokenizer& tokenizer, const EngineOptions& options);

}  // namespace quorum::engine
