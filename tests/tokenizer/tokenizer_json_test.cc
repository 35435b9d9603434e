#include "tests/support/catch.h"
#include "tests/tokenizer/fixture.h"
#include "tokenizer/hf_config.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab_export.h"

namespace quorum::tok {
namespace {

using Ids = std::vector<TokenId>;
using nlohmann::json;

/// A tokenizer.json of a fixture case.
json Document(const json& example, const json& models) {
  json model = models[example.value("model", "byte")];
  if (example.contains("model_options")) model.update(example["model_options"]);
  json document = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}, {"model", model}};
  for (const char* key : {"added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    document[key] = example.value(key, json());
  }
  return document;
}

/// A small byte-level tokenizer.json to change and break.
json Small() {
  return json::parse(R"({
    "added_tokens": [{"id": 4, "content": "<s>", "special": true, "normalized": false}],
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [4]}}},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "vocab": {"a": 0, "b": 1, "\u0120": 2, "ab": 3},
              "merges": ["a b"]}
  })");
}

Result<std::shared_ptr<const Tokenizer>> Make(const json& document, std::string_view config = "") {
  HfTokenizerConfig read;
  if (!config.empty()) QUORUM_TRY(ReadTokenizerConfig(config, read));
  return MakeTokenizerFromJson(document.dump(), read);
}

Ids Encode(const Tokenizer& tokenizer, std::string_view text, const EncodeOptions& options = {}) {
  const auto ids = tokenizer.Encode(text, options);
  REQUIRE(ids.ok());
  return *ids;
}

void CheckRefused(const json& document, ErrorCode code, std::string_view part, std::string_view config = "") {
  const auto made = Make(document, config);
  CAPTURE(part);
  REQUIRE(!made.ok());
  CAPTURE(made.error().message);
  CHECK(made.error().code == code);
  CHECK(made.error().message.find(part) != std::string::npos);
}

TEST_CASE("tokenizer.json: ids are Hugging Face's in every pipeline") {
  const json models = Fixture("json_models.json");
  const json fixture = Fixture("json_cases.json");
  REQUIRE(fixture["cases"].size() >= 18);
  for (const auto& example : fixture["cases"]) {
    const auto made = Make(Document(example, models));
    CAPTURE(example["name"].get<std::string>());
    REQUIRE(made.ok());
    for (std::size_t i = 0; i < fixture["texts"].size(); ++i) {
      const std::string text = fixture["texts"][i];
      CAPTURE(text);
      CHECK(Encode(**made, text, {.add_special = true, .parse_special = true}) == example["ids"][i].get<Ids>());
      const Ids plain = Encode(**made, text);
      CHECK(plain == example["plain"][i].get<Ids>());
      if (example["name"] == "llama 3") CHECK((*made)->Decode(plain) == text);
      if (example["name"] == "llama 2" && !text.empty() && text.find("\xE2\x96\x81") == std::string::npos) {
        CHECK((*made)->Decode(plain) == " " + text);
      }
    }
  }
}

TEST_CASE("tokenizer.json: names, bytes, BOS and EOS") {
  const std::string config = R"({"bos_token": {"content": "<s>"}, "eos_token": "ab", "add_eos_token": true})";
  const auto made = Make(Small(), config);
  REQUIRE(made.ok());
  const Tokenizer& tokenizer = **made;
  CHECK(tokenizer.vocab_size() == 5);
  CHECK(tokenizer.bos() == 4);
  CHECK(tokenizer.eos() == 3);
  CHECK(tokenizer.IsEndOfGeneration(3));
  CHECK(tokenizer.IsControl(4));
  CHECK(tokenizer.TokenBytes(2) == " ");
  CHECK(tokenizer.FindToken("\xC4\xA0") == 2);
  // With one of the two flags in the configuration, tokenizer.json's own template no longer counts.
  CHECK(Encode(tokenizer, "ab <s>", {.add_special = true, .parse_special = true}) == Ids{3, 2, 4, 3});
  CHECK(Encode(tokenizer, "ab a b") == Ids{3, 2, 0, 2, 1});
  std::int64_t lost = 0;
  CHECK(Encode(tokenizer, "<s>a", {.bytes_without_token = &lost}) == Ids{0});  // no bytes for "<", "s" and ">"
  CHECK(lost == 3);
  const auto without = Make(Small(), R"({"bos_token": "<s>", "add_bos_token": false})");
  REQUIRE(without.ok());
  CHECK(Encode(**without, "a", {.add_special = true}) == Ids{0});
}

/// `count` times the same step in a sequence.
json Repeated(const char* key, const json& step, int count) {
  return {{"type", "Sequence"}, {key, std::vector<json>(static_cast<std::size_t>(count), step)}};
}

