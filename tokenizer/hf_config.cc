#include "tokenizer/hf_config.h"

#include <charconv>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "tokenizer/json_reader.h"
#include "tokenizer/vocab.h"

namespace quorum::tok {
namespace {

Result<Json> ReadObject(std::string_view text) {
  QUORUM_ASSIGN(Json json, ReadJson(text));
  if (!json.is_object()) return InvalidArgument("is not a JSON object");
  return json;
}

/// A token's name: a string, or an object with "content"; "" when there is none.
Result<std::string> NameOf(const JsonView& value) {
  if (value.IsNull()) return std::string();
  return (value.IsObject() ? value["content"] : value).String();
}

Status SetName(const JsonView& root, const char* key, bool replace, std::string& name) {
  if (!replace && !name.empty()) return {};
  QUORUM_ASSIGN(std::string found, NameOf(root[key]));
  if (!found.empty()) name = std::move(found);
  return {};
}

Status SetNames(const JsonView& root, bool replace, HfTokenizerConfig& config) {
  QUORUM_TRY(SetName(root, "bos_token", replace, config.bos_token));
  QUORUM_TRY(SetName(root, "eos_token", replace, config.eos_token));
  return SetName(root, "unk_token", replace, config.unk_token);
}

Status SetFlag(const JsonView& value, std::optional<bool>& flag) {
  if (value.IsNull()) return {};
  QUORUM_ASSIGN(flag, value.Bool(false));
  return {};
}

Result<TokenId> IdOf(const JsonView& value) {
  QUORUM_ASSIGN(const std::int64_t id, value.Integer());
  if (id < 0 || id >= kMaxVocabSize) return value.Bad("is not a token id");
  return static_cast<TokenId>(id);
}

}  // namespace

Status ReadTokenizerConfig(std::string_view text, HfTokenizerConfig& config) {
  QUORUM_ASSIGN(const Json json, ReadObject(text));
  const JsonView root(json, "");
  QUORUM_TRY(SetNames(root, true, config));
  QUORUM_TRY(SetName(root, "tokenizer_class", true, config.tokenizer_class));
  QUORUM_TRY(SetFlag(root["add_bos_token"], config.add_bos));
  QUORUM_TRY(SetFlag(root["add_eos_token"], config.add_eos));
  QUORUM_TRY(SetFlag(root["add_prefix_space"], config.add_prefix_space));
  QUORUM_TRY(SetFlag(root["legacy"], config.legacy));
  const JsonView added = root["added_tokens_decoder"];
  for (const auto& [key, entry] : added.Members()) {
    AddedTokenInfo token;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token.id);
    if (error != std::errc() || end != key.data() + key.size() || token.id < 0 || token.id >= kMaxVocabSize) {
      return added.Bad(fmt::format("has a key \"{}\" that is not a token id", key));
    }
    QUORUM_ASSIGN(token.content, entry["content"].String());
    QUORUM_ASSIGN(token.control, entry["special"].Bool(false));
    QUORUM_ASSIGN(token.left_strip, entry["lstrip"].Bool(false));
    QUORUM_ASSIGN(token.right_strip, entry["rstrip"].Bool(false));
    QUORUM_ASSIGN(token.single_word, entry["single_word"].Bool(false));
    QUORUM_ASSIGN(token.normalized, entry["normalized"].Bool(!token.control));
    config.added_tokens.push_back(std::move(token));
  }
  return {};
}

Status ReadSpecialTokensMap(std::string_view text, HfTokenizerConfig& config) {
  QUORUM_ASSIGN(const Json json, ReadObject(text));
  return SetNames(JsonView(json, ""), false, config);
}

Status ReadAddedTokens(std::string_view text, HfTokenizerConfig& config) {
  QUORUM_ASSIGN(const Json json, ReadObject(text));
  std::set<TokenId> known;
  for (const AddedTokenInfo& other : config.added_tokens) known.insert(other.id);
  for (const auto& [content, value] : JsonView(json, "").Members()) {
    AddedTokenInfo token;
    QUORUM_ASSIGN(token.id, IdOf(value));
    token.content = content;
    if (!content.empty() && known.insert(token.id).second) config.added_tokens.push_back(std::move(token));
  }
  return {};
}

Status ReadEndIds(std::string_view text, HfTokenizerConfig& config) {
  QUORUM_ASSIGN(const Json json, ReadObject(text));
  const JsonView root(json, "");
  JsonView ids = root["eos_token_id"];
  if (ids.IsNull() && root["text_config"].IsObject()) ids = root["text_config"]["eos_token_id"];
  if (ids.IsNull()) return {};
  const auto add = [&](const JsonView& value) -> Status {
    QUORUM_ASSIGN(const std::int64_t id, value.Integer());
    if (id == -1) return {};  // none
    QUORUM_ASSIGN(const TokenId valid, IdOf(value));
    config.end_of_generation.push_back(valid);
    return {};
  };
  if (!ids.IsArray()) return add(ids);
  QUORUM_ASSIGN(const std::vector<JsonView> elements, ids.Elements());
  for (const JsonView& element : elements) QUORUM_TRY(add(element));
  return {};
}

Result<std::map<std::string, std::string>> ReadChatTemplates(std::string_view text) {
  QUORUM_ASSIGN(const Json json, ReadObject(text));
  std::map<std::string, std::string> templates;
  const JsonView value = JsonView(json, "")["chat_template"];
  if (value.IsNull()) return templates;
  if (!value.IsArray()) {
    QUORUM_ASSIGN(templates["default"], value.String());
    return templates;
  }
  QUORUM_ASSIGN(const std::vector<JsonView> elements, value.Elements());
  for (const JsonView& element : elements) {
    QUORUM_ASSIGN(const std::string name, element["name"].String());
    QUORUM_ASSIGN(templates[name], element["template"].String());
  }
  return templates;
}

}  // namespace quorum::tok
