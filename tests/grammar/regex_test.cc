#include "engine/grammar/regex.h"

#include "tests/support/catch.h"
#include "tests/support/grammar_texts.h"

namespace quorum::grammar {
namespace {

using test::CompileRegex;
using test::Complaint;
using test::Takes;

void Check(std::string_view pattern, std::vector<std::string_view> yes, std::vector<std::string_view> no,
           RegexMatch match = RegexMatch::kWhole) {
  INFO("pattern " << pattern);
  const auto compiled = CompileRegex(pattern, match);
  INFO(Complaint(compiled));
  REQUIRE(compiled.ok());
  for (const auto text : yes) {
    INFO("must match: " << text);
    CHECK(Takes(**compiled, text));
  }
  for (const auto text : no) {
    INFO("must not match: " << text);
    CHECK_FALSE(Takes(**compiled, text));
  }
}

TEST_CASE("Regex: the notation") {
  Check("abc", {"abc"}, {"", "ab", "abcd", "xabc"});
  Check("a|bc|", {"a", "bc", ""}, {"b", "abc"});
  Check("a*b+c?", {"b", "aab", "bbc"}, {"a", "bcc"});
  Check("a{2}", {"aa"}, {"a", "aaa"});
  Check("a{2,}", {"aa", "aaaaa"}, {"a"});
  Check("(ab){1,3}?", {"ab", "ababab"}, {"", "abababab"});
  Check("a{,2}x{", {"a{,2}x{"}, {"x{"});  // not quantifiers
  Check("[a-cx\\d-]", {"b", "x", "7", "-"}, {"d", ""});
  Check("[^a-c]", {"d", "\xC3\xA9", "\n"}, {"a", ""});
  Check("a[]|b", {"b"}, {"a"});
  Check("a.c",
        {"abc",
         "a\xF0\x9F\x98\x80"
         "c"},
        {"ac", "a\nc"});
  Check("(?:a)(?<name>b)(?P<other>c)", {"abc"}, {});
  Check("\\x41\\u0042\\u{1F600}\\cA\\0\\.\\/", {std::string_view("AB\xF0\x9F\x98\x80\x01\0./", 10)}, {});
  Check("\\ud83d\\ude00", {"\xF0\x9F\x98\x80"}, {});
  Check("\\w+\\s\\S", {"ab_9 x"}, {"ab x "});
  Check("日本[語人]", {"日本語", "日本人"}, {"日本"});
}

TEST_CASE("Regex: anchors") {
  Check("^a+$", {"a", "aa"}, {"ab"}, RegexMatch::kAnywhere);
  Check("^a|b$", {"ax", "xb", "a", "b"}, {"xax"}, RegexMatch::kAnywhere);
  Check("b", {"b", "abc"}, {"ac", ""}, RegexMatch::kAnywhere);
  Check("(^a|b)c", {"acx", "xbc"}, {"xac"}, RegexMatch::kAnywhere);
  Check("^$", {""}, {"a"}, RegexMatch::kAnywhere);
  Check("", {"", "abc"}, {}, RegexMatch::kAnywhere);
  Check("^ab$", {"ab"}, {"xab"}, RegexMatch::kWhole);
}

TEST_CASE("Regex: counts are not written out") {
  Check("a{1000000}", {}, {"a"});
  const std::string long_text(3000, 'x');
  Check("x{1,3000}", {long_text}, {long_text + "x", ""});
  Check("(x{0,100}y){0,100}", {"", "xy", "xxyxyy"}, {"x"});
  Check("((a?){0,50}){0,50}", {"", std::string_view(long_text).substr(0, 0)}, {"b"});
}

TEST_CASE("Regex: look-ahead") {
  Check("(?=a)ab|c", {"ab", "c"}, {"b", "", "a"});
  Check("(?!ab)[a-c]{2}", {"aa", "ba", "cb"}, {"ab", "a"});
  Check("x(?=[ab]$)[a-z]", {"xa", "xb"}, {"xc", "x"});
  Check("(?:(?=a)[ab]|c)d", {"ad", "cd"}, {"bd"});
  Check("a(?:(?!b)[bc])?d", {"ad", "acd"}, {"abd"});
  Check("(?!a(?!b))[a-c]*", {"", "ab", "abc", "ba"}, {"a", "ac", "aab"});
  Check("(?=.*\\d)(?=.*[a-z])[a-z\\d]{2,4}", {"a1", "1a", "ab12"}, {"ab", "12", "a1b2c"});
  // Everything before it may be anything, and everything behind it.
  Check("(?=ab)a", {"ab", "xaby"}, {"a", "ba", "axb"}, RegexMatch::kAnywhere);
  Check("^(?=.*\\d)(?!.*x).{3}", {"ab1", "a1bc", "1abc2"}, {"abc", "a1", "a1bx"}, RegexMatch::kAnywhere);
  Check("^(?:(?!x)|y)z|q$", {"z1", "yz", "aq"}, {"xz", "az"}, RegexMatch::kAnywhere);
  // Of what the dialects count in differently, what must not follow has all (a digit of Python's; ECMA-262's white
  // space), what must follow only what both have.
  Check("(?!\\d).", {"a"}, {"1", "\xD9\xA3"});
  Check("(?=\\s)[\\u0085 ]", {" "}, {"\xC2\x85"});
  Check("(?![^\\D]).", {"a"}, {"1", "\xD9\xA3"});
  Check("(?!(?!\\d))[\\d\\u0663]", {"1"}, {"\xD9\xA3"});
  // As generators write them: pydantic's Decimal, zod's duration and older e-mail.
  Check("^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$", {"1", "-0.5", "+12.", ".5", "0012"}, {"", "-", "+.", "1e5", "a"},
        RegexMatch::kAnywhere);
  Check("^P(?:(\\d+W)|(?!.*W)(?=\\d|T\\d)(\\d+Y)?(\\d+M)?(\\d+D)?(T(?=\\d)(\\d+H)?(\\d+M)?(\\d+([.,]\\d+)?S)?)?)$",
        {"P1W", "P1Y2M3D", "PT5S", "P1DT2H", "PT1.5S"}, {"P", "PT", "P1", "P1DT", "1D", "P1W2D"},
        RegexMatch::kAnywhere);
  Check("^(?!\\.)(?!.*\\.\\.)([A-Za-z0-9_'+\\-\\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$",
        {"a.b@c.de"}, {".a@c.de", "a..b@c.de", "a@c"}, RegexMatch::kAnywhere);
}

TEST_CASE("Regex: what is refused says why") {
  for (const auto& [pattern, what] : std::vector<std::pair<const char*, const char*>>{
           {"(a", "without ')'"},
           {"a)", "without '('"},
           {"[a", "without ']'"},
           {"*a", "nothing to repeat"},
           {"a**", "quantifier"},
           {"a{3,2}", "order"},
           {"(?:(?!ab).)*", "look-ahead within"},
           {"(?=a)(?=b)(?=c)(?=d)(?=e)(?=f)(?=g)(?=h)(?=i)", "more than 8"},
           {"(?=a", "without ')'"},
           {"(?<!a)", "look-behind"},
           {"\\bword", "boundary"},
           {"(a)\\1", "reference"},
           {"\\p{L}", "property"},
           {"a^b", "'^'"},
           {"a$b", "'$'"},
           {"(?i)a", "flag"},
           {"a\\", "at the end"},
           {"[b-a]", "order"},
           {"\\ud800", "surrogate"},
           {"a++", "possessive"}}) {
    INFO(pattern);
    CHECK(Complaint(CompileRegex(pattern)).find(what) != std::string::npos);
  }
  CHECK(Complaint(CompileRegex(std::string(5000, '('))).find("nested") != std::string::npos);
  CHECK(Complaint(CompileRegex("\xff")).find("UTF-8") != std::string::npos);
}

}  // namespace
}  // namespace quorum::grammar
