// The engine as the server sees it: submit a request, read its events, cancel it.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/step_model.h"
#include "tokenizer/tokenizer.h"

namespace quorum::grammar {
class CompiledGrammar;
}

namespace quorum::engine {

/// How the next token is drawn. Defaults are OpenAI's: temperature 1, nothing cut.
struct SamplingParams {
  float temperature = 1.0F;         // 0: greedy, ties to the lowest id
  std::int32_t top_k = 0;           // 0: off
  float top_p = 1.0F;               // 1: off
  float min_p = 0.0F;               // 0: off
  float typical_p = 1.0F;           // 1: off
  float presence_penalty = 0.0F;    // OpenAI: subtracted once from a token's logit if it was generated
  float frequency_penalty = 0.0F;   // OpenAI: subtracted per time that it was generated
  float repetition_penalty = 1.0F;  // CTRL (Keskar et al. 2019), over prompt and generated tokens
  std::map<tok::TokenId, float> logit_bias;  // added to logits; <= -100 bans
  std::uint64_t seed = 0;           // the caller draws one where the request gave none
};

/// A token with its log-probability from the raw logits (before bias, penalties and temperature).
struct TokenLogprob {
  tok::TokenId id = 0;
  float logprob = 0;
};

/// What becomes of the prompt's last hidden states (after the final norm): nothing, their mean, or the last token's.
enum class Pooling { kNone, kMean, kLast };

struct GenerationRequest {
  std::vector<tok::TokenId> prompt;    // not empty
  SamplingParams sampling;
  std::int32_t max_tokens = 0;         // tokens to generate; 0: only score the prompt
  std::int32_t n = 1;                  // choices; choice c uses the generator keyed by (seed, c, position)
  std::vector<std::string> stop;       // text that ends a choice; not returned
  std::vector<tok::TokenId> stop_ids;  // further ids that end a choice, besides the tokenizer's own
  bool ignore_eos = false;
  bool logprobs = false;               // report each token's logprob
  std::int32_t top_logprobs = 0;       // and the best few
  bool prompt_logprobs = false;        // score the prompt's tokens too (echo)
  bool include_control_text = false;   // control tokens become text (skip_special_tokens = false)
  Pooling pooling = Pooling::kNone;    // else max_tokens is 0 and n 1: the answer is the kPrompt event's `pooled`
  std::vector<tok::TokenId> shown_controls;  // these control tokens become text in any case: marks of tool calls
  std::shared_ptr<const grammar::CompiledGrammar> grammar;  // what the reply must be; null: any text
};

enum class FinishReason { kStop, kLength, kCancelled, kError };

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

  // kToken: one token was generated.
  tok::TokenId token = 0;
  float logprob = 0;
  std::vector<TokenLogprob> top_logprobs;  // best first
  bool ends_text = false;  // a token that carries no text: EOS, or one that completed a stop string

  // kToken and kFinish: text that is now certain (whole UTF-8, no part of a stop string). May be empty, and may
  // belong to earlier tokens: a possible stop string is held back until it is decided.
  std::string text;

  // kFinish: the choice is over.
  FinishReason finish = FinishReason::kStop;
  std::string stop_text;               // the stop string that matched, if one did
  std::int32_t completion_tokens = 0;  // tokens generated for this choice, EOS included

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
  /// Requests ahead of this one while it waits for its first step; 0 once it runs.
  virtual std::int32_t queue_position() const = 0;
};

struct EngineOptions {
  std::int32_t max_batch = 32;          // sequences that run at once
  std::int32_t max_queue = 256;         // requests that may wait; more are refused with kOverloaded
  std::int32_t prefill_chunk = 512;     // prompt tokens computed in one step, over all sequences
};

/// Figures since the start, and gauges of now.
struct EngineStats {
  std::int64_t requests = 0, finished = 0, cancelled = 0, refused = 0, failed = 0;
  std::int64_t prompt_tokens = 0, cached_tokens = 0, generated_tokens = 0, steps = 0, preemptions = 0;
  std::int32_t running = 0, waiting = 0, pages_used = 0, pages_total = 0;
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

  /// Refuses new requests from now on; returns true when everything finished within `limit`, else cancels the rest.
  virtual bool Drain(std::chrono::milliseconds limit) = 0;
};

/// `model` and `tokenizer` must outlive the engine.
std::unique_ptr<Engine> MakeEngine(StepModel& model, const tok::Tokenizer& tokenizer, const EngineOptions& options);

}  // namespace quorum::engine
