// Tokenizers of Hugging Face folders, and of GGUF files with a unigram vocabulary.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

#include "engine/gguf_export.h"
#include "engine/load_tokenizer.h"
#include "quant/gguf.h"
#include "quant/gguf_writer.h"
#include "tests/support/catch.h"
#include "tests/tokenizer/vocab_file.h"
#include "tokenizer/model_proto.h"

namespace quorum::engine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// A model folder that goes away with the object.
class ModelFolder {
 public:
  ModelFolder() : path_(fs::temp_directory_path() / ("quorum-folder-" + std::to_string(::getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~ModelFolder() { fs::remove_all(path_); }
  ModelFolder(const ModelFolder&) = delete;
  ModelFolder& operator=(const ModelFolder&) = delete;

  void Write(const std::string& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  std::string path() const { return path_.string(); }
  Result<LoadedTokenizer> Load(std::int64_t embeddings = 0) const {
    return LoadTokenizerFromFolder(path_.string(), embeddings);
  }
  std::string Refused() const {
    const auto loaded = Load();
    REQUIRE(!loaded.ok());
    CHECK(loaded.error().message.find(path_.string()) == 0);
    return loaded.error().message.substr(path_.string().size());
  }

 private:
  fs::path path_;
};

constexpr const char* kTokenizerJson = R"({
  "added_tokens": [{"id": 4, "content": "<s>", "special": true}, {"id": 5, "content": "<|end|>", "special": true}],
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
  "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
      {"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {"<s>": {"id": "<s>", "ids": [4]}}},
  "decoder": {"type": "ByteLevel"},
  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "\u0120": 2, "ab": 3}, "merges": ["a b"]}
})";

std::vector<tok::TokenId> Encode(const LoadedTokenizer& loaded, std::string_view text) {
  const auto ids = loaded.tokenizer->Encode(text, {.add_special = true, .parse_special = true});
  REQUIRE(ids.ok());
  return *ids;
}

TEST_CASE("A folder's tokenizer.json alone is enough") {
  const ModelFolder folder;
  folder.Write("tokenizer.json", kTokenizerJson);
  const auto loaded = folder.Load(8);
  REQUIRE(loaded.ok());
  CHECK(loaded->tokenizer->vocab_size() == 8);
  CHECK(Encode(*loaded, "ab<|end|>") == std::vector<tok::TokenId>{4, 3, 5});
  CHECK(loaded->tokenizer->TokenBytes(7).empty());
  CHECK(loaded->tokenizer->IsEndOfGeneration(5));  // by its name
  CHECK_FALSE(loaded->tokenizer->IsEndOfGeneration(3));
  CHECK(loaded->chat_template.empty());
  CHECK(loaded->bos_token.empty());
  const auto tight = folder.Load(3);
  REQUIRE(!tight.ok());
  CHECK(tight.error().message.find("tokenizer.json: the vocabulary has 4 entries, but there are only 3") !=
        std::string::npos);
  // An added token without an embedding, as fine-tunes have for padding, is plain text.
  const auto padded = folder.Load(5);
  REQUIRE(padded.ok());
  CHECK(padded->tokenizer->vocab_size() == 5);
  CHECK_FALSE(Encode(*padded, "ab<|end|>").back() == 5);
}

TEST_CASE("The files beside it give names, ends of generation and templates") {
  const ModelFolder folder;
  folder.Write("tokenizer.json", kTokenizerJson);
  folder.Write("tokenizer_config.json",
               R"({"eos_token": {"content": "<|end|>", "lstrip": false}, "add_bos_token": false,
                   "chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]})");
  folder.Write("special_tokens_map.json", R"({"bos_token": "<s>", "eos_token": "ab"})");
  folder.Write("generation_config.json", R"({"eos_token_id": [5, 1]})");
  folder.Write("config.json", R"({"eos_token_id": 0, "model_type": "x"})");
  auto loaded = folder.Load();
  REQUIRE(loaded.ok());
  CHECK(loaded->bos_token == "<s>");
  CHECK(loaded->eos_token == "<|end|>");  // tokenizer_config.json wins
  CHECK(Encode(*loaded, "a") == std::vector<tok::TokenId>{0});
  for (const tok::TokenId id : {0, 1, 5}) CHECK(loaded->tokenizer->IsEndOfGeneration(id));
  CHECK_FALSE(loaded->tokenizer->IsEndOfGeneration(3));
  CHECK(loaded->chat_template == "D");
  CHECK(loaded->tool_template == "T");

  folder.Write("additional_chat_templates/tool_use.jinja", "file T");
  folder.Write("chat_template.jinja", "file D");
  loaded = folder.Load();
  REQUIRE(loaded.ok());
  CHECK(loaded->chat_template == "file D");
  CHECK(loaded->tool_template == "file T");
}

TEST_CASE("A template in chat_template.json counts where there is no other") {
  const ModelFolder folder;
  folder.Write("tokenizer.json", kTokenizerJson);
  folder.Write("chat_template.json", R"({"chat_template": "J"})");
  CHECK(folder.Load()->chat_template == "J");
  folder.Write("tokenizer_config.json", R"({"chat_template": "C"})");
  CHECK(folder.Load()->chat_template == "C");
}

TEST_CASE("A folder with a SentencePiece model") {
  const json fixture = json::parse(tok::ReadFile(std::string(QUORUM_FIXTURES) + "/tokenizer/spm_cases.json"));
  const ModelFolder folder;
  folder.Write("tokenizer.model", tok::FromBase64(fixture["cases"][0]["model"].get<std::string>()));
  folder.Write("added_tokens.json", R"({"<|im_end|>": 680})");
  folder.Write("tokenizer_config.json", R"({"add_bos_token": true, "legacy": true})");
  const auto loaded = folder.Load(1000);
  REQUIRE(loaded.ok());
  CHECK(loaded->bos_token == "<s>");
  CHECK(loaded->eos_token == "</s>");
  CHECK(loaded->tokenizer->vocab_size() == 1000);
  CHECK(loaded->tokenizer->IsEndOfGeneration(680));
  const std::string text = fixture["texts"][0];
  std::vector<tok::TokenId> expected = {1};
  for (const auto& id : fixture["cases"][0]["ids"][0]) expected.push_back(id.get<tok::TokenId>());
  CHECK(Encode(*loaded, text) == expected);
}

TEST_CASE("A GGUF vocabulary of T5's kind: scores, types and a character map") {
  const json fixture = json::parse(tok::ReadFile(std::string(QUORUM_FIXTURES) + "/tokenizer/spm_cases.json"));
  const json& example = fixture["cases"][8];
  REQUIRE(example["name"] == "unigram, mapped");
  const auto proto = tok::ParseModelProto(tok::FromBase64(example["model"].get<std::string>()));
  REQUIRE(proto.ok());
  quant::GgufWriter writer;
  writer.SetString("general.architecture", "t5");
  writer.SetString("tokenizer.ggml.model", "t5");
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<std::int32_t> types;
  for (const auto& piece : proto->pieces) {
    tokens.push_back(piece.text);
    scores.push_back(piece.score);
    types.push_back(static_cast<std::int32_t>(piece.type));
  }
  writer.SetStrings("tokenizer.ggml.tokens", tokens);
  writer.SetFloat32s("tokenizer.ggml.scores", scores);
  writer.SetInt32s("tokenizer.ggml.token_type", types);
  writer.SetInt32s("tokenizer.ggml.precompiled_charsmap",
                   std::vector<std::int32_t>(proto->chars_map.begin(), proto->chars_map.end()));
  writer.SetUint32("tokenizer.ggml.eos_token_id", 2);
  writer.SetUint32("tokenizer.ggml.unknown_token_id", 0);
  writer.SetString("tokenizer.chat_template", "D");
  writer.SetString("tokenizer.chat_template.tool_use", "T");
  const auto bytes = writer.ToBytes();
  REQUIRE(bytes.ok());
  const auto file = quant::GgufFile::Parse(*bytes, "t5.gguf");
  REQUIRE(file.ok());
  const auto loaded = LoadTokenizer(*file);
  REQUIRE(loaded.ok());
  CHECK(loaded->chat_template == "D");
  CHECK(loaded->tool_template == "T");
  // As T5's own files say where the GGUF does not: EOS at the end, extra spaces removed.
  const auto ids = Encode(*loaded, "  \xEF\xBC\xA6\xEF\xBC\xB5  x ");
  CHECK(ids.back() == 2);
  CHECK(loaded->tokenizer->Decode(ids) == " FU x");

  writer.SetInt32s("tokenizer.ggml.precompiled_charsmap", {1, 2, 3});
  const auto short_map = writer.ToBytes();
  REQUIRE(short_map.ok());
  const auto refused = LoadTokenizer(*quant::GgufFile::Parse(*short_map, "t5.gguf"));
  REQUIRE(!refused.ok());
  CHECK(refused.error().message == "t5.gguf: the character map is shorter than its header");
}

TEST_CASE("Ends of generation that are none, of another vocabulary, or of the decoder inside a model") {
  const ModelFolder folder;
  folder.Write("tokenizer.json", kTokenizerJson);
  folder.Write("generation_config.json", R"({"eos_token_id": [1, 99, -1]})");
  folder.Write("config.json", R"({"text_config": {"eos_token_id": 0}})");
  const auto loaded = folder.Load();
  REQUIRE(loaded.ok());
  for (const tok::TokenId id : {0, 1}) CHECK(loaded->tokenizer->IsEndOfGeneration(id));
  CHECK_FALSE(loaded->tokenizer->IsEndOfGeneration(3));
}

TEST_CASE("A GGUF vocabulary of Llama's kind without kinds, scores and ids") {
  quant::GgufWriter writer;
  writer.SetString("tokenizer.ggml.model", "llama");
  writer.SetStrings("tokenizer.ggml.tokens",
                    {"<unk>", "<s>", "</s>", "<0x0A>", "<0x41>", "\u2581", "a", "b", "\u2581a", "ab"});
  const auto bytes = writer.ToBytes();
  REQUIRE(bytes.ok());
  const auto file = quant::GgufFile::Parse(*bytes, "old.gguf");
  REQUIRE(file.ok());
  const auto loaded = LoadTokenizer(*file);
  REQUIRE(loaded.ok());
  CHECK(Encode(*loaded, "ab\nA") == std::vector<tok::TokenId>{1, 8, 7, 3, 4});  // the leftmost of equal merges
  CHECK(loaded->tokenizer->IsEndOfGeneration(2));
  CHECK(loaded->tokenizer->IsControl(1));
}

TEST_CASE("A folder's vocabulary is written as GGUF's: without merges, and what its template puts around a text") {
  const ModelFolder folder;
  json document = json::parse(kTokenizerJson);
  document["model"]["merges"] = json::array();
  document["model"]["vocab"] = {{"a", 0}, {"b", 1}, {"\u0120", 2}, {"c", 3}};
  folder.Write("tokenizer.json", document.dump());  // nothing beside it says that <s> is BOS
  const auto write = [&]() -> Result<LoadedTokenizer> {
    quant::GgufWriter writer;
    QUORUM_ASSIGN(const bool written, WriteGgufTokenizer(folder.path(), 6, writer));
    CHECK(written);
    QUORUM_TRY(writer.Write(folder.path() + "/vocab.gguf", true));
    QUORUM_ASSIGN(const quant::GgufFile file, quant::GgufFile::Open(folder.path() + "/vocab.gguf"));
    return LoadTokenizer(file);
  };
  const auto loaded = write();
  REQUIRE(loaded.ok());
  CHECK(Encode(*loaded, "ab") == std::vector<tok::TokenId>{4, 0, 1});
  CHECK(Encode(*folder.Load(6), "ab") == std::vector<tok::TokenId>{4, 0, 1});
  folder.Write("tokenizer_config.json", R"({"bos_token": "<|end|>"})");
  const auto other = write();
  REQUIRE_FALSE(other.ok());
  CHECK(other.error().message.find("other tokens around a text than BOS and EOS") != std::string::npos);
}

TEST_CASE("A folder with tiktoken.model, and the GGUF file made of it") {
  const ModelFolder folder;
  folder.Write("tiktoken.model", "YQ== 0\nYg== 1\nIA== 2\nYWI= 3\n");
  folder.Write("tokenizer_config.json",
               R"({"tokenizer_class": "TikTokenTokenizer", "bos_token": "[BOS]", "eos_token": "[EOS]",
    "added_tokens_decoder": {"4": {"content": "[BOS]", "special": true}, "5": {"content": "[EOS]", "special": true},
                             "7": {"content": "<|tool|>", "special": false}}})");
  const auto loaded = folder.Load(12);
  REQUIRE(loaded.ok());
  CHECK(loaded->bos_token == "[BOS]");
  CHECK(Encode(*loaded, "ab a") == std::vector<tok::TokenId>{3, 2, 0});
  quant::GgufWriter writer;
  REQUIRE(WriteGgufTokenizer(folder.path(), 12, writer).value());
  REQUIRE(writer.Write(folder.path() + "/vocab.gguf", true).ok());
  const auto file = quant::GgufFile::Open(folder.path() + "/vocab.gguf");
  CHECK(**file->GetString("tokenizer.ggml.pre") == "kimi-k2");
  const auto again = LoadTokenizer(*file);
  REQUIRE(again.ok());
  CHECK(Encode(*again, "ab a") == std::vector<tok::TokenId>{3, 2, 0});
  for (const auto* made : {&*loaded, &*again}) {
    CHECK(made->tokenizer->vocab_size() == 12);
    CHECK(made->tokenizer->Encode("ab[EOS]<|tool|>", {.parse_special = true}).value() ==
          std::vector<tok::TokenId>{3, 5, 7});
    CHECK(made->tokenizer->IsEndOfGeneration(5));
  }
}

