// Log-probabilities in OpenAI's shapes, in step with the text that they belong to.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "server/json_input.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8_stream.h"

namespace quorum::server {

/// A token as a printable string: its text, or "bytes:\xe2\x9c" where it is only a part of characters, as OpenAI writes
/// it; "token_id:N" when `as_id`.
std::string TokenString(const tok::Tokenizer& tokenizer, tok::TokenId token, bool as_id);

/// A log-probability that JSON can hold: finite, at most 0, at least -9999.
double FiniteLogprob(float logprob);

/// One scored token and where its text begins.
struct ScoredToken {
  tok::TokenId id = 0;
  std::optional<float> logprob;  // none: the first token of a prompt
  std::vector<engine::TokenLogprob> top;
  std::size_t byte_begin = 0;  // of its text, in the text of the choice
  std::size_t char_begin = 0;  // the same in characters
};

/// How long the text of a run of tokens is, token by token.
class TextMeter {
 public:
  void Push(std::string_view token_bytes);
  std::size_t bytes = 0;
  std::size_t chars = 0;

 private:
  tok::Utf8Stream utf8_;
};

/// Holds the scores of a choice's tokens back until their text is out, so that a stop string that swallows text
/// swallows its tokens too. Tokens without text (end of generation, hidden control tokens) are left out, unless
/// `every_token`.
class TokenScores {
 public:
  /// Which control tokens have text follows from `request`.
  TokenScores(const tok::Tokenizer& tokenizer, const engine::GenerationRequest& request, bool every_token)
      : tokenizer_(tokenizer),
        include_control_(request.include_control_text),
        shown_controls_(request.shown_controls),
        every_token_(every_token) {}

  void Add(const engine::Event& token);

  /// The scores whose text begins inside the `text_bytes` bytes that are out by now.
  std::vector<ScoredToken> Released(std::size_t text_bytes);
  /// What is left when the choice is over; after a stop string matched, nothing beyond the text.
  std::vector<ScoredToken> Rest(std::size_t text_bytes, bool stop_matched);

 private:
  const tok::Tokenizer& tokenizer_;
  const bool include_control_;
  const std::vector<tok::TokenId> shown_controls_;
  const bool every_token_;
  TextMeter text_;
  bool ended_ = false;  // the last token ends the text
  std::deque<ScoredToken> held_;
};

/// The scores of a prompt's tokens (echo). Every token is listed, also those without text.
std::vector<ScoredToken> PromptScores(const tok::Tokenizer& tokenizer, const std::vector<tok::TokenId>& prompt,
                                      const engine::Event& scores, bool include_control);

/// chat: the elements of `choices[].logprobs.content`.
Json ChatLogprobs(const tok::Tokenizer& tokenizer, const std::vector<ScoredToken>& tokens, bool as_ids);

/// Plain completions: {tokens, token_logprobs, top_logprobs, text_offset}; offsets count characters, `first_char` being
/// those that stand before the choice's own text (an echoed prompt).
Json CompletionLogprobs(const tok::Tokenizer& tokenizer, const std::vector<ScoredToken>& tokens, bool as_ids,
                        std::size_t first_char);

/// Characters of valid UTF-8.
std::size_t CountChars(std::string_view text);

}  // namespace quorum::server
