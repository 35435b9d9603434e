// Shorthands for tests of grammars: text to compiled grammar, over SmallVocabulary.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/grammar/compiled_grammar.h"
#include "engine/grammar/gbnf.h"
#include "engine/grammar/json_schema.h"
#include "engine/grammar/regex.h"
#include "tests/support/grammar_walk.h"

namespace quorum::test {

using Compiled = Result<std::shared_ptr<const grammar::CompiledGrammar>>;

inline Compiled CompileGbnf(std::string_view text) {
  QUORUM_ASSIGN(const auto parsed, grammar::ParseGbnf(text));
  return grammar::CompiledGrammar::Compile(parsed, SmallVocabulary());
}

inline Compiled CompileRegex(std::string_view text, grammar::RegexMatch match = grammar::RegexMatch::kWhole) {
  grammar::Grammar made;
  QUORUM_ASSIGN(const auto root, grammar::ParseRegex(text, match, made));
  made.SetRoot(root);
  return grammar::CompiledGrammar::Compile(made, SmallVocabulary());
}

inline Compiled CompileSchema(std::string_view text, grammar::JsonSpace space = grammar::JsonSpace::kBounded) {
  QUORUM_ASSIGN(const auto parsed, grammar::ParseJsonSchema(text, space));
  return grammar::CompiledGrammar::Compile(parsed, SmallVocabulary());
}

/// The error's message, or "" where there is none.
template <typename T>
std::string Complaint(const Result<T>& result) {
  return result.ok() ? "" : result.error().message;
}

}  // namespace quorum::test
