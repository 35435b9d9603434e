#include "tokenizer/spm.h"

#include <limits>

#include "tests/support/catch.h"
#include "tests/tokenizer/fixture.h"

namespace quorum::tok {
namespace {

VocabData SmallVocab() {
  VocabData data;
  data.model = "llama";
  data.tokens = {"<unk>",
                 "<s>",
                 "</s>",
                 "<0x41>",
                 "<0x0A>",
                 "\xE2\x96\x81",
                 "a",
                 "b",
                 "ab",
                 "\xE2\x96\x81"
                 "ab",
                 "<tool>"};
  data.types = {TokenType::kUnknown, TokenType::kControl, TokenType::kControl,    TokenType::kByte,
                TokenType::kByte,    TokenType::kNormal,  TokenType::kNormal,     TokenType::kNormal,
                TokenType::kNormal,  TokenType::kNormal,  TokenType::kUserDefined};
  data.scores = {0, 0, 0, 0, 0, -1, -2, -3, -4, -5, 0};
  data.bos = 1;
  data.eos = 2;
  data.unk = 0;
  data.add_bos = true;
  data.add_space_prefix = true;
  return data;
}

std::vector<TokenId> Ids(const Tokenizer& tokenizer, std::string_view text, const EncodeOptions& options = {}) {
  const auto ids = tokenizer.Encode(text, options);
  REQUIRE(ids.ok());
  return *ids;
}

TEST_CASE("Ids are sentencepiece's") {
  const auto fixture = Fixture("spm_cases.json");
  REQUIRE(fixture["cases"].size() >= 5);
  for (const auto& example : fixture["cases"]) {
    const auto made = MakeTokenizer(VocabFromJson(example["vocab"]));
    REQUIRE(made.ok());
    for (std::size_t i = 0; i < fixture["texts"].size(); ++i) {
      const std::string text = fixture["texts"][i];
      CAPTURE(example["name"].get<std::string>(), text);
      CHECK(Ids(**made, text) == example["ids"][i].get<std::vector<TokenId>>());
    }
  }
}

TEST_CASE("Text comes back, with the space that was put before it") {
  const auto fixture = Fixture("spm_cases.json");
  const auto& with_prefix = fixture["cases"][0];
  REQUIRE(with_prefix["name"] == "byte fallback");
  const auto made = MakeTokenizer(VocabFromJson(with_prefix["vocab"]));
  REQUIRE(made.ok());
  for (const std::string text : fixture["texts"]) {
    if (text.empty() || text.find("\xE2\x96\x81") != std::string::npos) continue;
    CHECK((*made)->Decode(Ids(**made, text)) == " " + text);
  }
  // Bytes that are no characters too.
  CHECK((*made)->Decode(Ids(**made, "a\xFF\xFE z\xE2\x82")) == " a\xFF\xFE z\xE2\x82");
}

TEST_CASE("Control tokens are cut out when asked, user-defined ones always") {
  const auto made = MakeTokenizer(SmallVocab());
  REQUIRE(made.ok());
  CHECK(Ids(**made, "ab</s>ab", {.add_special = true, .parse_special = true}) == std::vector<TokenId>{1, 9, 2, 9});
  CHECK(Ids(**made, "ab<tool>ab") == std::vector<TokenId>{9, 10, 9});
  // As text "</s>" is unknown characters, here without bytes for them.
  CHECK(Ids(**made, "ab</s>") == std::vector<TokenId>{9, 0});
  CHECK(Ids(**made, "A\n") == std::vector<TokenId>{5, 3, 4});
  CHECK((*made)->Decode(std::vector<TokenId>{1, 9, 3, 10, 2}) == " abA<tool>");
  CHECK((*made)->TokenBytes(9) == " ab");
  CHECK((*made)->IsEndOfGeneration(2));
  CHECK(!(*made)->IsEndOfGeneration(1));
}

TEST_CASE("User-defined pieces are found with spaces for U+2581") {
  VocabData data = SmallVocab();
  data.tokens[10] = "\xE2\x96\x81\xE2\x96\x81";
  data.add_space_prefix = false;
  const auto made = MakeTokenizer(data);
  REQUIRE(made.ok());
  CHECK(Ids(**made, "ab  ab") == std::vector<TokenId>{8, 10, 8});
  CHECK(Ids(**made, "ab\xE2\x96\x81\xE2\x96\x81") == std::vector<TokenId>{8, 10});
  CHECK((*made)->TokenBytes(10) == "  ");
}

TEST_CASE("Unused pieces may arise on the way, but are split again") {
  VocabData data = SmallVocab();
  data.types[8] = TokenType::kUnused;  // "ab"
  const auto made = MakeTokenizer(data);
  REQUIRE(made.ok());
  CHECK(Ids(**made, "ab") == std::vector<TokenId>{9});
  CHECK(Ids(**made, "abab") == std::vector<TokenId>{9, 6, 7});
}

TEST_CASE("Scores decide, the leftmost first among equals; unknown characters may be part of a piece") {
  VocabData data;
  data.model = "llama";
  data.tokens = {"<unk>", "\xE2\x96\x81", "a", "ab", "ba", "bab", "xa"};
  data.types.assign(7, TokenType::kNormal);
  data.types[0] = TokenType::kUnknown;
  data.scores = {0, -9, -9, -2, -1, -3, -4};
  data.unk = 0;
  const auto made = MakeTokenizer(data);
  REQUIRE(made.ok());
  CHECK(Ids(**made, "ba") == std::vector<TokenId>{4});      // b and x are no pieces
  CHECK(Ids(**made, "aba") == std::vector<TokenId>{2, 4});  // "ba" beats "ab"
  CHECK(Ids(**made, "bab") == std::vector<TokenId>{5});
  CHECK(Ids(**made, "xab") == std::vector<TokenId>{0, 3});
  CHECK(Ids(**made, "xa") == std::vector<TokenId>{6});
  CHECK(Ids(**made, "xb") == std::vector<TokenId>{0});  // unknown ones in a row count once
}

TEST_CASE("Bad scores and pieces are refused by name") {
  VocabData data = SmallVocab();
  data.scores.pop_back();
  auto made = MakeTokenizer(data);
  REQUIRE(!made.ok());
  CHECK(made.error().message.find("tokenizer.ggml.scores") != std::string::npos);
  data = SmallVocab();
  data.scores[6] = std::numeric_limits<float>::quiet_NaN();
  made = MakeTokenizer(data);
  REQUIRE(!made.ok());
  CHECK(made.error().message.find("scores[6]") != std::string::npos);
  data = SmallVocab();
  data.tokens[6].assign(1000, 'a');
  made = MakeTokenizer(data);
  REQUIRE(!made.ok());
  CHECK(made.error().message.find("tokens[6]") != std::string::npos);
}

}  // namespace
}  // namespace quorum::tok
