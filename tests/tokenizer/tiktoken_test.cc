#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/tokenizer/fixture.h"
#include "tokenizer/tokenizer.h"

namespace quorum::tok {
namespace {

HfTokenizerConfig Kimi() {
  HfTokenizerConfig config;
  config.tokenizer_class = "TikTokenTokenizer";
  return config;
}

TEST_CASE("tiktoken.model gives the ids of tiktoken") {
  const nlohmann::json fixture = Fixture("tiktoken_cases.json");
  HfTokenizerConfig config = Kimi();
  config.bos_token = "[BOS]";
  config.eos_token = "[EOS]";
  TokenId first = -1;
  for (const auto& [content, id] : fixture["special"].items()) {
    config.added_tokens.push_back({.content = content, .id = id.get<TokenId>(), .control = true});
    if (content == "[BOS]") first = id.get<TokenId>();
  }
  const auto made = MakeTokenizerFromTikToken(fixture["model"].get<std::string>(), config);
  REQUIRE(made.ok());
  const Tokenizer& tokenizer = **made;
  CHECK(tokenizer.vocab_size() == first + 256);
  CHECK(tokenizer.bos() == first);
  CHECK(tokenizer.eos() == first + 1);
  CHECK(tokenizer.IsEndOfGeneration(first + 2));
  CHECK(tokenizer.TokenBytes(first + 3) == "<|reserved_token_" + std::to_string(first + 3) + "|>");
  for (std::size_t i = 0; i < fixture["texts"].size(); ++i) {
    const auto text = fixture["texts"][i].get<std::string>();
    INFO(text);
    const auto ids = tokenizer.Encode(text, {.add_special = true, .parse_special = true});
    REQUIRE(ids.ok());
    CHECK(*ids == fixture["ids"][i].get<std::vector<TokenId>>());
    CHECK(tokenizer.Decode(*ids, false) == text);
    const auto plain = tokenizer.Encode(text, {});
    REQUIRE(plain.ok());
    CHECK(*plain == fixture["plain"][i].get<std::vector<TokenId>>());
  }
}

TEST_CASE("tiktoken.model: parts are joined by the rank of what they make, whatever their split") {
  // "abc" is a + bc and ab + c; of "abcd" the lowest rank that two parts make is bc's, then abc's.
  const auto made =
      MakeTokenizerFromTikToken("YQ== 0\nYg== 1\nYw== 2\nZA== 3\nYmM= 4\nYWI= 5\nYWJj 6\r\nY2Q= 7", Kimi());
  REQUIRE(made.ok());
  CHECK((*made)->Encode("abcd", {}).value() == std::vector<TokenId>{6, 3});
  CHECK((*made)->Encode("cd", {}).value() == std::vector<TokenId>{7});
}

TEST_CASE("tiktoken.model: what is wrong is named") {
  const auto refused = [](const std::string& model, const HfTokenizerConfig& config) {
    const auto made = MakeTokenizerFromTikToken(model, config);
    REQUIRE_FALSE(made.ok());
    return made.error().message;
  };
  const std::string good = "YQ== 0\nYg== 1\n";
  CHECK(refused("", Kimi()) == "has no tokens");
  CHECK(refused(good + "YWI=", Kimi()) == "line 3 is not a token in base64 and its rank");
  CHECK(refused(good + "\n?? 2", Kimi()) == "line 4 does not begin with a token in base64");
  CHECK(refused(good + " 2", Kimi()) == "line 3 does not begin with a token in base64");
  CHECK(refused(good + "YWI= x", Kimi()) == "line 3 does not end with a rank");
  CHECK(refused(good + "YWI= 2 3", Kimi()) == "line 3 does not end with a rank");
  CHECK(refused(good + "YWI= -1", Kimi()) == "line 3 does not end with a rank");
  CHECK(refused(good + "YWI= 99999999999999999999", Kimi()) == "line 3 does not end with a rank");
  CHECK(refused(good + "YWI= 8000000", Kimi()) == "line 3 has a rank beyond the number of tokens");
  CHECK(refused(good + "YWI= 1", Kimi()) == "line 3 has a rank that another line has");
  CHECK(refused(good + "YWI= 3\n", Kimi()) == "has no token for 1 of its 4 ranks");
  CHECK(refused(good + "YQ 2", Kimi()) == "has one token at the ranks 0 and 2");
  CHECK(refused(good + std::string(1400, 'A') + " 2", Kimi()) == "line 3 has a token of more than 1,024 bytes");
  HfTokenizerConfig config = Kimi();
  config.added_tokens = {{.content = "<s>", .id = 1}};
  CHECK(refused(good, config) == "has a token of rank 1, which \"<s>\" is added as");
  config.added_tokens = {{.content = "<s>", .id = 9}};
  config.embeddings = 8;
  CHECK(MakeTokenizerFromTikToken(good, config).value()->vocab_size() == 8);  // left out, with a warning
  config.embeddings = 1;
  CHECK(refused(good, config) == "has 2 tokens, the model 1 embeddings");
  config.tokenizer_class = "QWenTokenizer";
  CHECK(refused(good, config).find("is of tokenizer_class \"QWenTokenizer\"") == 0);
  config = Kimi();
  config.embeddings = 300;
  const auto padded = MakeTokenizerFromTikToken(good, config);
  REQUIRE(padded.ok());
  CHECK((*padded)->vocab_size() == 300);
  CHECK((*padded)->IsControl(257));
  CHECK((*padded)->TokenBytes(299) == "[PAD299]");
}

}  // namespace
}  // namespace quorum::tok
