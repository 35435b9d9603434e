#include "engine/grammar/gbnf.h"

#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tests/support/catch.h"
#include "tests/support/grammar_texts.h"

namespace quorum::grammar {
namespace {

using test::CompileGbnf;
using test::Complaint;
using test::Takes;

void Check(std::string_view text, std::vector<std::string_view> yes, std::vector<std::string_view> no) {
  INFO(text);
  const auto compiled = CompileGbnf(text);
  INFO(Complaint(compiled));
  REQUIRE(compiled.ok());
  for (const auto one : yes) {
    INFO("must be taken: " << one);
    CHECK(Takes(**compiled, one));
  }
  for (const auto one : no) {
    INFO("must not be taken: " << one);
    CHECK_FALSE(Takes(**compiled, one));
  }
}

TEST_CASE("GBNF: the notation") {
  Check("root ::= \"a\" [b-d] \"\\\"\\n\\x41\\u00e9\"", {"ac\"\nA\xC3\xA9"}, {"ac\"\nA"});
  Check(
      "# arithmetic\nroot ::= (expr \"=\" term \"\\n\")+\nexpr ::= term ([-+*/] term)*\nterm ::= num | \"(\" expr "
      "\")\"\n"
      "num ::= [0-9]+ # digits\n",
      {"1+2=3\n", "(1-(22))*3=4\n5=5\n"}, {"", "1+=3\n", "(1=2\n", "1=1"});
  Check("root ::=\n  \"a\"\n  | \"b\" |\n  \"c\"\n", {"a", "b", "c"}, {"ab"});
  Check("root ::= x{2} y{1,} z{0,2}\nx ::= \"x\"\ny ::= \"y\"\nz ::= \"z\"", {"xxy", "xxyyzz"}, {"xy", "xxyzzz"});
  Check("root ::= [^\"\\\\]* . ", {"abc", "\xE6\x97\xA5"}, {"\"\"", ""});
  Check("root ::= a-b_c\na-b_c ::= \"\" | \"q\" a-b_c", {"", "qqq"}, {"p"});
}

TEST_CASE("GBNF: recursion in the middle, as deep as the limit") {
  const auto compiled = CompileGbnf("root ::= \"(\" root \")\" | \"\"");
  REQUIRE(compiled.ok());
  const auto nested = [](std::size_t n) { return std::string(n, '(') + std::string(n, ')'); };
  CHECK(Takes(**compiled, nested(100)));
  CHECK_FALSE(Takes(**compiled, nested(100) + ")"));
  CHECK_FALSE(Takes(**compiled, nested(1000)));
  // At the limit the only way on is back.
  const auto walk = test::Walk(*compiled, 1, 100000, 3000);
  CHECK(walk.fault.empty());
}

TEST_CASE("GBNF: ambiguity does not cost more and more") {
  // Every text has exponentially many derivations.
  Check("root ::= s\ns ::= \"a\" s \"a\" | \"a\" s | \"\"",
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}, {"b"});
  // Rules that may be empty, that begin alike, and of rising precedence: each level doubles the ways to a place.
  for (const int levels : {16, 60}) {
    std::string nothing = "root ::= r0\n", alike = nothing, rising = nothing;
    for (int i = 0; i < levels; ++i) {
      const std::string rule = fmt::format("r{} ::= ", i), next = fmt::format("r{}", i + 1);
      nothing += fmt::format("{}{} {}\n", rule, next, next);
      alike += fmt::format("{}{} | {} \"c\"\n", rule, next, next);
      rising += fmt::format("{}{} | {} \"o{}\" r{}\n", rule, next, next, i, i);
    }
    const std::string last = fmt::format("r{} ::= \"a\" | ", levels);
    for (const auto& [text, yes] :
         std::vector<std::pair<std::string, std::string>>{{nothing + last + "\"\"", "aaaaaaaaaa"},
                                                          {alike + last + "\"b\"", "accccc"},
                                                          {rising + last + "\"(\" r0 \")\"", "(ao3ao7a)o1a"}}) {
      Check(text, {yes}, {"x"});
      CHECK((*CompileGbnf(text))->bytes() < 2'000'000);
    }
  }
  Check("root ::= (\"a\"? \"a\"? \"a\"?){0,200}", {std::string_view("aaaaaaaaaaaaaaaaaaaaaaa")}, {"ab"});
}

TEST_CASE("GBNF: what is refused says why") {
  for (const auto& [text, what] : std::vector<std::pair<const char*, const char*>>{
           {"", "no rule 'root'"},
           {"root ::= x", "'x', which it does not define"},
           {"root ::= \"a\"\nb \"c\"", "expected '::='"},
           {"root ::= \"a", "does not end"},
           {"root ::= [a", "without ']'"},
           {"root ::= (\"a\"", "without ')'"},
           {"root ::= \"a\" ) ", "unexpected"},
           {"root = \"a\"", "expected '::='"},
           {"root ::= \"a\"\nroot ::= \"b\"", "twice"},
           {"root ::= *", "nothing to repeat"},
           {"root ::= \"a\"{2,1}", "order"},
           {"root ::= \"\\q\"", "unknown escape"},
           {"root ::= root \"a\" | \"b\"", "left-recursive"},
           {"root ::= a \"x\" | \"y\"\na ::= (\"z\"?) root", "left-recursive"},
           {"root ::= \"a\" root", "no text"},
           {"\n\nroot ::= \"\\uD800\"", "line 3"}}) {
    INFO(text);
    CHECK(Complaint(CompileGbnf(text)).find(what) != std::string::npos);
  }
  std::string deep = "root ::= ";
  for (int i = 0; i < 5000; ++i) deep += "(";
  CHECK(Complaint(CompileGbnf(deep)).find("nested") != std::string::npos);
  std::string wide = "root ::= \"x\"";
  for (int i = 0; i < 300000; ++i) wide += "|a";
  CHECK(Complaint(CompileGbnf(wide)).find("too large") != std::string::npos);
}

}  // namespace
}  // namespace quorum::grammar
