#include "tokenizer/sentencepiece_model.h"

#include <algorithm>
#include <limits>
#include <random>

#include "tests/support/catch.h"
#include "tests/tokenizer/fixture.h"
#include "tokenizer/model_proto.h"

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

/// What a converter puts into a GGUF file for a tokenizer.model.
VocabData GgufVocab(const ModelProto& proto) {
  VocabData data;
  data.model = proto.kind == ModelProto::Kind::kUnigram ? "t5" : "llama";
  for (const ModelProto::Piece& piece : proto.pieces) {
    data.tokens.push_back(piece.text);
    data.types.push_back(piece.type);
    data.scores.push_back(piece.score);
  }
  data.unk = proto.unk_id;
  data.add_space_prefix = proto.add_dummy_prefix;
  data.remove_extra_whitespaces = proto.remove_extra_whitespaces;
  data.chars_map = proto.chars_map;
  return data;
}

TEST_CASE("Ids are sentencepiece's, from a tokenizer.model and from a GGUF vocabulary") {
  const auto fixture = Fixture("spm_cases.json");
  REQUIRE(fixture["cases"].size() >= 12);
  std::size_t ties = 0;
  for (const auto& example : fixture["cases"]) {
    const std::string name = example["name"];
    const std::string model = FromBase64(example["model"].get<std::string>());
    HfTokenizerConfig config;
    config.add_bos = false;
    config.add_eos = false;
    const auto made = MakeTokenizerFromSentencePiece(model, config);
    REQUIRE(made.ok());
    const auto proto = ParseModelProto(model);
    REQUIRE(proto.ok());
    // GGUF cannot say these two; user-defined symbols are cut out of the text there.
    const bool in_gguf = name != "unigram, suffix" && name != "unigram, symbols" && name != "bpe, mapped";
    const auto gguf = MakeTokenizer(GgufVocab(*proto));
    REQUIRE(gguf.ok());
    for (std::size_t i = 0; i < fixture["texts"].size(); ++i) {
      const std::string text = fixture["texts"][i];
      CAPTURE(name, text);
      auto expected = example["ids"][i].get<std::vector<TokenId>>();
      auto ids = Ids(**made, text);
      if (in_gguf) CHECK(Ids(**gguf, text) == ids);
      if (proto->kind == ModelProto::Kind::kUnigram && ids != expected) {
        // "9" + "99" and "99" + "9" have the same score; which one wins is a matter of how a release adds floats.
        ++ties;
        std::sort(ids.begin(), ids.end());
        std::sort(expected.begin(), expected.end());
      }
      CHECK(ids == expected);
    }
  }
  CHECK(ties < 20);
}

TEST_CASE("Text comes back, with the space that was put before it") {
  const auto fixture = Fixture("spm_cases.json");
  const auto& with_prefix = fixture["cases"][0];
  REQUIRE(with_prefix["name"] == "byte fallback");
  const auto made = MakeTokenizerFromSentencePiece(FromBase64(with_prefix["model"].get<std::string>()));
  REQUIRE(made.ok());
  for (const std::string text : fixture["texts"]) {
    if (text.empty() || text.find("\xE2\x96\x81") != std::string::npos) continue;
    CHECK((*made)->Decode(Ids(**made, text)) == " " + text);
  }
  // Bytes that are no characters too; text after them goes on without a space.
  CHECK((*made)->Decode(Ids(**made,
                            "a\xFF\xFE"
                            "b z\xE2\x82")) ==
        " a\xFF\xFE"
        "b z\xE2\x82");
}

TEST_CASE("tokenizer.model: names, ends and added tokens follow the files beside it") {
  const auto fixture = Fixture("spm_cases.json");
  const std::string model = FromBase64(fixture["cases"][0]["model"].get<std::string>());
  const auto plain = MakeTokenizerFromSentencePiece(model);
  REQUIRE(plain.ok());
  const TokenId size = (*plain)->vocab_size();
  CHECK((*plain)->bos() == 1);
  CHECK((*plain)->eos() == 2);
  CHECK((*plain)->IsEndOfGeneration(2));
  const auto with_bos = Ids(**plain, "a", {.add_special = true});
  REQUIRE(with_bos.size() > 1);
  CHECK(with_bos.front() == 1);
  CHECK(with_bos.back() != 2);

  HfTokenizerConfig config;
  config.eos_token = "<|end|>";
  config.add_eos = true;
  config.legacy = false;
  config.added_tokens = {{.content = "<|end|>", .id = size + 1, .control = true},
                         {.content = "<think>", .id = size, .right_strip = true},
                         {.content = "<s>", .id = 1, .control = true}};
  config.end_of_generation = {size};
  config.embeddings = size + 10;
  const auto made = MakeTokenizerFromSentencePiece(model, config);
  REQUIRE(made.ok());
  const Tokenizer& tokenizer = **made;
  CHECK(tokenizer.vocab_size() == size + 10);
  CHECK(tokenizer.eos() == size + 1);
  CHECK(tokenizer.IsEndOfGeneration(size));
  CHECK(tokenizer.IsControl(size + 1));
  CHECK(tokenizer.TokenBytes(size) == "<think>");
  const auto ids = Ids(tokenizer, "the<think>  the<|end|>", {.add_special = true, .parse_special = true});
  const TokenId word = *tokenizer.FindToken("\xE2\x96\x81the");
  // With legacy false no space goes before a text that follows a token.
  CHECK(ids.front() == 1);
  CHECK(ids[1] == word);
  CHECK(ids[2] == size);
  CHECK(ids[3] != word);
  CHECK(tokenizer.Decode(ids, false) == "<s> the<think>the<|end|><|end|>");
  config.legacy = true;
  const auto legacy = MakeTokenizerFromSentencePiece(model, config);
  REQUIRE(legacy.ok());
  CHECK(Ids(**legacy, "the<think>  the", {}) == std::vector<TokenId>{word, size, word});
  // Names of control tokens in a user's text stay text.
  for (const TokenId id : Ids(tokenizer, "a <|end|> <s> b")) CHECK(!tokenizer.IsControl(id));

  config.embeddings = size;
  CHECK(!MakeTokenizerFromSentencePiece(model, config).ok());
  config.embeddings = 0;
  config.added_tokens = {{.content = "other", .id = 1}};
  const auto clash = MakeTokenizerFromSentencePiece(model, config);
  REQUIRE(!clash.ok());
  CHECK(clash.error().message.find("\"other\" has the id 1") != std::string::npos);
}

