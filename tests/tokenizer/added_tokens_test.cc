#include "tokenizer/added_tokens.h"

#include "tests/support/catch.h"

namespace quorum::tok {
namespace {

AddedToken Token(std::string content, TokenId id, bool control = false) {
  AddedToken token;
  token.content = std::move(content);
  token.id = id;
  token.control = control;
  return token;
}

/// Parts as text, tokens in brackets with their id.
std::string Split(const std::vector<AddedToken>& tokens, std::string_view text, bool parse_special = true) {
  const Result<AddedTokenFinder> finder = AddedTokenFinder::Build(tokens);
  REQUIRE(finder.ok());
  std::vector<TextPart> parts;
  finder->Split(text, parse_special, parts);
  std::string out;
  for (const TextPart& part : parts) {
    REQUIRE(!part.text.empty());
    out += part.id < 0 ? "(" + std::string(part.text) + ")"
                       : "[" + std::to_string(part.id) + ":" + std::string(part.text) + "]";
  }
  return out;
}

TEST_CASE("The longest token wins, from left to right") {
  const std::vector<AddedToken> tokens = {Token("<a", 1), Token("<a>", 2), Token("<a>b", 3), Token("b", 4)};
  CHECK(Split(tokens, "x<a>by<a>c<ab") == "(x)[3:<a>b](y)[2:<a>](c)[1:<a][4:b]");
  CHECK(Split(tokens, "<a") == "[1:<a]");
  CHECK(Split(tokens, "<").empty() == false);
  CHECK(Split(tokens, "") == "");
  CHECK(Split({}, "x") == "(x)");
}

TEST_CASE("Control tokens stay text unless they are asked for") {
  const std::vector<AddedToken> tokens = {Token("<s>", 1, true), Token("s", 2)};
  CHECK(Split(tokens, "a<s>s", true) == "(a)[1:<s>][2:s]");
  CHECK(Split(tokens, "a<s>s", false) == "(a<s>)[2:s]");
}

TEST_CASE("Tokens take white space and respect words as they say") {
  AddedToken left = Token("<l>", 1);
  left.left_strip = true;
  AddedToken right = Token("<r>", 2);
  right.right_strip = true;
  AddedToken word = Token("on", 3);
  word.single_word = true;
  const std::vector<AddedToken> tokens = {left, right, word};
  CHECK(Split(tokens, "a \t\xE3\x80\x80<l> b") == "(a)[1: \t\xE3\x80\x80<l>]( b)");
  CHECK(Split(tokens, "a <r> \n b") == "(a )[2:<r> \n ](b)");
  CHECK(Split(tokens, "<r>  <l>") == "[2:<r>  ][1:<l>]");
  CHECK(Split(tokens, "on only upon, on_ (on)on") == "[3:on]( only upon, on_ ()[3:on]())[3:on]");
  CHECK(Split(tokens, "on\xE2\x93\x90 on\xC2\xB2") == "(on\xE2\x93\x90 )[3:on](\xC2\xB2)");
}

TEST_CASE("White space is not made of the ends of broken characters") {
  AddedToken left = Token("<l>", 1);
  left.left_strip = true;
  CHECK(Split({left}, "a \x80\x80<l>") == "(a \x80\x80)[1:<l>]");
}

TEST_CASE("A token that is too long is refused with its id") {
  const Result<AddedTokenFinder> finder = AddedTokenFinder::Build({Token(std::string(2000, 'a'), 77)});
  REQUIRE(!finder.ok());
  CHECK(finder.error().message.find("77") != std::string::npos);
}

TEST_CASE("Many tokens and much text") {
  std::vector<AddedToken> tokens;
  for (int i = 0; i < 5000; ++i) tokens.push_back(Token("<|reserved_" + std::to_string(i) + "|>", i, true));
  const Result<AddedTokenFinder> finder = AddedTokenFinder::Build(tokens);
  REQUIRE(finder.ok());
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "<|reserved_" + std::to_string(i % 7000) + "|> ";
  std::vector<TextPart> parts;
  finder->Split(text, true, parts);
  int found = 0;
  for (const TextPart& part : parts) found += part.id >= 0;
  CHECK(found == 15'000);  // 5000 of each 7000, twice, and 5000 of the last 6000
}

}  // namespace
}  // namespace quorum::tok
