// Regular expressions: the part of ECMA-262 that describes regular languages, as JSON Schema uses it.
#pragma once

#include <string_view>

#include "engine/base/result.h"
#include "engine/grammar/grammar.h"

namespace quorum::grammar {

enum class RegexMatch {
  kWhole,     // the whole text matches
  kAnywhere,  // some part of it does, as JSON Schema's `pattern` says; ^ and $ tie it to the ends
};

/// Adds what `pattern` matches to `grammar`; only characters, sequences, choices and repeats, and automata where it
/// looks ahead.
/// Where ECMA-262 and Python's `re` differ in what a class holds, only what both hold is meant: \d and \w are ASCII,
/// \D, \W and \S leave out whatever one of them counts in, and `.` matches no line end of either. Errors:
/// kInvalidArgument with the place, for what is malformed, and for what is not supported: look-behind, look-ahead
/// within what repeats, back-references, word boundaries, Unicode properties, flags, and ^ or $ elsewhere than at the
/// ends.
Result<ExprId> ParseRegex(std::string_view pattern, RegexMatch match, Grammar& grammar);

/// Whether `pattern` may look ahead: if not, there is no automaton in what ParseRegex makes.
bool MayLookAhead(std::string_view pattern);

}  // namespace quorum::grammar
