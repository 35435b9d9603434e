// Splits a template into text, tags and the tokens inside tags.
//
// White space is handled as transformers configures Jinja: the first newline after a block tag or comment goes away
// (trim_blocks), so do blanks before them on their line (lstrip_blocks), and one newline at the template's end does
// too.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quorum::tok::jinja {

enum class TokenKind : std::uint8_t {
  kText,           // template text between tags
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,  // of the template
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;          // text, name, string (unescaped) or operator
  std::int64_t integer = 0;  // of kInteger
  double number = 0;         // of kFloat

  bool IsOperator(std::string_view op) const { return kind == TokenKind::kOperator && text == op; }
  bool IsName(std::string_view name) const { return kind == TokenKind::kName && text == name; }

  /// For error messages.
  std::string Describe() const;
};

/// All tokens of `source`, which must be valid UTF-8; the last one is kEnd. Fails with the line of what is wrong.
std::vector<Token> Tokenize(std::string_view source);

}  // namespace quorum::tok::jinja