TEST_CASE("tokenizer.json: rules that make texts longer and longer are stopped") {
  const json letters = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  const json places = {{"type", "Replace"}, {"pattern", {{"Regex", ""}}}, {"content", "ab"}};
  const json before = {{"type", "Prepend"}, {"prepend", std::string(1000, 'a')}};
  for (const json& step : {letters, places, before}) {
    CAPTURE(step.dump());
    json document = Small();
    document["normalizer"] = Repeated("normalizers", step, 100);
    const auto made = Make(document);
    REQUIRE(made.ok());
    const auto ids = (*made)->Encode("ab", {});
    REQUIRE_FALSE(ids.ok());
    CHECK(ids.error().code == ErrorCode::kTooLarge);
    document["added_tokens"].push_back({{"id", 5}, {"content", "a"}, {"normalized", true}});
    CheckRefused(document, ErrorCode::kTooLarge, "bytes of a text");
  }
  json document = Small();
  document["pre_tokenizer"] = nullptr;
  document["decoder"] = Repeated("decoders", letters, 100);
  CheckRefused(document, ErrorCode::kTooLarge, "bytes of a text");

  const json space = {{"type", "Metaspace"}, {"replacement", "_"}};
  document = Small();
  document["pre_tokenizer"] = Repeated("pretokenizers", space, 2);
  CheckRefused(document, ErrorCode::kUnsupported, "pre_tokenizer.pretokenizers[1]: a second Metaspace");
  document["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "__"}};
  CheckRefused(document, ErrorCode::kInvalidArgument, "pre_tokenizer.replacement is not one character");

  document = Small();
  document["post_processor"]["special_tokens"]["<s>"]["ids"] = std::vector<int>(1025, 4);
  CheckRefused(document, ErrorCode::kUnsupported, "ids[1024]: a text with more than 1024 tokens beside it");
}

TEST_CASE("tokenizer.json: merges as strings or pairs") {
  json document = Small();
  document["model"]["merges"] = json::parse(R"([["a", "b"]])");
  const auto made = Make(document);
  REQUIRE(made.ok());
  CHECK(Encode(**made, "ab") == Ids{3});
}

TEST_CASE("tokenizer.json: a Unigram model joins unknown characters within a word, not across words") {
  json document = Small();
  document["model"] = {
      {"type", "Unigram"}, {"unk_id", 0}, {"vocab", json::array({{"<unk>", 0.0}, {"a", -1.0}, {" ", -2.0}})}};
  document["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
  document["post_processor"] = nullptr;
  document["decoder"] = nullptr;
  document["added_tokens"] = json::array();
  const auto made = Make(document);
  REQUIRE(made.ok());
  CHECK(Encode(**made, "xyz x axya x") == Ids{0, 0, 1, 0, 1, 0});
}

TEST_CASE("tokenizer.json: tokens of bytes that are added tokens as well stay bytes") {
  const json document = json::parse(R"({
    "added_tokens": [{"id": 0, "content": "<unk>", "special": true}, {"id": 1, "content": "<0xC3>", "special": true},
                     {"id": 2, "content": "<0xA9>", "special": true}],
    "decoder": {"type": "ByteFallback"},
    "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "merges": [],
              "vocab": {"<unk>": 0, "<0xC3>": 1, "<0xA9>": 2, "a": 3}}
  })");
  const auto made = Make(document);
  REQUIRE(made.ok());
  CHECK(Encode(**made, "a\u00e9b") == Ids{3, 1, 2, 0});
  CHECK((*made)->Decode(Ids{3, 1, 2}) == "a\u00e9");
  CHECK(Encode(**made, "<0xC3>", {.parse_special = true}) == Ids{1});
  CHECK(Encode(**made, "<0xC3>") == Ids(6, 0));
  const auto exported = VocabFromTokenizerJson(document.dump(), {});
  REQUIRE(exported.ok());
  CHECK(exported->types[1] == TokenType::kByte);
}

TEST_CASE("tokenizer.json: what is not supported is named") {
  const auto changed = [](const char* pointer, json value) {
    json document = Small();
    document[json::json_pointer(pointer)] = std::move(value);
    return document;
  };
  const auto unsupported = [](const json& document, std::string_view part) {
    CheckRefused(document, ErrorCode::kUnsupported, part);
  };
  unsupported(changed("/model/type", "WordPiece"), "model.type: \"WordPiece\"");
  unsupported(changed("/model/type", "Unigram"), "model.type: \"Unigram\" after ByteLevel");
  unsupported(changed("/model/continuing_subword_prefix", "##"), "model.continuing_subword_prefix");
  unsupported(changed("/model/end_of_word_suffix", "</w>"), "model.end_of_word_suffix");
  unsupported(changed("/model/dropout", 0.1), "model.dropout");
  unsupported(changed("/normalizer", {{"type", "Nmt"}}), "normalizer: the normalizer \"Nmt\"");
  unsupported(changed("/pre_tokenizer", {{"type", "BertPreTokenizer"}}), "\"BertPreTokenizer\"");
  unsupported(changed("/pre_tokenizer", json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "ByteLevel"}, {"type": "Metaspace"}]})")),
              "pre_tokenizer.pretokenizers[1]");
  unsupported(changed("/pre_tokenizer", json::parse(R"x({"type": "Split", "pattern": {"Regex": "(?R)"},
      "behavior": "Isolated"})x")),
              "(?R)");
  unsupported(changed("/post_processor", {{"type", "PairProcessing"}}), "\"PairProcessing\"");
  unsupported(changed("/decoder", {{"type", "WordPiece"}}), "\"WordPiece\"");
}

