// The parts of JSON texts (RFC 8259) as grammar expressions, with the bounds that keep a weak model from running away.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/result.h"
#include "engine/grammar/char_dfa.h"
#include "engine/grammar/grammar.h"

namespace quorum::grammar {

/// White space between the parts of a JSON text. There is never any before the first or behind the last character of
/// it.
enum class JsonSpace {
  kBounded,  // behind a colon or comma nothing or one space; behind "{" "[" "," and before "}" "]" nothing, or a line
             // end with at most 40 spaces or 8 tabs
  kCompact,  // none
};

/// Makes expressions in one grammar; what is used often becomes a rule once.
class JsonText {
 public:
  JsonText(Grammar& grammar, JsonSpace space) : grammar_(grammar), space_(space) {}

  ExprId Break();  // white space behind an opening bracket or before a closing one
  ExprId AfterComma();
  ExprId AfterColon();

  /// One character of a string as JSON spells it. The first allows each spelling of any character but NUL and halves of
  /// surrogate pairs; the second the one usual spelling of the characters in `chars`, without NUL.
  ExprId AnyChar();
  ExprId Char(const CharSet& chars);

  ExprId String(std::uint32_t min_chars, std::uint32_t max_chars);
  /// A string that `dfa` takes.
  ExprId String(const CharDfa& dfa);
  /// A string of what `text` describes: characters, literals, sequences, choices and repeats of `grammar`, which become
  /// their JSON spelling.
  ExprId StringOf(ExprId text);
  /// Exactly this string.
  ExprId String(std::string_view text);

  /// At most 16 digits before the point, 16 behind it, and an exponent of two.
  ExprId Number();
  ExprId Integer();

  ExprId Value();
  ExprId Object();

  Grammar& grammar() { return grammar_; }

 private:
  ExprId Spelled(ExprId text);
  ExprId Array();

  Grammar& grammar_;
  const JsonSpace space_;
  ExprId break_ = -1, any_char_ = -1, number_ = -1, integer_ = -1, value_ = -1, object_ = -1;
};

/// The usual spelling of a string's characters, without quotes: short escapes, \u00XX for other control characters.
std::string JsonEscape(std::string_view text);

/// `dfa` as a grammar's automaton with its characters spelled as in JSON. Control characters without a short escape are
/// left out where an edge holds other characters too.
Automaton JsonAutomaton(const CharDfa& dfa);

}  // namespace quorum::grammar
