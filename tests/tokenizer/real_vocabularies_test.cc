// Reduced forms of published vocabularies (tests/tools/real_vocabularies.py): the ids of the reference implementations
// on the whole ones, from Hugging Face's and SentencePiece's files and from what a GGUF converter makes of them.
#include <random>
#include <unordered_map>

#include "tests/support/catch.h"
#include "tests/tokenizer/fixture.h"
#include "tokenizer/model_proto.h"

namespace quorum::tok {
namespace {

using Ids = std::vector<TokenId>;
using nlohmann::json;

/// A reduced byte-level vocabulary, whole again: texts by reduced id, and merges.
struct ByteLevelVocab {
  std::vector<std::string> tokens;
  std::vector<std::string> merges;
};

ByteLevelVocab Expand(const json& example) {
  ByteLevelVocab vocab;
  vocab.tokens = example["base"].get<std::vector<std::string>>();
  std::unordered_map<std::string, bool> known;
  for (const std::string& token : vocab.tokens) known[token] = true;
  for (const json& merge : example["merges"]) {
    const std::string left = vocab.tokens.at(merge[0]);
    const std::string right = vocab.tokens.at(merge[1]);
    vocab.merges.push_back(left + " " + right);
    if (!known[left + right]) vocab.tokens.push_back(left + right);
    known[left + right] = true;
  }
  return vocab;
}

Result<std::shared_ptr<const Tokenizer>> FromJson(const json& example) {
  const ByteLevelVocab vocab = Expand(example);
  json document = example["document"];
  json& model = document["model"];
  for (std::size_t i = 0; i < vocab.tokens.size(); ++i) model["vocab"][vocab.tokens[i]] = i;
  model["merges"] = vocab.merges;
  return MakeTokenizerFromJson(document.dump());
}

Result<std::shared_ptr<const Tokenizer>> FromGguf(const json& example) {
  ByteLevelVocab vocab = Expand(example);
  VocabData data;
  data.model = "gpt2";
  data.pre = example["pre"].get<std::string>();
  data.merges = std::move(vocab.merges);
  data.tokens = std::move(vocab.tokens);
  data.types.assign(data.tokens.size(), TokenType::kNormal);
  for (const json& added : example["document"]["added_tokens"]) {
    const auto id = added["id"].get<std::size_t>();
    if (id >= data.tokens.size()) {
      data.tokens.resize(id + 1);
      data.types.resize(id + 1, TokenType::kUnused);
    }
    data.tokens[id] = added["content"].get<std::string>();
    data.types[id] = added["special"] == true ? TokenType::kControl : TokenType::kUserDefined;
  }
  return MakeTokenizer(std::move(data));
}

Result<std::shared_ptr<const Tokenizer>> FromSpm(const json& example, bool gguf) {
  const std::string bytes = FromBase64(example["model"].get<std::string>());
  HfTokenizerConfig config;
  config.add_bos = false;
  if (!gguf) return MakeTokenizerFromSentencePiece(bytes, config);
  QUORUM_ASSIGN(const ModelProto proto, ParseModelProto(bytes));
  VocabData data;
  data.model = "llama";
  for (const ModelProto::Piece& piece : proto.pieces) {
    data.tokens.push_back(piece.text);
    data.types.push_back(piece.type);
    data.scores.push_back(piece.score);
  }
  data.unk = 0;
  data.add_space_prefix = proto.add_dummy_prefix;
  data.remove_extra_whitespaces = proto.remove_extra_whitespaces;
  return MakeTokenizer(std::move(data));
}

Ids Encode(const Tokenizer& tokenizer, const std::string& text, bool parse_special) {
  const auto ids = tokenizer.Encode(text, {.parse_special = parse_special});
  REQUIRE(ids.ok());
  return *ids;
}

void CheckCase(const Tokenizer& tokenizer, const json& example, const json& texts) {
  const auto table = example["table"].get<Ids>();
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string text = texts[i];
    for (const bool parse_special : {true, false}) {
      if (parse_special && !example.contains("ids")) continue;
      const bool same = !parse_special && example["plain"][i].is_null();
      const auto expected = example[parse_special || same ? "ids" : "plain"][i].get<Ids>();
      Ids ids = Encode(tokenizer, text, parse_special);
      for (TokenId& id : ids) id = table.at(static_cast<std::size_t>(id));
      CAPTURE(text, parse_special);
      CHECK(ids == expected);
    }
  }
}

TEST_CASE("Real vocabularies: ids are those of the reference implementation") {
  const json fixture = Fixture("real_vocabularies.json");
  REQUIRE(fixture["cases"].size() >= 11);
  for (const json& example : fixture["cases"]) {
    const std::string name = example["name"];
    CAPTURE(name);
    const bool spm = example.contains("model");
    const auto made = spm ? FromSpm(example, false) : FromJson(example);
    REQUIRE(made.ok());
    CheckCase(**made, example, fixture["texts"]);
    if (example["pre"].is_null()) continue;
    const auto gguf = spm ? FromSpm(example, true) : FromGguf(example);
    CAPTURE(example["pre"].get<std::string>());
    REQUIRE(gguf.ok());
    CheckCase(**gguf, example, fixture["texts"]);
  }
}

TEST_CASE("Real vocabularies: any bytes come back") {
  const json fixture = Fixture("real_vocabularies.json");
  std::mt19937 random(11);
  const auto number = [&random](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  for (const json& example : fixture["cases"]) {
    const bool spm = example.contains("model");
    const auto made = spm ? FromSpm(example, false) : FromJson(example);
    REQUIRE(made.ok());
    // NFC could compose what happens to be characters; bytes from F8 on never are.
    const bool nfc = !spm && !example["document"]["normalizer"].is_null();
    // GPT-NeoX and Falcon have no tokens for bytes that UTF-8 never uses.
    const bool lacks_bytes = example["name"] == "gpt-neox" || example["name"] == "falcon";
    for (int i = 0; i < 60; ++i) {
      std::string text(static_cast<std::size_t>(number(1, 40)), '\0');
      for (char& c : text) c = static_cast<char>(number(0, 3) == 0 ? number(nfc ? 0xF8 : 0x80, 0xFF) : number(0, 0x7F));
      if (i % 3 == 0) text += "\xE2\x82";  // the beginning of a character
      CAPTURE(example["name"].get<std::string>(), text);
      std::int64_t lost = 0;
      const auto ids = (*made)->Encode(text, {.bytes_without_token = &lost});
      REQUIRE(ids.ok());
      const std::string back = (*made)->Decode(*ids, false);
      CHECK((lost == 0 || lacks_bytes));
      // SentencePiece puts a space before a text that begins with a character.
      if (lost == 0) CHECK((back == text || (spm && back == " " + text)));
    }
  }
}

}  // namespace
}  // namespace quorum::tok