TEST_CASE("tokenizer.model: a broken file is refused with the place") {
  const auto fixture = Fixture("spm_cases.json");
  const std::string model = FromBase64(fixture["cases"][8]["model"].get<std::string>());
  REQUIRE(ParseModelProto(model)->chars_map.size() > 100);
  REQUIRE(MakeTokenizerFromSentencePiece(model).ok());
  for (std::size_t n = 0; n < model.size(); n += 1 + n / 64) {
    const auto cut = MakeTokenizerFromSentencePiece(std::string_view(model).substr(0, n));
    if (!cut.ok()) CHECK(!cut.error().message.empty());
  }
  const auto refused = [](const std::string& bytes) {
    const auto made = MakeTokenizerFromSentencePiece(bytes);
    REQUIRE(!made.ok());
    return made.error().message;
  };
  CHECK(refused("").find("no pieces") != std::string::npos);
  CHECK(refused("{\"version\": 1}").find("not a SentencePiece model") != std::string::npos);
  CHECK(refused(std::string("\x0A\x7F", 2)).find("goes over the end") != std::string::npos);
  // The character map: every single damage is either harmless or found.
  const ModelProto proto = *ParseModelProto(model);
  const auto with_unit = [&](std::size_t index, std::uint32_t mask) {
    ModelProto damaged = proto;
    for (std::size_t i = 0; i < 4; ++i) damaged.chars_map[4 + 4 * index + i] ^= static_cast<char>(mask >> (8 * i));
    return SerializeModelProto(damaged);
  };
  CHECK(refused(with_unit(0, 0x80000000U)).find("root that is a value") != std::string::npos);
  std::uint32_t trie_bytes = 0;
  std::memcpy(&trie_bytes, proto.chars_map.data(), sizeof trie_bytes);
  std::size_t rules = 0;
  for (std::uint32_t i = 0; i < trie_bytes / 4 && rules < 3; ++i) {
    std::uint32_t unit = 0;
    std::memcpy(&unit, proto.chars_map.data() + 4 + 4 * std::size_t{i}, sizeof unit);
    if ((unit & 0x80000100U) != 0x100U) continue;  // no value hangs below it
    const std::uint32_t value = i ^ ((unit >> 10) << ((unit & 0x200U) >> 6));
    CHECK(refused(with_unit(value, 0x80000000U)).find("rule without a value") != std::string::npos);
    ++rules;
  }
  CHECK(rules == 3);
  std::mt19937 random(3);
  int found = 0;
  for (int i = 0; i < 200; ++i) {
    ModelProto damaged = proto;
    const std::size_t at = std::uniform_int_distribution<std::size_t>(0, proto.chars_map.size() - 1)(random);
    damaged.chars_map[at] = static_cast<char>(std::uniform_int_distribution<int>(0, 255)(random));
    const auto made = MakeTokenizerFromSentencePiece(SerializeModelProto(damaged));
    if (!made.ok()) {
      ++found;
      CHECK(made.error().message.find("character map") != std::string::npos);
    } else {
      CHECK((*made)->Encode("ﬁ ½ ①ＡＢ e\xCC\x81 x", {}).ok());
    }
  }
  CHECK(found > 5);
}

TEST_CASE("A long text of unknown characters takes no quadratic time") {
  const auto fixture = Fixture("spm_cases.json");
  const auto& example = fixture["cases"][6];
  REQUIRE(example["name"] == "unigram");
  const auto made = MakeTokenizerFromSentencePiece(FromBase64(example["model"].get<std::string>()));
  REQUIRE(made.ok());
  std::string text;
  for (int i = 0; i < 300'000; ++i) text += "\xF0\x93\x80\x80";  // an Egyptian hieroglyph
  const auto ids = Ids(**made, text);
  CHECK(ids.size() == 2);  // the space and one unknown token
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
  CHECK(made.error().message.find("piece 6") != std::string::npos);
  data = SmallVocab();
  data.tokens[6].assign(1000, 'a');
  made = MakeTokenizer(data);
  REQUIRE(!made.ok());
  CHECK(made.error().message.find("piece 6") != std::string::npos);
}

}  // namespace
}  // namespace quorum::tok