TEST_CASE("What is wrong in a folder is named with file and key") {
  const ModelFolder folder;
  CHECK(folder.Refused().find("no tokenizer.json, tokenizer.model, spiece.model or tiktoken.model") !=
        std::string::npos);
  folder.Write("tiktoken.model", "YQ== 0\n");
  CHECK(folder.Refused().find("/tiktoken.model: is of tokenizer_class \"\"") == 0);
  folder.Write("tokenizer_config.json", R"({"tokenizer_class": "TikTokenTokenizer"})");
  folder.Write("tiktoken.model", "YQ== 0\nYg== 2\n");
  CHECK(folder.Refused() == "/tiktoken.model: has no token for 1 of its 3 ranks");
  folder.Write("tokenizer.json", "{\"model\": {\"vocab\": {\"a\": -1}}}");
  CHECK(folder.Refused() == "/tokenizer.json: model.vocab[\"a\"] is -1, not a token id");
  folder.Write("tokenizer.json", R"({"model": {"type": "WordPiece", "vocab": {"a": 0}}})");
  CHECK(folder.Refused() == "/tokenizer.json: model.type: \"WordPiece\" is not supported");
  folder.Write("tokenizer.json", kTokenizerJson);
  folder.Write("generation_config.json", R"({"eos_token_id": "x"})");
  CHECK(folder.Refused() == "/generation_config.json: eos_token_id is not a whole number");
  folder.Write("tokenizer_config.json", "[1]");
  CHECK(folder.Refused() == "/tokenizer_config.json: is not a JSON object");
  folder.Write("tokenizer_config.json", R"({"chat_template": [{"name": "default"}]})");
  CHECK(folder.Refused().find("/generation_config.json") == 0);
  folder.Write("generation_config.json", "{}");
  CHECK(folder.Refused() == "/tokenizer_config.json: chat_template[0].template is not a string");
  folder.Write("tokenizer_config.json", "{");
  CHECK(folder.Refused().find("/tokenizer_config.json: at byte 2") == 0);
}

}  // namespace
}  // namespace quorum::engine
