// Grammars that begin to bind when a trigger is written: thinking before an answer, tool calls within plain text.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/grammar/grammar.h"

namespace quorum::grammar {

/// What ends free text, and what must follow it.
struct Trigger {
  std::string text;              // e.g. "<tool_call>"; empty: `token` is the trigger
  std::optional<TokenId> token;  // a control token
  ExprId then = -1;              // comes right behind
  bool resume = false;           // free text again after `then`; else the whole is over
  bool at_start = false;         // only behind nothing but white space; REQUIRES a text of one ASCII character
};

/// Any text up to the first trigger that is completed, then what that trigger asks for. `may_end`: the text may also
/// end without a trigger (a reply that calls no tool); a beginning of a trigger at the end is then plain text.
///
/// A tool call that must follow <tool_call>, any number of times, is
///   g.SetRoot(FreeText(g, {{"<tool_call>\n", {}, g.Sequence({call, g.Literal("\n</tool_call>")}), true}}, true));
/// with `call` made of g.Literal, AddJsonSchema and g.Choice over the tools; `tool_choice: required` has no FreeText
/// around it.
ExprId FreeText(Grammar& grammar, const std::vector<Trigger>& triggers, bool may_end);

/// How a model marks its thinking: by texts, or by control tokens where those are given.
struct ThinkingMarks {
  std::string open;  // e.g. "<think>"
  std::string close;
  std::optional<TokenId> open_token, close_token;
  bool inside = false;  // the prompt ends inside a thought; else the model may think first, or not
};

/// A thought without bounds, then at most two line ends and `answer`.
ExprId AfterThinking(Grammar& grammar, const ThinkingMarks& marks, ExprId answer);

}  // namespace quorum::grammar
