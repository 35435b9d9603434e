#include "engine/load_tokenizer.h"

#include <cmath>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "engine/base/log.h"

namespace quorum::engine {
namespace {

/// The id under `key`, checked against the vocabulary. Some converters write -1 for "none".
Result<std::optional<tok::TokenId>> ReadId(const quant::GgufFile& file, std::string_view key, std::size_t vocab) {
  QUORUM_ASSIGN(const std::optional<std::int64_t> id, file.GetInt(key));
  if (!id || *id == -1 || *id == 0xffffffff) return std::optional<tok::TokenId>();
  if (*id < 0 || *id >= static_cast<std::int64_t>(vocab)) {
    return InvalidArgument(
        fmt::format("{}: key '{}' is {}, outside the vocabulary of {}", file.path(), key, *id, vocab));
  }
  return std::optional<tok::TokenId>(static_cast<tok::TokenId>(*id));
}

Status ReadEntries(const quant::GgufFile& file, tok::VocabData& vocab) {
  QUORUM_ASSIGN(const std::vector<std::string>* tokens, file.GetStrings("tokenizer.ggml.tokens"));
  if (tokens == nullptr || tokens->empty()) {
    return InvalidArgument(file.path() + ": key 'tokenizer.ggml.tokens' is missing: the file has no vocabulary");
  }
  vocab.tokens = *tokens;
  QUORUM_ASSIGN(const std::vector<std::int64_t> types, file.GetInts("tokenizer.ggml.token_type"));
  for (const std::int64_t type : types) {
    if (type < 0 || type > 6) {
      return InvalidArgument(
          fmt::format("{}: key 'tokenizer.ggml.token_type' has an entry {}, expected 0 to 6", file.path(), type));
    }
    vocab.types.push_back(type == 0 ? tok::TokenType::kNormal : static_cast<tok::TokenType>(type));  // 0: undefined
  }
  QUORUM_ASSIGN(const std::vector<double> scores, file.GetFloats("tokenizer.ggml.scores"));
  for (const double score : scores) vocab.scores.push_back(static_cast<float>(score));
  for (const auto& [key, size] :
       {std::pair<std::string_view, std::size_t>{"token_type", vocab.types.size()}, {"scores", vocab.scores.size()}}) {
    if (size != 0 && size != vocab.tokens.size()) {
      return InvalidArgument(fmt::format("{}: key 'tokenizer.ggml.{}' has {} entries for {} tokens", file.path(), key,
                                         size, vocab.tokens.size()));
    }
  }
  QUORUM_ASSIGN(const std::vector<std::string>* merges, file.GetStrings("tokenizer.ggml.merges"));
  if (merges != nullptr) vocab.merges = *merges;
  if (merges == nullptr && vocab.model == "gpt2") {
    return InvalidArgument(file.path() +
                           ": key 'tokenizer.ggml.merges' is missing, without which no text becomes words");
  }
  return {};
}

/// Old files of Llama do not say which tokens are which; llama.cpp takes SentencePiece's usual ids then.
Status ReadIds(const quant::GgufFile& file, tok::VocabData& vocab) {
  const std::size_t size = vocab.tokens.size();
  const auto read = [&](std::string_view key, tok::TokenId usual) -> Result<std::optional<tok::TokenId>> {
    if (file.metadata().contains(key) || vocab.model != "llama" || size < 3) return ReadId(file, key, size);
    return std::optional<tok::TokenId>(usual);
  };
  QUORUM_ASSIGN(vocab.unk, read("tokenizer.ggml.unknown_token_id", 0));
  QUORUM_ASSIGN(vocab.bos, read("tokenizer.ggml.bos_token_id", 1));
  QUORUM_ASSIGN(vocab.eos, read("tokenizer.ggml.eos_token_id", 2));
  QUORUM_ASSIGN(vocab.eot, ReadId(file, "tokenizer.ggml.eot_token_id", size));
  QUORUM_ASSIGN(vocab.pad, ReadId(file, "tokenizer.ggml.padding_token_id", size));
  QUORUM_ASSIGN(const std::optional<tok::TokenId> eom, ReadId(file, "tokenizer.ggml.eom_token_id", size));
  if (eom) vocab.more_end_of_generation.push_back(*eom);
  QUORUM_ASSIGN(const std::optional<bool> add_bos, file.GetBool("tokenizer.ggml.add_bos_token"));
  vocab.add_bos = add_bos.value_or(vocab.bos && tok::DefaultAddBos(vocab.model, vocab.pre));
  QUORUM_ASSIGN(const std::optional<bool> add_eos, file.GetBool("tokenizer.ggml.add_eos_token"));
  vocab.add_eos = add_eos.value_or(vocab.model == "t5" && vocab.eos);
  return {};
}

/// What files of Llama from before there were these keys leave out: kinds by the tokens' names and ids, equal scores.
void CompleteEntries(tok::VocabData& vocab) {
  if (vocab.model != "llama") return;
  if (vocab.scores.empty()) vocab.scores.assign(vocab.tokens.size(), 0.0F);
  if (!vocab.types.empty()) return;
  for (const std::string& token : vocab.tokens) {
    const bool byte = token.size() == 6 && token.starts_with("<0x") && token.back() == '>';
    vocab.types.push_back(byte ? tok::TokenType::kByte : tok::TokenType::kNormal);
  }
  const auto set = [&](std::optional<tok::TokenId> id, tok::TokenType type) {
    if (id) vocab.types[static_cast<std::size_t>(*id)] = type;
  };
  set(vocab.unk, tok::TokenType::kUnknown);
  set(vocab.bos, tok::TokenType::kControl);
  set(vocab.eos, tok::TokenType::kControl);
}

/// What SentencePiece's normalizer does; the defaults are its own for T5, and llama.cpp's for "llama".
Status ReadNormalizer(const quant::GgufFile& file, tok::VocabData& vocab) {
  QUORUM_ASSIGN(const std::optional<bool> space, file.GetBool("tokenizer.ggml.add_space_prefix"));
  vocab.add_space_prefix = space.value_or(vocab.model == "llama" || vocab.model == "t5");
  QUORUM_ASSIGN(const std::optional<bool> extra, file.GetBool("tokenizer.ggml.remove_extra_whitespaces"));
  vocab.remove_extra_whitespaces = extra.value_or(vocab.model == "t5");
  QUORUM_ASSIGN(const std::vector<std::int64_t> map, file.GetInts("tokenizer.ggml.precompiled_charsmap"));
  for (const std::int64_t byte : map) {
    if (byte < -128 || byte > 255) {
      return InvalidArgument(fmt::format(
          "{}: key 'tokenizer.ggml.precompiled_charsmap' has an entry {}, expected a byte", file.path(), byte));
    }
    vocab.chars_map.push_back(static_cast<char>(byte));
  }
  return {};
}

/// Embeddings without a token: such ids are never encoded to, and a sampled one has no text.
void Pad(tok::VocabData& vocab, std::size_t size) {
  if (vocab.tokens.size() >= size) return;
  if (vocab.types.empty()) vocab.types.resize(vocab.tokens.size(), tok::TokenType::kNormal);
  vocab.types.resize(size, tok::TokenType::kUnused);
  if (!vocab.scores.empty()) vocab.scores.resize(size, -1e9F);
  while (vocab.tokens.size() < size) vocab.tokens.emplace_back();
}

std::string TextOf(const tok::VocabData& vocab, const std::optional<tok::TokenId>& id) {
  return id ? vocab.tokens[static_cast<std::size_t>(*id)] : std::string();
}

}  // namespace

Result<LoadedTokenizer> LoadTokenizer(const quant::GgufFile& file) {
  tok::VocabData vocab;
  QUORUM_ASSIGN(const std::optional<std::string> model, file.GetString("tokenizer.ggml.model"));
  if (!model) {
    return InvalidArgument(file.path() + ": key 'tokenizer.ggml.model' is missing: the file has no tokenizer");
  }
  vocab.model = *model;
  QUORUM_ASSIGN(const std::optional<std::string> pre, file.GetString("tokenizer.ggml.pre"));
  vocab.pre = pre.value_or("default");
  if (!pre && vocab.model == "gpt2") {
    Log(LogLevel::kWarn,
        "{}: key 'tokenizer.ggml.pre' is missing; 'default' is taken, which may cut texts otherwise than the model "
        "knows",
        file.path());
  }
  QUORUM_TRY(ReadEntries(file, vocab));
  const quant::GgufTensor* embedding = file.FindTensor("token_embd.weight");
  const std::int64_t embeddings = embedding != nullptr ? embedding->dim(1) : std::ssize(vocab.tokens);
  if (std::ssize(vocab.tokens) > embeddings) {
    return InvalidArgument(
        fmt::format("{}: key 'tokenizer.ggml.tokens' has {} entries, but there are only {} embeddings", file.path(),
                    vocab.tokens.size(), embeddings));
  }
  QUORUM_TRY(ReadIds(file, vocab));
  CompleteEntries(vocab);
  QUORUM_TRY(ReadNormalizer(file, vocab));
  LoadedTokenizer loaded;
  loaded.bos_token = TextOf(vocab, vocab.bos);
  loaded.eos_token = TextOf(vocab, vocab.eos);
  QUORUM_ASSIGN(const std::optional<std::string> chat_template, file.GetString("tokenizer.chat_template"));
  loaded.chat_template = chat_template.value_or("");
  QUORUM_ASSIGN(const std::optional<std::string> tool_use, file.GetString("tokenizer.chat_template.tool_use"));
  loaded.tool_template = tool_use.value_or("");
  Pad(vocab, static_cast<std::size_t>(embeddings));
  Result<std::shared_ptr<const tok::Tokenizer>> tokenizer = tok::MakeTokenizer(std::move(vocab));
  if (!tokenizer.ok()) {
    return Error{tokenizer.error().code, file.path() + ": " + tokenizer.error().message, {}, {}};
  }
  loaded.tokenizer = std::move(tokenizer).value();
  return loaded;
}

}  // namespace quorum::engine
