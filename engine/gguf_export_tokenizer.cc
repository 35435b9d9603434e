// WriteGgufTokenizer: the text side of gguf_export.h.
#include <filesystem>
#include <optional>
#include <string_view>

#include "engine/base/mapped_file.h"
#include "engine/gguf_export.h"
#include "engine/load_tokenizer.h"
#include "engine/tokenizer_files.h"
#include "tokenizer/vocab_export.h"

namespace quorum::engine {
namespace {

Result<tok::VocabData> VocabOf(const std::string& folder, const tok::HfTokenizerConfig& config) {
  const auto read = [&](const char* name) -> Result<std::optional<MappedFile>> {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(folder + name, ignored)) return std::optional<MappedFile>();
    QUORUM_ASSIGN(MappedFile file, MappedFile::Open(folder + name));
    return std::optional<MappedFile>(std::move(file));
  };
  const auto text = [](const MappedFile& file) {
    return std::string_view(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  };
  QUORUM_ASSIGN(const std::optional<MappedFile> json, read("/tokenizer.json"));
  std::optional<tok::VocabData> vocab;
  if (json) {
    QUORUM_ASSIGN(vocab, tok::VocabFromTokenizerJson(text(*json), config));
    if (vocab->model == "gpt2") return *std::move(vocab);
  }
  for (const char* name : {"/tokenizer.model", "/spiece.model"}) {  // with the scores themselves
    QUORUM_ASSIGN(const std::optional<MappedFile> model, read(name));
    if (model) return tok::VocabFromSentencePiece(text(*model), config);
  }
  if (vocab) return *std::move(vocab);
  QUORUM_ASSIGN(const std::optional<MappedFile> ranks, read("/tiktoken.model"));
  if (ranks) return tok::VocabFromTikToken(text(*ranks), config);
  return NotFound(folder + " has no tokenizer");
}

}  // namespace

Result<bool> WriteGgufTokenizer(const std::string& folder, std::int64_t embeddings, quant::GgufWriter& writer) {
  const Result<LoadedTokenizer> loaded = LoadTokenizerFromFolder(folder, embeddings);
  if (!loaded.ok() && loaded.error().code == ErrorCode::kNotFound) return false;
  if (!loaded.ok()) return loaded.error();
  QUORUM_ASSIGN(const tok::HfTokenizerConfig config, ReadTokenizerFiles(folder, embeddings));
  QUORUM_ASSIGN(tok::VocabData vocab, VocabOf(folder, config));
  if (const Status done = tok::CompleteLike(*loaded->tokenizer, vocab); !done.ok()) {
    return Error{done.error().code, folder + ": " + done.error().message, {}, {}};
  }
  writer.SetString("tokenizer.ggml.model", vocab.model);
  if (!vocab.pre.empty()) writer.SetString("tokenizer.ggml.pre", vocab.pre);
  writer.SetStrings("tokenizer.ggml.tokens", vocab.tokens);
  if (!vocab.scores.empty()) writer.SetFloat32s("tokenizer.ggml.scores", vocab.scores);
  std::vector<std::int32_t> types;
  for (const tok::TokenType type : vocab.types) types.push_back(static_cast<std::int32_t>(type));
  writer.SetInt32s("tokenizer.ggml.token_type", types);
  if (vocab.model == "gpt2") writer.SetStrings("tokenizer.ggml.merges", vocab.merges);  // also where there are none
  const auto id = [&](std::string_view key, const std::optional<tok::TokenId>& token) {
    if (token) writer.SetUint32(key, static_cast<std::uint32_t>(*token));
  };
  id("tokenizer.ggml.bos_token_id", vocab.bos);
  id("tokenizer.ggml.eos_token_id", vocab.eos);
  id("tokenizer.ggml.unknown_token_id", vocab.unk);
  id("tokenizer.ggml.padding_token_id", vocab.pad);
  // Where a reply may end in further ways, the first of them is a turn's end to GGUF's readers.
  for (const tok::TokenId end : config.end_of_generation) {
    if (end == vocab.eos || end < 0 || end >= std::ssize(vocab.tokens)) continue;
    id("tokenizer.ggml.eot_token_id", end);
    break;
  }
  writer.SetBool("tokenizer.ggml.add_bos_token", vocab.add_bos);
  writer.SetBool("tokenizer.ggml.add_eos_token", vocab.add_eos);
  if (vocab.model != "gpt2") {
    writer.SetBool("tokenizer.ggml.add_space_prefix", vocab.add_space_prefix);
    writer.SetBool("tokenizer.ggml.remove_extra_whitespaces", vocab.remove_extra_whitespaces);
    if (!vocab.chars_map.empty()) {
      std::string array(12, '\0');  // of uint8 (0), with the count in eight bytes
      for (std::size_t i = 0; i < 8; ++i) array[4 + i] = static_cast<char>(vocab.chars_map.size() >> (8 * i));
      array += vocab.chars_map;
      writer.SetRaw("tokenizer.ggml.precompiled_charsmap", quant::GgufType::kArray, std::as_bytes(std::span(array)));
    }
  }
  if (!loaded->chat_template.empty()) writer.SetString("tokenizer.chat_template", loaded->chat_template);
  if (!loaded->tool_template.empty()) writer.SetString("tokenizer.chat_template.tool_use", loaded->tool_template);
  return true;
}

}  // namespace quorum::engine
