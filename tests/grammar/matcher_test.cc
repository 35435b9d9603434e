#include "engine/grammar/matcher.h"

#include <random>

#include "tests/support/catch.h"
#include "tests/support/grammar_texts.h"

namespace quorum::grammar {
namespace {

using test::CompileGbnf;
using test::CompileRegex;
using test::CompileSchema;

std::shared_ptr<const Vocabulary> VocabularyOf(const std::vector<std::string>& texts) {
  std::vector<VocabularyToken> tokens;
  for (const std::string& text : texts) tokens.push_back({text, TokenKind::kText});
  return std::make_shared<const Vocabulary>(tokens);
}

Result<std::shared_ptr<const CompiledGrammar>> CompileFor(std::string_view gbnf,
                                                          std::shared_ptr<const Vocabulary> vocabulary) {
  const auto parsed = ParseGbnf(gbnf);
  REQUIRE(parsed.ok());
  return CompiledGrammar::Compile(*parsed, std::move(vocabulary));
}

TEST_CASE("Masks hold exactly the tokens that can be accepted") {
  std::vector<test::Compiled> grammars;
  grammars.push_back(CompileSchema("{}"));
  grammars.push_back(CompileSchema(
      R"({"type":"object","properties":{"a":{"type":"string","maxLength":40},"b":{"type":"array","items":{"type":"string","minLength":3,"maxLength":6},"minItems":2,"maxItems":300}},"required":["a","b"],"additionalProperties":{"type":"integer","minimum":-20,"maximum":2025}})"));
  grammars.push_back(CompileSchema(R"({"type":"string","pattern":"^(ab|c.)*x?$","minLength":10,"maxLength":12})"));
  grammars.push_back(CompileRegex("(ab?c?|b{3,300}c|[^x]{5}x)*"));
  grammars.push_back(CompileRegex("(?:.{0,7}\n){2,100}"));
  grammars.push_back(
      CompileGbnf("root ::= s{2,50} \"!\"\ns ::= \"a\" s \"b\" | \"a\" s | [bc] | \"\\\"\" [^\"]{0,70} \"\\\"\""));
  std::mt19937_64 random(3);
  for (const auto& compiled : grammars) {
    INFO(test::Complaint(compiled));
    REQUIRE(compiled.ok());
    for (int walk = 0; walk < 6; ++walk) {
      Matcher matcher(*compiled);
      for (int step = 0; step < 60 && !matcher.Finished(); ++step) {
        const auto allowed = matcher.Allowed();
        std::vector<TokenId> ids;
        for (TokenId id = 0; id + 1 < allowed->size(); ++id) {  // the last is the end token
          Matcher copy = matcher;
          if (copy.Accept(id) != allowed->Contains(id)) FAIL("token " << id << " at step " << step);
          if (allowed->Contains(id)) ids.push_back(id);
        }
        REQUIRE((!ids.empty() || matcher.CanEnd()));
        Matcher copy = matcher;
        CHECK(copy.Accept(allowed->size() - 1) == matcher.CanEnd());
        if (ids.empty()) break;
        REQUIRE(matcher.Accept(ids[random() % ids.size()]));
      }
    }
  }
}

TEST_CASE("A mask does not depend on what was asked before") {
  const char* schema =
      R"({"type":"object","properties":{"s":{"type":"string","maxLength":9},"n":{"type":"number","minimum":0}}})";
  const auto one = CompileSchema(schema);
  const auto other = CompileSchema(schema);
  REQUIRE((one.ok() && other.ok()));
  for (std::uint64_t seed = 0; seed < 20; ++seed) test::Walk(*one, seed, 30, 100);  // warms only one
  std::mt19937_64 random(5);
  Matcher warm(*one);
  Matcher cold(*other);
  while (!warm.Finished()) {
    const auto a = warm.Allowed();
    const auto b = cold.Allowed();
    std::vector<TokenId> ids;
    for (TokenId id = 0; id < a->size(); ++id) {
      REQUIRE(a->Contains(id) == b->Contains(id));
      if (a->Contains(id)) ids.push_back(id);
    }
    if (ids.empty()) break;
    const TokenId token = ids[random() % ids.size()];
    REQUIRE(warm.Accept(token));
    REQUIRE(cold.Accept(token));
  }
}

TEST_CASE("Tokens can be taken back, and copies go their own way") {
  const auto compiled = CompileRegex("(abc|abd)+");
  REQUIRE(compiled.ok());
  Matcher matcher(*compiled);
  const auto token = [](char c) { return static_cast<TokenId>(static_cast<unsigned char>(c)); };
  for (const char c : std::string("abcab")) REQUIRE(matcher.Accept(token(c)));
  Matcher copy = matcher;
  CHECK_FALSE(matcher.Accept(token('x')));
  REQUIRE(matcher.Accept(token('d')));
  CHECK(matcher.CanEnd());
  matcher.Rollback(3);
  CHECK(matcher.CanEnd());
  CHECK_FALSE(matcher.Accept(token('b')));
  CHECK(copy.Accept(token('c')));
  for (int i = 0; i < 1000; ++i) {
    for (const char c : std::string("abc")) REQUIRE(copy.Accept(token(c)));
  }
  copy.Rollback(Matcher::kHistory);
  CHECK(copy.Accept(token('c')));  // 64 = 21 rounds and 1
}

TEST_CASE("When a table is full, matchers move to a new one and stay where they are") {
  // Every text leads to a state of its own.
  const auto compiled = CompileGbnf("root ::= ([ab]{1,30} \",\"){1,4000000000} \"!\"");
  REQUIRE(compiled.ok());
  const auto first = (*compiled)->table();
  Matcher matcher(*compiled);
  std::string text;
  std::mt19937 random(1);
  int steps = 0;
  for (; (*compiled)->table() == first && steps < 400000; ++steps) {
    const char c = steps % 9 == 8 ? ',' : "ab"[random() % 2];
    REQUIRE(matcher.Accept(static_cast<unsigned char>(c)));
    text.push_back(c);
  }
  REQUIRE(steps < 400000);
  if (steps % 9 == 0) REQUIRE(matcher.Accept('a'));
  REQUIRE(matcher.Accept(','));
  CHECK_FALSE(Matcher(matcher).Accept(','));
  REQUIRE(matcher.Accept('!'));
  CHECK(matcher.Finished());
  matcher.Rollback(2);
  CHECK_FALSE(matcher.CanEnd());
}

TEST_CASE("A vocabulary that lacks bytes: what cannot be spelled is left out, and nothing gets stuck") {
  // Whole characters only: no way to finish a half one.
  const auto words = VocabularyOf({"a", "b", "é", "日本", "日", "\xe6", "ab", "\xc3"});
  auto compiled = CompileFor("root ::= [ab\\u00e9\\u65e5\\u672c]{1,5} \"b\"", words);
  REQUIRE(compiled.ok());
  Matcher matcher(*compiled);
  const auto allowed = matcher.Allowed();
  for (const auto& [id, may] : std::vector<std::pair<TokenId, bool>>{
           {0, true}, {2, true}, {3, false}, {4, true}, {5, false}, {6, true}, {7, false}}) {
    INFO(id);
    CHECK(allowed->Contains(id) == may);
  }
  CHECK_FALSE(CompileFor("root ::= \"x\"", words).ok());
  CHECK_FALSE(CompileFor("root ::= [ab]* \"\\u672c\"", words).ok());
  CHECK(CompileFor("root ::= \"x\" | \"a\"", words).ok());

  // All continuation bytes, but only one lead byte: pieces of characters are fine where that byte begins them.
  std::vector<std::string> texts = {"\xc3", "x", "\xc4\x80"};
  for (int byte = 0x80; byte < 0xC0; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  compiled = CompileFor("root ::= [\\u00c0-\\u01ff]{3}", VocabularyOf(texts));
  REQUIRE(compiled.ok());
  Matcher bytes(*compiled);
  REQUIRE(bytes.Accept(0));
  CHECK(bytes.Allowed()->count() == 64);
  REQUIRE(bytes.Accept(3));
  CHECK(bytes.Allowed()->count() == 2);  // the lead byte, and U+0100 in one piece
}

TEST_CASE("Hostile grammars: masks are bounded, and still lead to an end") {
  for (const char* text : {
           "root ::= ([ab]* \"a\" [ab]{15}){1,3} \"!\"",
           "root ::= ((([a-c]{0,30} [a-c]{0,30}){0,30} \"a\"?){0,30} \"b\"){0,30} \"!\"",
           "root ::= x x x x \"!\"\nx ::= (\"a\" x \"b\" | \"a\" x | x2 | \"ab\"){1,9}\nx2 ::= (\"a\" | \"b\" x)+",
       }) {
    const auto compiled = CompileGbnf(text);
    INFO(text << ": " << test::Complaint(compiled));
    REQUIRE(compiled.ok());
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      const auto walk = test::Walk(*compiled, seed, 20, 300);
      INFO(walk.text);
      CHECK(walk.fault.empty());
    }
  }
}

}  // namespace
}  // namespace quorum::grammar
