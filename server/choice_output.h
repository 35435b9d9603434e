// One choice of an answer while it is generated: its text and scores, kept in step.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/token_logprobs.h"

namespace quorum::server {

/// What an event added to a choice.
struct ChoiceDelta {
  std::string text;
  std::vector<ScoredToken> scores;  // only if log-probabilities were asked for
  Json tokens = {};                 // reports of generated tokens, if asked for; else null
  bool finished = false;

  bool empty() const { return text.empty() && scores.empty() && tokens.empty() && !finished; }
};

class ChoiceOutput {
 public:
  /// `scored`: the request asked for log-probabilities. `as_ids`: tokens are spelled by their ids, and all are scored.
  ChoiceOutput(const tok::Tokenizer& tokenizer, const engine::GenerationRequest& request, bool scored, bool as_ids)
      : tokenizer_(tokenizer), scores_(tokenizer, request, as_ids), scored_(scored), as_ids_(as_ids) {}

  /// Takes a kToken or kFinish event of this choice.
  ChoiceDelta Apply(engine::Event event);

  bool finished() const { return finished_; }
  bool cut() const { return finish_ == engine::FinishReason::kLength || timed_out(); }
  const std::string& stop_text() const { return stop_text_; }  // the stop string that matched, if one did
  /// "stop" or "length"; REQUIRES finished().
  const char* finish_reason() const {
    return finish_ == engine::FinishReason::kLength || timed_out() ? "length" : "stop";
  }
  /// Ended by the request's time limit; OpenAI has no word for it, so it goes as "length" with vLLM's "stop_reason".
  bool timed_out() const { return finish_ == engine::FinishReason::kTimeLimit; }
  /// Ended by the engine and not by the model: it is shutting down.
  bool cancelled() const { return finish_ == engine::FinishReason::kCancelled; }
  std::int32_t completion_tokens() const { return completion_tokens_; }
  std::int32_t reasoning_tokens() const { return reasoning_tokens_; }  // of these, tokens of thoughts
  /// Mean log-probability of the tokens, by which `best_of` chooses.
  double mean_logprob() const { return tokens_ == 0 ? 0.0 : logprob_sum_ / tokens_; }

 private:
  const tok::Tokenizer& tokenizer_;
  TokenScores scores_;
  const bool scored_;
  const bool as_ids_;
  std::size_t text_bytes_ = 0;
  bool finished_ = false;
  engine::FinishReason finish_ = engine::FinishReason::kStop;
  std::string stop_text_;
  std::int32_t completion_tokens_ = 0;
  std::int32_t reasoning_tokens_ = 0;
  double logprob_sum_ = 0;
  int tokens_ = 0;
};

}  // namespace quorum::server
