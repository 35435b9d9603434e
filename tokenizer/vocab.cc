#include "tokenizer/vocab.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "engine/base/check.h"
#include "engine/base/log.h"

namespace quorum::tok {
namespace {

// Names that no one writes by chance.
constexpr std::array<std::string_view, 16> kEndNames = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",  // DeepSeek
    "<turn|>",
    "<|tool_response>",
    "[e~[",
};
// These end a reply only as control tokens. The last ones separate files: a code model that starts a new file is done.
constexpr std::array<std::string_view, 17> kEndNamesIfControl = {
    "</s>",        "<eos>",     "<EOT>",     "_<EOT>",       "[EOT]",         "[EOS]",
    "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<|fim_repo|>", "<|repo_name|>", "<fim-repo>",
    "<REPO>",      "<PAD>",     "[PAD]",     "<reponame>",   "<|file_sep|>",
};

}  // namespace

void Vocab::Add(std::string_view text, std::string_view bytes, TokenType type) {
  QUORUM_CHECK(size() < kMaxVocabSize);
  texts_.Add(text);
  bytes_.Add(bytes);
  types_.push_back(type);
}

void Vocab::Finish() {
  index_.Reserve(types_.size());
  for (TokenId id = 0; id < size(); ++id) {
    if (!Text(id).empty()) index_.Insert(Text(id), id);
  }
}

bool HasEmbedding(std::string_view content, TokenId id, std::int64_t embeddings) {
  if (embeddings == 0 || id < embeddings) return true;
  Log(LogLevel::kWarn, "the added token \"{}\" is left out: it has the id {}, but there are only {} embeddings",
      content, id, embeddings);
  return false;
}

Status PadVocab(std::int64_t embeddings, Vocab& vocab) {
  if (embeddings == 0) return {};
  if (vocab.size() > embeddings) {
    return InvalidArgument(
        fmt::format("the vocabulary has {} entries, but there are only {} embeddings", vocab.size(), embeddings));
  }
  if (embeddings > kMaxVocabSize) {
    return InvalidArgument(fmt::format("{} embeddings are more than a vocabulary may have", embeddings));
  }
  while (vocab.size() < embeddings) vocab.Add("", "", TokenType::kUnused);
  return {};
}

bool IsEndName(std::string_view text) { return std::find(kEndNames.begin(), kEndNames.end(), text) != kEndNames.end(); }

std::vector<bool> FindEndOfGeneration(const Vocab& vocab, const std::vector<TokenId>& given) {
  std::vector<bool> ends(static_cast<std::size_t>(vocab.size()));
  const auto set = [&](TokenId id, bool value) {
    if (vocab.Contains(id)) ends[static_cast<std::size_t>(id)] = value;
  };
  for (const std::string_view name : kEndNames) set(vocab.Find(name), true);
  for (const std::string_view name : kEndNamesIfControl) {
    const TokenId id = vocab.Find(name);
    if (id >= 0 && vocab.Type(id) == TokenType::kControl) set(id, true);
  }
  const auto is_end = [&](std::string_view name) {
    const TokenId id = vocab.Find(name);
    return id >= 0 && ends[static_cast<std::size_t>(id)];
  };
  // In the harmony format (gpt-oss) and its kin <|end|> only ends one message of several.
  if ((is_end("<|return|>") || is_end("<|flush|>")) && (is_end("<|call|>") || is_end("<|calls|>"))) {
    set(vocab.Find("<|end|>"), false);
  }
  if (is_end("<|tool_response>")) set(vocab.Find("</s>"), false);  // Gemma 4 keeps an unused </s>
  for (const TokenId id : given) set(id, true);
  return ends;
}

}  // namespace quorum::tok
