#include "tokenizer/vocab_export.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "tokenizer/byte_level.h"
#include "tokenizer/json_reader.h"
#include "tokenizer/json_steps.h"
#include "tokenizer/model_proto.h"
#include "tokenizer/vocab.h"

namespace quorum::tok {
namespace {

struct Added {
  std::string content;
  std::int64_t id = -1;
  bool control = false;
};

/// Those of the file, then those that only the configuration has; one that the model has keeps the model's id.
Result<std::vector<Added>> AddedTokens(const TokenizerJson& json, const HfTokenizerConfig& config) {
  std::unordered_map<std::string_view, std::int64_t> ids;
  for (const auto& [text, id] : json.vocab) ids.emplace(text, id);
  std::vector<Added> added;
  const JsonView list = JsonView(json.tree, "")["added_tokens"];
  if (!list.IsNull()) {
    QUORUM_ASSIGN(const std::vector<JsonView> elements, list.Elements());
    for (const JsonView& element : elements) {
      Added entry;
      QUORUM_ASSIGN(entry.id, element["id"].Integer());
      QUORUM_ASSIGN(entry.content, element["content"].String());
      QUORUM_ASSIGN(entry.control, element["special"].Bool(false));
      added.push_back(std::move(entry));
    }
  }
  for (const AddedTokenInfo& info : config.added_tokens) {
    const auto same = [&](const Added& entry) { return entry.content == info.content; };
    if (std::none_of(added.begin(), added.end(), same)) added.push_back({info.content, info.id, info.control});
  }
  for (Added& entry : added) {
    if (const auto known = ids.find(entry.content); known != ids.end()) entry.id = known->second;
  }
  return added;
}

Status Put(VocabData& vocab, std::int64_t id, const std::string& text, TokenType type) {
  if (id < 0 || id >= kMaxVocabSize) return InvalidArgument(fmt::format("\"{}\" has id {}, no token id", text, id));
  const auto at = static_cast<std::size_t>(id);
  if (at >= vocab.tokens.size()) {
    vocab.tokens.resize(at + 1);
    vocab.types.resize(at + 1, TokenType::kUnused);
  }
  vocab.tokens[at] = text;
  if (vocab.types[at] != TokenType::kByte) vocab.types[at] = type;  // as an added token, too, it stands for its byte
  return {};
}

/// As many entries as embeddings, and a name for each.
Status Fill(std::int64_t embeddings, VocabData& vocab) {
  if (embeddings > 0 && std::ssize(vocab.tokens) > embeddings) {
    // Added tokens without an embedding can never be read or drawn.
    for (auto at = static_cast<std::size_t>(embeddings); at < vocab.tokens.size(); ++at) {
      if (vocab.types[at] == TokenType::kNormal) {
        return InvalidArgument(fmt::format("{} tokens, but only {} embeddings", vocab.tokens.size(), embeddings));
      }
    }
  }
  const std::size_t size = embeddings > 0 ? static_cast<std::size_t>(embeddings) : vocab.tokens.size();
  vocab.tokens.resize(size);
  vocab.types.resize(size, TokenType::kUnused);
  if (!vocab.scores.empty()) vocab.scores.resize(size, -10000.0F);
  for (std::size_t id = 0; id < size; ++id) {
    if (vocab.tokens[id].empty()) {
      vocab.tokens[id] = fmt::format("[PAD{}]", id);
      vocab.types[id] = TokenType::kUnused;
    }
  }
  return {};
}

/// SentencePiece merges what makes the piece of the highest score: the rank of a piece's first merge, negated.
void ScoresOfMerges(const TokenizerJson& json, VocabData& vocab) {
  std::unordered_map<std::string, float> score;
  for (std::size_t i = 0; i < json.merges.size(); ++i) {
    score.emplace(json.merges[i].first + json.merges[i].second, -static_cast<float>(i) - 1.0F);
  }
  vocab.scores.assign(vocab.tokens.size(), -1e6F);
  for (std::size_t id = 0; id < vocab.tokens.size(); ++id) {
    if (const auto found = score.find(vocab.tokens[id]); found != score.end()) vocab.scores[id] = found->second;
  }
}

/// Texts on which GGUF's patterns differ.
constexpr std::array<std::string_view, 12> kTrials = {
    "Hello, world! It's 2024 and they've paid $1,234,567.89 for I'LL'S can't",
    "  leading   runs of    spaces \t\ttabs\n\n\nlines \r\n\r\n end   ",
    "0 1 12 123 1234 12345 3.14159 v1.2.3 x86_64 2^10 1000000",
    "camelCase HTTPServer snake_case_name __init__ (a+b)*c != d//e; /* note */",
    "Z\xc3\xbcrich na\xc3\xafve caf\xc3\xa9 \xc3\x9c"
    "bergr\xc3\xb6\xc3\x9f"
    "e \xe2\x80\x94 \xe2\x80\x9cquoted\xe2\x80\x9d \xe2\x80\xa6",
    "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82, \xd0\xbc\xd0\xb8\xd1\x80! \xce\xb1\xce\xb2\xce\xb3 "
    "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d",
    "\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xb8\x96\xe7\x95\x8c\xe3\x80\x82"
    "123\xe3\x81\x93\xe3\x82\x93\xe3\x81\xab\xe3\x81\xa1\xe3\x81\xaf "
    "\xec\x95\x88\xeb\x85\x95\xed\x95\x98\xec\x84\xb8\xec\x9a\x94",
    "\xf0\x9f\x98\x80\xf0\x9f\x9a\x80 \xe2\x9c\x85 e\xcc\x81 "
    "\xe0\xa4\xa8\xe0\xa4\xae\xe0\xa4\xb8\xe0\xa5\x8d\xe0\xa4\xa4\xe0\xa5\x87",
    "def f(x):\n    if x > 0:\n        return x\n\treturn -x\n",
    "https://example.com/a/b?c=d&e=f#g user@host.org C:\\path\\to",
    "don't DON'T we'd WE'D y'all o'clock 'tis \xe2\x80\x99s",
    "\n\n  \n x\n  y \n\n",
};

/// A name of each of GGUF's recipes, the commonest first; all are known to llama.cpp.
constexpr std::array<std::string_view, 30> kPreNames = {
    "llama-bpe",    "qwen2",          "gpt-2",     "smollm",     "gpt-4o",     "tekken", "olmo",    "deepseek-v3",
    "deepseek-llm", "deepseek-coder", "command-r", "dbrx",       "starcoder",  "falcon", "kimi-k2", "deepseek-r1-qwen",
    "chatglm-bpe",  "bloom",          "viking",    "bailingmoe", "seed-coder", "exaone", "qwen35",  "youtu",
    "glm4",         "exaone-moe",     "minicpm5",  "poro-chat",  "afmoe",      "default"};

/// BOS and EOS, and whether they go around a text. Also where only the file's template names them.
/// Errors: kUnsupported (other tokens around a text).
Status CompleteEnds(const Tokenizer& original, VocabData& vocab) {
  vocab.bos = original.bos();
  vocab.eos = original.eos();
  QUORUM_ASSIGN(const std::vector<TokenId> text, original.Encode("a", {}));
  QUORUM_ASSIGN(const std::vector<TokenId> all, original.Encode("a", {.add_special = true}));
  const auto begin = std::search(all.begin(), all.end(), text.begin(), text.end());
  const auto end = begin == all.end() ? begin : begin + std::ssize(text);
  const auto take = [](auto first, auto last, std::optional<TokenId>& token, bool& add) {
    add = first != last;
    if (!add) return true;
    if (last - first > 1 || token.value_or(*first) != *first) return false;
    token = *first;
    return true;
  };
  if (take(all.begin(), begin, vocab.bos, vocab.add_bos) && take(end, all.end(), vocab.eos, vocab.add_eos)) return {};
  return Unsupported("the tokenizer puts other tokens around a text than BOS and EOS, which GGUF has no words for");
}

}  // namespace

Result<VocabData> VocabFromTokenizerJson(std::string_view tokenizer_json, const HfTokenizerConfig& config) {
  QUORUM_ASSIGN(const TokenizerJson json, ReadTokenizerJson(tokenizer_json));
  const JsonView root(json.tree, "");
  QUORUM_ASSIGN(const ParsedPreTokenizer pre, ParsePreTokenizer(root["pre_tokenizer"]));
  QUORUM_ASSIGN(const std::string type, root["model"]["type"].String(json.scores.empty() ? "BPE" : "Unigram"));
  if (type != "BPE" && type != "Unigram")
    return root["model"]["type"].NotSupported(fmt::format("\"{}\" in GGUF", type));
  const bool byte_level = pre.byte_level;
  VocabData vocab;
  vocab.model = type == "Unigram" ? "t5" : (byte_level ? "gpt2" : "llama");
  QUORUM_ASSIGN(const bool byte_fallback, root["model"]["byte_fallback"].Bool(false));
  for (const auto& [text, id] : json.vocab) {
    const bool byte = !byte_level && byte_fallback && ParseByteToken(text).has_value();
    QUORUM_TRY(Put(vocab, id, text, byte ? TokenType::kByte : TokenType::kNormal));
  }
  QUORUM_ASSIGN(const std::vector<Added> added, AddedTokens(json, config));
  for (const Added& entry : added) {
    if (config.embeddings > 0 && entry.id >= config.embeddings) continue;
    QUORUM_TRY(Put(vocab, entry.id, entry.content, entry.control ? TokenType::kControl : TokenType::kUserDefined));
  }
  const auto mark_unknown = [&](std::int64_t id) {
    if (id < 0 || id >= std::ssize(vocab.tokens)) return;
    vocab.unk = static_cast<TokenId>(id);
    if (!byte_level) vocab.types[static_cast<std::size_t>(id)] = TokenType::kUnknown;
  };
  if (type == "Unigram") {
    vocab.scores.assign(vocab.tokens.size(), 0.0F);
    for (std::size_t i = 0; i < json.scores.size() && i < vocab.scores.size(); ++i) {
      vocab.scores[i] = static_cast<float>(json.scores[i]);
    }
    if (const JsonView unknown = root["model"]["unk_id"]; !unknown.IsNull()) {
      QUORUM_ASSIGN(const std::int64_t id, unknown.Integer());
      mark_unknown(id);
    }
    vocab.add_space_prefix = true;
  } else {
    QUORUM_ASSIGN(const std::string unknown, root["model"]["unk_token"].String(""));
    const auto at = std::find(vocab.tokens.begin(), vocab.tokens.end(), unknown);
    if (!unknown.empty() && at != vocab.tokens.end()) mark_unknown(at - vocab.tokens.begin());
    if (byte_level) {
      for (const auto& [left, right] : json.merges) vocab.merges.push_back(left + " " + right);
    } else {
      ScoresOfMerges(json, vocab);
      vocab.add_space_prefix = true;  // CompleteLike looks whether it is so
    }
  }
  QUORUM_TRY(Fill(config.embeddings, vocab));
  return vocab;
}

Result<VocabData> VocabFromSentencePiece(std::string_view tokenizer_model, const HfTokenizerConfig& config) {
  QUORUM_ASSIGN(const ModelProto proto, ParseModelProto(tokenizer_model));
  if (proto.kind != ModelProto::Kind::kBpe && proto.kind != ModelProto::Kind::kUnigram) {
    return Unsupported("the SentencePiece model is neither BPE nor Unigram");
  }
  VocabData vocab;
  vocab.model = proto.kind == ModelProto::Kind::kBpe ? "llama" : "t5";
  for (std::size_t id = 0; id < proto.pieces.size(); ++id) {
    QUORUM_TRY(Put(vocab, static_cast<std::int64_t>(id), proto.pieces[id].text, proto.pieces[id].type));
    vocab.scores.push_back(proto.pieces[id].score);
  }
  for (const AddedTokenInfo& info : config.added_tokens) {
    if (config.embeddings > 0 && info.id >= config.embeddings) continue;
    const bool known = info.id < std::ssize(proto.pieces) && info.id >= 0 &&
                       proto.pieces[static_cast<std::size_t>(info.id)].type != TokenType::kNormal;
    if (known) continue;
    QUORUM_TRY(Put(vocab, info.id, info.content, info.control ? TokenType::kControl : TokenType::kUserDefined));
  }
  vocab.scores.resize(vocab.tokens.size(), -1000.0F);
  vocab.add_space_prefix = proto.add_dummy_prefix && config.add_prefix_space.value_or(true);
  vocab.remove_extra_whitespaces = proto.remove_extra_whitespaces;
  vocab.chars_map = proto.chars_map;
  if (proto.unk_id >= 0 && proto.unk_id < std::ssize(vocab.tokens)) vocab.unk = proto.unk_id;
  if (proto.pad_id >= 0 && proto.pad_id < std::ssize(vocab.tokens)) vocab.pad = proto.pad_id;
  QUORUM_TRY(Fill(config.embeddings, vocab));
  return vocab;
}

Status CompleteLike(const Tokenizer& original, VocabData& vocab) {
  QUORUM_TRY(CompleteEnds(original, vocab));
  std::array<std::vector<TokenId>, kTrials.size()> wanted;
  for (std::size_t i = 0; i < kTrials.size(); ++i) {
    QUORUM_ASSIGN(wanted[i], original.Encode(kTrials[i], {}));
  }
  const auto alike = [&]() -> Result<bool> {
    QUORUM_ASSIGN(const std::shared_ptr<const Tokenizer> made, MakeTokenizer(vocab));
    for (std::size_t i = 0; i < kTrials.size(); ++i) {
      QUORUM_ASSIGN(const std::vector<TokenId> got, made->Encode(kTrials[i], {}));
      if (got != wanted[i]) return false;
    }
    return true;
  };
  if (vocab.model != "gpt2") {
    QUORUM_ASSIGN(bool same, alike());
    if (!same && vocab.add_space_prefix) {
      vocab.add_space_prefix = false;
      QUORUM_ASSIGN(same, alike());
    }
    if (same) return {};
    return Unsupported("the tokenizer cuts texts in a way that GGUF's \"" + vocab.model + "\" tokenizer does not");
  }
  if (!vocab.pre.empty()) return {};
  for (const std::string_view name : kPreNames) {
    vocab.pre = name;
    QUORUM_ASSIGN(const bool same, alike());
    if (same) return {};
  }
  return Unsupported("the tokenizer cuts texts into words in a way that GGUF has no name for (tokenizer.ggml.pre)");
}

}  // namespace quorum::tok