TEST_CASE("tokenizer.json: what is wrong is named") {
  const auto changed = [](const char* pointer, json value) {
    json document = Small();
    document[json::json_pointer(pointer)] = std::move(value);
    return document;
  };
  const auto invalid = [](const json& document, std::string_view part, std::string_view config = "") {
    CheckRefused(document, ErrorCode::kInvalidArgument, part, config);
  };
  invalid(changed("/model/vocab/a", -1), "model.vocab[\"a\"] is -1");
  invalid(changed("/model/vocab/a", "0"), "model.vocab");
  invalid(changed("/model/vocab/a", 1.5), "model.vocab");
  invalid(changed("/model/vocab/a", 1), "id 1 is both");
  invalid(changed("/model/vocab/a", 8'000'000), "ids up to 8000000");
  invalid(changed("/model/vocab/a", 99'000'000), "not a token id");
  invalid(changed("/model/vocab/a", json::object()), "model.vocab");
  invalid(changed("/model/vocab/a", json::array()), "model.vocab");
  invalid(changed("/model/vocab", json::parse(R"([["a", 0], ["b", -1], ["c"]])")),
          "model.vocab[2]: not a text and a score");
  invalid(changed("/model/vocab", json::parse(R"([["a", 0], ["b", 1, "c", 2]])")),
          "model.vocab[1]: not a text and a score");
  invalid(changed("/model/vocab", json::parse(R"([[0, "a"]])")), "model.vocab[0]: not a text and a score");
  invalid(changed("/model/vocab", json::parse(R"(["a"])")), "model.vocab[0]: not a text and a score");
  invalid(changed("/model/merges/0", "a"), "model.merges[0]");
  invalid(changed("/model/merges/0", "a b b"), "model.merges[0]");
  invalid(changed("/model/merges/0", "b a"), "model.merges[0]");
  invalid(changed("/model/merges/0", json::parse(R"(["a"])")), "model.merges[0]");
  invalid(changed("/model/merges/0", json::parse(R"(["a", "b", "b"])")), "model.merges[0]");
  invalid(changed("/model/merges/0", json::parse(R"([["a", "b"]])")), "model.merges");
  invalid(changed("/model/merges/0", 5), "model.merges");
  invalid(changed("/model/unk_token", "nope"), "model.unk_token");
  invalid(changed("/added_tokens/0/id", "x"), "added_tokens[0].id");
  invalid(changed("/added_tokens/0/id", 3), "added_tokens: id 3 is both \"ab\" and \"<s>\"");
  invalid(changed("/added_tokens/0/content", ""), "added_tokens[0].content");
  invalid(changed("/post_processor/special_tokens/<s>/ids/0", 99), "99");
  invalid(changed("/pre_tokenizer/type", 1), "pre_tokenizer.type");
  invalid(Small(), "eos_token", R"({"eos_token": "nope"})");
  invalid(Small(), "add_bos_token", R"({"add_bos_token": "yes"})");
  invalid(Small(), "bos_token.content", R"({"bos_token": {"content": 1}})");
  invalid(Small(), "added_tokens_decoder has a key \"x\"", R"({"added_tokens_decoder": {"x": {"content": "y"}}})");
  invalid(Small(), "at byte", "{");
  invalid(Small(), "not a JSON object", "[]");
  invalid(json::object(), "model.vocab");
  invalid(json::array(), "model.vocab");
}

TEST_CASE("tokenizer.json: hostile bytes give errors, not crashes") {
  const auto refused = [](const std::string& text) {
    const auto made = MakeTokenizerFromJson(text);
    REQUIRE(!made.ok());
    return made.error().message;
  };
  CHECK(refused("").find("at byte") != std::string::npos);
  CHECK(refused(std::string(1'000'000, '[')).find("64 levels") != std::string::npos);
  std::string deep;
  for (int i = 0; i < 1'000'000; ++i) deep += "{\"a\":";
  CHECK(refused(deep).find("64 levels") != std::string::npos);
  CHECK(!refused("{\"model\": {\"vocab\": {\"\xFF\": 1}}}").empty());
  CHECK(!refused("{\"model\": {\"vocab\": {\"a\": 1e999}}}").empty());
  CHECK(refused("{\"model\": {\"vocab\": {\"a\": 18446744073709551615}}}").find("not a token id") != std::string::npos);
  const std::string whole = Small().dump();
  for (std::size_t n = 0; n < whole.size(); ++n) refused(whole.substr(0, n));
}

}  // namespace
}  // namespace quorum::tok
