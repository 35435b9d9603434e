// MakeTokenizerFromJson: Hugging Face's tokenizer.json.
#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "tokenizer/bounded_text.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/entry_bytes.h"
#include "tokenizer/json_model.h"
#include "tokenizer/json_reader.h"
#include "tokenizer/json_steps.h"
#include "tokenizer/pipeline_tokenizer.h"
#include "tokenizer/sentencepiece_model.h"

namespace quorum::tok {
namespace {

using Replacements = std::vector<std::pair<std::string, std::string>>;

/// One vocabulary slot while the parts of the file come together.
struct Slot {
  std::string text;
  TokenType type = TokenType::kUnused;
};

struct AddedEntry {
  AddedToken token;
  bool normalized = false;
};

Result<std::vector<AddedEntry>> ParseAddedTokens(const JsonView& list) {
  std::vector<AddedEntry> entries;
  if (list.IsNull()) return entries;
  QUORUM_ASSIGN(const std::vector<JsonView> elements, list.Elements());
  for (const JsonView& element : elements) {
    AddedEntry entry;
    QUORUM_ASSIGN(const std::int64_t id, element["id"].Integer());
    if (id < 0 || id >= kMaxVocabSize) return element["id"].Bad("is not a token id");
    entry.token.id = static_cast<TokenId>(id);
    QUORUM_ASSIGN(entry.token.content, element["content"].String());
    if (entry.token.content.empty()) return element["content"].Bad("is empty");
    QUORUM_ASSIGN(entry.token.control, element["special"].Bool(false));
    QUORUM_ASSIGN(entry.token.left_strip, element["lstrip"].Bool(false));
    QUORUM_ASSIGN(entry.token.right_strip, element["rstrip"].Bool(false));
    QUORUM_ASSIGN(entry.token.single_word, element["single_word"].Bool(false));
    QUORUM_ASSIGN(entry.normalized, element["normalized"].Bool(!entry.token.control));
    entries.push_back(std::move(entry));
  }
  return entries;
}

/// Those of the configuration whose names the file does not have.
void AppendAdded(const HfTokenizerConfig& config, std::vector<AddedEntry>& entries) {
  std::unordered_set<std::string> known;
  for (const AddedEntry& entry : entries) known.insert(entry.token.content);
  for (const AddedTokenInfo& info : config.added_tokens) {
    if (info.content.empty() || !known.insert(info.content).second) continue;
    AddedEntry entry;
    entry.token = {info.content, info.id, info.control, info.left_strip, info.right_strip, info.single_word};
    entry.normalized = info.normalized;
    entries.push_back(std::move(entry));
  }
}

/// An added token that the model has under another id keeps the model's, as in Hugging Face's loader.
void AdoptModelIds(const TokenizerJson& json, std::vector<AddedEntry>& added) {
  std::unordered_map<std::string_view, AddedEntry*> by_content;
  for (AddedEntry& entry : added) by_content.emplace(entry.token.content, &entry);
  for (const auto& [text, id] : json.vocab) {
    const auto entry = by_content.find(text);
    if (entry != by_content.end() && id >= 0 && id < kMaxVocabSize) {
      entry->second->token.id = static_cast<TokenId>(id);
    }
  }
}

/// The model's and the added tokens by id; gaps stay unused and empty. The model's entries that stand for bytes
/// (`byte_fallback`) are kByte, also where they are added tokens as well: trainers know no other way to get them.
Result<std::vector<Slot>> CollectSlots(const TokenizerJson& json, const std::vector<AddedEntry>& added,
                                       bool byte_fallback) {
  std::int64_t size = 0;
  for (const auto& [text, id] : json.vocab) {
    if (id < 0 || id >= kMaxVocabSize) {
      return InvalidArgument(fmt::format("model.vocab[\"{}\"] is {}, not a token id", text, id));
    }
    size = std::max(size, id + 1);
  }
  for (const AddedEntry& entry : added) size = std::max(size, std::int64_t{entry.token.id} + 1);
  if (size == 0) return InvalidArgument("model.vocab is missing or empty");
  // A vocabulary with huge holes is a mistake, and would cost memory.
  if (static_cast<std::size_t>(size) > 2 * (json.vocab.size() + added.size()) + 4096) {
    return InvalidArgument(fmt::format("model.vocab has {} entries, but ids up to {}", json.vocab.size(), size - 1));
  }
  std::vector<Slot> slots(static_cast<std::size_t>(size));
  const auto set = [&](std::int64_t id, const std::string& text, TokenType type, std::string_view where) -> Status {
    Slot& slot = slots[static_cast<std::size_t>(id)];
    if (!slot.text.empty() && slot.text != text) {
      return InvalidArgument(fmt::format("{}: id {} is both \"{}\" and \"{}\"", where, id, slot.text, text));
    }
    slot = {text, slot.type == TokenType::kByte ? slot.type : type};
    return {};
  };
  for (const auto& [text, id] : json.vocab) {
    const bool byte = byte_fallback && ParseByteToken(text).has_value();
    QUORUM_TRY(set(id, text, byte ? TokenType::kByte : TokenType::kNormal, "model.vocab"));
  }
  for (const AddedEntry& entry : added) {
    const TokenType type = entry.token.control ? TokenType::kControl : TokenType::kUserDefined;
    QUORUM_TRY(set(entry.token.id, entry.token.content, type, "added_tokens"));
  }
  return slots;
}

Result<std::string> Replaced(std::string text, const Replacements& replacements) {
  const std::size_t limit = LongestRewrite(text.size());
  for (const auto& [from, to] : replacements) {
    if (from.empty()) continue;
    QUORUM_ASSIGN(text, ReplaceAllWithin(limit, text, from, to));
  }
  return text;
}

/// Fills the vocabulary.
Result<Vocab> MakeVocab(const std::vector<Slot>& slots, bool byte_level, const Replacements& replacements,
                        std::int64_t embeddings) {
  Vocab vocab;
  for (const Slot& slot : slots) {
    std::string bytes = slot.text;
    if (slot.type == TokenType::kByte) {
      bytes.assign(1, static_cast<char>(ParseByteToken(slot.text).value_or(0)));
    } else if (slot.type == TokenType::kNormal && byte_level) {
      if (std::optional<std::string> decoded = ByteLevelDecode(slot.text)) bytes = *std::move(decoded);
    }
    if (!byte_level && (slot.type == TokenType::kNormal || slot.type == TokenType::kUserDefined)) {
      QUORUM_ASSIGN(bytes, Replaced(std::move(bytes), replacements));
    }
    vocab.Add(slot.text, bytes, slot.type);
  }
  QUORUM_TRY(PadVocab(embeddings, vocab));
  vocab.Finish();
  return vocab;
}

/// The added tokens that are looked for before and after normalization.
Status MakeFinders(std::vector<AddedEntry> added, TokenizerParts& parts) {
  std::vector<AddedToken> raw;
  std::vector<AddedToken> normalized;
  Regex::Scratch scratch;
  for (AddedEntry& entry : added) {
    if (entry.normalized) {
      std::string storage;
      QUORUM_ASSIGN(const std::string_view content,
                    parts.normalizer.Apply(entry.token.content, true, storage, scratch));
      entry.token.content = std::string(content);
      normalized.push_back(std::move(entry.token));
    } else {
      raw.push_back(std::move(entry.token));
    }
  }
  QUORUM_ASSIGN(parts.raw_tokens, AddedTokenFinder::Build(std::move(raw)));
  QUORUM_ASSIGN(parts.normalized_tokens, AddedTokenFinder::Build(std::move(normalized)));
  return {};
}

/// The id of a token that the configuration names.
Result<std::optional<TokenId>> NamedToken(std::string_view key, const std::string& name, const Vocab& vocab) {
  using Id = std::optional<TokenId>;
  if (name.empty()) return Id();
  const TokenId id = vocab.Find(name);
  if (id < 0) return InvalidArgument(fmt::format("the {} \"{}\" is not in the vocabulary", key, name));
  return Id(id);
}

/// bos, eos and what goes around a text.
Status ApplyConfig(const HfTokenizerConfig& config, TokenizerParts& parts) {
  QUORUM_ASSIGN(parts.bos, NamedToken("bos_token", config.bos_token, parts.vocab));
  QUORUM_ASSIGN(parts.eos, NamedToken("eos_token", config.eos_token, parts.vocab));
  if (config.add_bos || config.add_eos) {
    parts.prefix.clear();
    parts.suffix.clear();
    if (config.add_bos.value_or(false) && parts.bos) parts.prefix.push_back(*parts.bos);
    if (config.add_eos.value_or(false) && parts.eos) parts.suffix.push_back(*parts.eos);
  }
  AddEndIds(config.end_of_generation, parts);
  return {};
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> MakeTokenizerFromJson(std::string_view tokenizer_json,
                                                               const HfTokenizerConfig& config) {
  QUORUM_ASSIGN(const TokenizerJson json, ReadTokenizerJson(tokenizer_json));
  const JsonView root(json.tree, "");
  const JsonView model = root["model"];
  TokenizerParts parts;
  QUORUM_ASSIGN(std::vector<NormalizeStep> normalizer, ParseNormalizer(root["normalizer"]));
  parts.normalizer = Normalizer(std::move(normalizer));
  QUORUM_ASSIGN(ParsedPreTokenizer pre, ParsePreTokenizer(root["pre_tokenizer"]));
  QUORUM_ASSIGN(ParsedTemplate around, ParsePostProcessor(root["post_processor"]));
  QUORUM_ASSIGN(const Replacements replacements, ParseDecoder(root["decoder"]));
  QUORUM_ASSIGN(std::vector<AddedEntry> added, ParseAddedTokens(root["added_tokens"]));
  AppendAdded(config, added);
  AdoptModelIds(json, added);
  std::erase_if(added, [&](const AddedEntry& entry) {
    return !HasEmbedding(entry.token.content, entry.token.id, config.embeddings);
  });
  QUORUM_ASSIGN(const bool byte_fallback, model["byte_fallback"].Bool(false));

  QUORUM_ASSIGN(const std::vector<Slot> slots, CollectSlots(json, added, byte_fallback));
  QUORUM_ASSIGN(parts.vocab, MakeVocab(slots, pre.byte_level, replacements, config.embeddings));
  QUORUM_ASSIGN(JsonModel made, MakeJsonModel(model, json, parts.vocab, pre.byte_level));
  parts.model = std::move(made.model);
  if (made.words_end_at_spaces) {
    SplitStep step;
    step.kind = SplitStep::Kind::kBeforeMarks;
    step.text = kSpmSpace;
    pre.steps.push_back(std::move(step));
  }
  parts.pre_tokenizer = PreTokenizer(std::move(pre.steps));
  QUORUM_TRY(MakeFinders(std::move(added), parts));
  for (const auto* ids : {&around.prefix, &around.suffix}) {
    for (const TokenId id : *ids) {
      if (!parts.vocab.Contains(id)) {
        return InvalidArgument(fmt::format("post_processor names id {}, outside the vocabulary", id));
      }
    }
  }
  parts.prefix = std::move(around.prefix);
  parts.suffix = std::move(around.suffix);
  QUORUM_TRY(ApplyConfig(config, parts));
  return std::shared_ptr<const Tokenizer>(std::make_shared<PipelineTokenizer>(std::move(parts)));
}

}  // namespace quorum::tok
