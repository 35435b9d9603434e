// Thoughts that a model writes between two markers (<think> ... </think>): known by its template or vocabulary, kept
// apart from the answer. The text of gpt-oss's channels is read elsewhere (tools/message_reader.h).
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "tokenizer/tokenizer.h"

namespace quorum::server {

struct ReasoningMarks {
  std::string open;
  std::string close;  // empty: this model is not known to think

  bool known() const { return !close.empty(); }
};

/// The markers of a model: those that its template speaks of, or else those that are single tokens of its vocabulary.
ReasoningMarks FindReasoningMarks(std::string_view template_source, const tok::Tokenizer& tokenizer);

/// Whether a prompt ends inside a thought: the template has opened one for the model.
bool EndsInThought(const ReasoningMarks& marks, const tok::Tokenizer& tokenizer, std::span<const tok::TokenId> prompt);

/// The same for the engine, so that it can count thoughts and end them. Empty where the markers cannot be encoded.
engine::ThinkingRules ThinkingRulesOf(const ReasoningMarks& marks, const tok::Tokenizer& tokenizer);

/// gpt-oss thinks in its analysis channel (https://cookbook.openai.com/articles/openai-harmony).
engine::ThinkingRules HarmonyThinking(const tok::Tokenizer& tokenizer);

/// Splits one reply as it comes. Only a thought at the beginning is one: later markers are content. Line breaks between
/// markers and text belong to neither side.
class ReasoningSplitter {
 public:
  struct Piece {
    std::string reasoning;
    std::string content;
  };

  /// `open`: the reply begins inside a thought.
  ReasoningSplitter(ReasoningMarks marks, bool open)
      : marks_(std::move(marks)),
        state_(!marks_.known() ? State::kAnswer
               : open          ? State::kBegun
                               : State::kStart) {}

  /// What is certain now.
  Piece Push(std::string_view text);
  /// The reply is over: what was held back.
  Piece Finish();

 private:
  enum class State {
    kStart,  // nothing but white space so far: a thought may begin
    kBegun,  // a thought has begun, its text not yet
    kThought,
    kClosed,  // it is over, the answer has not begun
    kAnswer,
  };
  bool Advance(Piece& out);

  ReasoningMarks marks_;
  State state_;
  std::string held_;  // not decided yet
};

}  // namespace quorum::server
