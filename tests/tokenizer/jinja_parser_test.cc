// What the parser refuses, and what it says.
#include "tests/tokenizer/template_fixture.h"

namespace quorum::tok {
namespace {

std::string ParseError(const std::string& source) {
  const auto parsed = ChatTemplate::Parse(source);
  if (parsed.ok()) return "";
  CHECK(parsed.error().code == ErrorCode::kInvalidArgument);
  const std::string prefix = "chat template, ";
  const std::string& message = parsed.error().message;
  return message.compare(0, prefix.size(), prefix) == 0 ? message.substr(prefix.size()) : message;
}

TEST_CASE("Parse errors say where and what was expected") {
  CHECK(ParseError("{{ 1 +") == "line 1: expected an expression, got the end of the template");
  CHECK(ParseError("a\nb\n{{ x y }}") == "line 3: expected '}}', got 'y'");
  CHECK(ParseError("{% if x %}\n\na") == "line 3: expected 'elif' or 'else' or 'endif', got the end of the template");
  CHECK(ParseError("{% for x in y %}\n{% endif %}") == "line 2: unknown tag 'endif', expected 'endfor' or 'else'");
  CHECK(ParseError("{% frobnicate %}") == "line 1: unknown tag 'frobnicate'");
  CHECK(ParseError("{% set 1 = 2 %}") == "line 1: expected a variable to assign to");
  CHECK(ParseError("{{ [1, 2 }}") == "line 1: unexpected '}', expected ']'");
  CHECK(ParseError("{{ 'abc }}") == "line 1: missing end of string, expected '");
  CHECK(ParseError("{{ \"\\ud83d\" }}").find("names no Unicode character") != std::string::npos);
  CHECK(ParseError("{{ a $ b }}") == "line 1: unexpected character '$'");
  CHECK(ParseError("{{ x|nope }}") == "line 1: no filter named 'nope'");
  CHECK(ParseError("\n{{ x is nope }}") == "line 2: no test named 'nope'");
  CHECK(ParseError("{# never closed") == "line 1: missing end of comment tag, expected '#}'");
  CHECK(ParseError("{% raw %}a") == "line 1: missing end of raw directive, expected '{% endraw %}'");
  CHECK(ParseError("{{ 9223372036854775808 }}") == "line 1: integer out of range: only 64 bits are supported");
  CHECK(ParseError("{{ f(a=1, a=2) }}") == "line 1: keyword argument repeated: a");
  CHECK(ParseError("{% break %}") == "line 1: 'break' outside of a loop");
  CHECK(ParseError("{% macro m(a, a) %}{% endmacro %}") == "line 1: duplicate parameter 'a'");
  CHECK(ParseError("a\xFF") == "chat template: not valid UTF-8");
}

TEST_CASE("Templates that need other templates are refused by name") {
  for (const char* tag :
       {"include 'x'", "import 'x' as y", "from 'x' import y", "extends 'x'", "block b", "autoescape true"}) {
    CHECK(ParseError("{% " + std::string(tag) + " %}").find("is not supported: a chat template stands alone") !=
          std::string::npos);
  }
}

/// `head`, then `piece` so many times, then `tail`.
std::string Repeated(const std::string& head, const std::string& piece, int times, const std::string& tail = "") {
  std::string text = head;
  for (int i = 0; i < times; ++i) text += piece;
  return text + tail;
}

TEST_CASE("Nesting without end is an error, not a stack overflow") {
  constexpr int kMany = 100'000;
  for (const char* opening : {"(", "[", "{1:", "not ", "-", "- ", "x[", "f(", "(a,", "1 if 1 else "}) {
    INFO(opening);
    CHECK(ParseError(Repeated("{{ ", opening, kMany)) != "");
    CHECK(ParseError(Repeated("{{ ", opening, kMany)).find("unexpected character") == std::string::npos);
  }
  for (const char* block : {"{% if x %}", "{%for x in y%}", "{%filter e%}", "{%with%}", "{%set x%}", "{%call f()%}"}) {
    INFO(block);
    CHECK(ParseError(Repeated("", block, 70'000)).find("nested too deeply") != std::string::npos);
  }
  for (const char* suffix : {".a", "[0]", "()", "|e", "[1:2]", " if 1"}) {
    INFO(suffix);
    CHECK(ParseError(Repeated("{{ x", suffix, kMany, " }}")).find("nested too deeply") != std::string::npos);
  }
  CHECK(ParseError(std::string((1 << 20) + 1, 'x')).find("larger than") != std::string::npos);
}

TEST_CASE("Long chains of one kind are no nesting") {
  CHECK(Outcome(Repeated("{{ 0", "+1", 50'000, " }}")) == "50000");
  CHECK(Outcome(Repeated("{{ 1", " and 1", 50'000, " }}")) == "1");
  CHECK(Outcome(Repeated("{{ 1", " <= 1", 50'000, " }}")) == "True");
  CHECK(Outcome(Repeated("{{ ''", "~''", 50'000, " }}")).empty());
  CHECK(Outcome(Repeated("{% if 0 %}", "{% elif 0 %}", 20'000, "{% else %}ok{% endif %}")) == "ok");
  CHECK(Outcome(Repeated("{{ ", "(", 150, "1") + std::string(150, ')') + " }}") == "1");
  CHECK(Outcome(Repeated("", "{% if 1 %}", 150, "x") + Repeated("", "{% endif %}", 150)) == "x");
}

}  // namespace
}  // namespace quorum::tok
