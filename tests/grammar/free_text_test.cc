#include "engine/grammar/free_text.h"

#include <memory>
#include <string>
#include <vector>

#include "engine/grammar/matcher.h"
#include "tests/support/catch.h"
#include "tests/support/grammar_texts.h"

namespace quorum::grammar {
namespace {

using test::Takes;

test::Compiled Compile(Grammar& g, ExprId root) {
  g.SetRoot(root);
  return CompiledGrammar::Compile(g, test::SmallVocabulary());
}

TEST_CASE("Free text: a trigger asks for what follows, and text goes on behind it") {
  Grammar g;
  JsonText json(g, JsonSpace::kBounded);
  const auto arguments =
      AddJsonSchema(R"({"type":"object","properties":{"x":{"type":"integer"}},"required":["x"]})", json);
  REQUIRE(arguments.ok());
  const ExprId call = g.Sequence({g.Literal("{\"name\": \"f\", \"arguments\": "), *arguments, g.Literal("}</call>")});
  const auto compiled = Compile(g, FreeText(g, {{"<call>", {}, call, true}}, true));
  REQUIRE(compiled.ok());
  CHECK(Takes(**compiled, "plain <cal text <<call"));
  CHECK(Takes(**compiled, ""));
  const std::string one = "<call>{\"name\": \"f\", \"arguments\": {\"x\": 1}}</call>";
  CHECK(Takes(**compiled, "a" + one + "b" + one));
  CHECK(Takes(**compiled, "<<" + one));
  CHECK_FALSE(Takes(**compiled, "<call>"));
  CHECK_FALSE(Takes(**compiled, "<call>text"));
  CHECK_FALSE(Takes(**compiled, "a<call>{\"name\": \"f\", \"arguments\": {\"x\": \"y\"}}</call>"));
}

TEST_CASE("Free text: thinking first, which must end") {
  Grammar g;
  const auto compiled = Compile(
      g, FreeText(g, {{"</think>", {}, g.Sequence({g.Repeat(g.Literal("\n"), 0, 2), g.OneOf({"yes", "no"})}), false}},
                  false));
  REQUIRE(compiled.ok());
  CHECK(Takes(**compiled, "hmm </thin </think>\n\nyes"));
  CHECK(Takes(**compiled, "</think>no"));
  CHECK_FALSE(Takes(**compiled, "yes"));
  CHECK_FALSE(Takes(**compiled, "hmm</think>maybe"));
}

TEST_CASE("Thinking: before an answer, or none at all, or open already") {
  for (const bool inside : {false, true}) {
    Grammar g;
    ThinkingMarks marks;
    marks.open = "<think>";
    marks.close = "</think>";
    marks.inside = inside;
    const auto compiled = Compile(g, AfterThinking(g, marks, g.OneOf({"yes", "no"})));
    REQUIRE(compiled.ok());
    CHECK(Takes(**compiled, "yes") == !inside);
    CHECK(Takes(**compiled, "<think>well</think>\n\nno"));
    CHECK(Takes(**compiled, "well</think>no") == inside);
    CHECK_FALSE(Takes(**compiled, "<think>well</think>"));
    CHECK_FALSE(Takes(**compiled, "<think>yes"));
  }
}

TEST_CASE("Free text: triggers that hold each other, and a control token") {
  Grammar g;
  const ExprId x = g.Literal("x");
  const ExprId y = g.Literal("y");
  const auto compiled =
      Compile(g, FreeText(g, {{"abcd", {}, x, false}, {"bc", {}, y, false}, {"", 3, g.Literal("z"), false}}, true));
  REQUIRE(compiled.ok());
  CHECK(Takes(**compiled, "abcy"));
  CHECK_FALSE(Takes(**compiled, "abcd"));
  CHECK(Takes(**compiled, "abab"));
  CHECK(Takes(**compiled, "text" + Vocabulary::ControlBytes(3) + "z"));
  CHECK_FALSE(Takes(**compiled, "text" + Vocabulary::ControlBytes(3)));
  CHECK_FALSE(Takes(**compiled, "text" + Vocabulary::ControlBytes(4)));
}

TEST_CASE("Free text: a trigger that binds only at the start") {
  Grammar g;
  const auto compiled =
      Compile(g, FreeText(g, {{"{", {}, g.Literal("x}"), false, true}, {"<f", {}, g.Literal("y"), false}}, true));
  REQUIRE(compiled.ok());
  CHECK(Takes(**compiled, ""));
  CHECK(Takes(**compiled, " \n{x}"));
  CHECK_FALSE(Takes(**compiled, " {y}"));
  CHECK(Takes(**compiled, "a {y}"));
  CHECK(Takes(**compiled, " a<fy"));
  CHECK(Takes(**compiled, "<fy"));
  CHECK_FALSE(Takes(**compiled, "<fx"));
  CHECK(Takes(**compiled, "<{y}"));
}

TEST_CASE("Where only a control token fits, byte tokens do not spell it") {
  std::vector<VocabularyToken> tokens;
  std::vector<std::string> bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.emplace_back(1, static_cast<char>(byte));
  for (const std::string& byte : bytes) tokens.push_back({byte, TokenKind::kText});
  tokens.push_back({"<call>", TokenKind::kControl});
  tokens.push_back({"", TokenKind::kEnd});
  Grammar g;
  g.SetRoot(g.Sequence({g.Literal("a"), g.Token(256)}));
  const auto compiled = CompiledGrammar::Compile(g, std::make_shared<const Vocabulary>(tokens));
  REQUIRE(compiled.ok());
  Matcher matcher(*compiled);
  REQUIRE(matcher.Accept('a'));
  CHECK(matcher.Allowed()->count() == 1);
  CHECK(matcher.Allowed()->Contains(256));
  CHECK(matcher.Accept(256));
  CHECK(matcher.Finished());
}

}  // namespace
}  // namespace quorum::grammar
