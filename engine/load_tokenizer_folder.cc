// LoadTokenizerFromFolder: the files of a Hugging Face folder that concern text.
#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "engine/base/mapped_file.h"
#include "engine/load_tokenizer.h"
#include "engine/tokenizer_files.h"
#include "tokenizer/hf_config.h"

namespace quorum::engine {
namespace {

namespace fs = std::filesystem;

using Templates = std::map<std::string, std::string>;

Error InFile(const std::string& path, const Error& error) {
  return Error{error.code, path + ": " + error.message, {}, {}};
}

/// Calls `use(text)` with the contents of `path` when there is such a file, and puts its name before errors.
template <typename Use>
Status WithFile(const std::string& path, Use&& use) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return {};
  QUORUM_ASSIGN(const MappedFile file, MappedFile::Open(path));
  const auto bytes = file.bytes();
  const Status status = use(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  return status.ok() ? status : InFile(path, status.error());
}

/// The named templates in files of their own; these win over those in JSON files.
Status ReadTemplateFiles(const std::string& folder, Templates& templates) {
  const auto keep = [&templates](std::string name) {
    return [&templates, name = std::move(name)](std::string_view text) -> Status {
      templates[name] = text;
      return {};
    };
  };
  QUORUM_TRY(WithFile(folder + "/chat_template.jinja", keep("default")));
  for (const char* more : {"/additional_chat_templates", "/chat_templates"}) {
    std::error_code error;
    for (fs::directory_iterator it(folder + more, error), end; !error && it != end; it.increment(error)) {
      if (it->path().extension() != ".jinja") continue;
      QUORUM_TRY(WithFile(it->path().string(), keep(it->path().stem().string())));
    }
  }
  return {};
}

Status ReadTemplates(const std::string& folder, LoadedTokenizer& loaded) {
  Templates templates;
  QUORUM_TRY(ReadTemplateFiles(folder, templates));
  for (const char* name : {"/tokenizer_config.json", "/chat_template.json"}) {
    if (!templates.empty()) break;
    QUORUM_TRY(WithFile(folder + name, [&](std::string_view text) -> Status {
      QUORUM_ASSIGN(templates, tok::ReadChatTemplates(text));
      return {};
    }));
  }
  loaded.chat_template = std::move(templates["default"]);
  loaded.tool_template = std::move(templates["tool_use"]);
  return {};
}

/// What to say of a vocabulary in a format that is not read.
std::string UnreadVocabulary(const std::string& folder) {
  for (const char* name : {"tekken.json", "vocab.json"}) {
    std::error_code ignored;
    if (!fs::is_regular_file(folder + "/" + name, ignored)) continue;
    return fmt::format("; {} is not read: have transformers save the tokenizer as tokenizer.json, or take a GGUF file",
                       name);
  }
  return {};
}

Result<tok::HfTokenizerConfig> ReadConfig(const std::string& folder) {
  tok::HfTokenizerConfig config;
  const auto read = [&](const char* name, Status (*reader)(std::string_view, tok::HfTokenizerConfig&)) {
    return WithFile(folder + name, [&](std::string_view text) { return reader(text, config); });
  };
  QUORUM_TRY(read("/tokenizer_config.json", tok::ReadTokenizerConfig));
  QUORUM_TRY(read("/special_tokens_map.json", tok::ReadSpecialTokensMap));
  QUORUM_TRY(read("/added_tokens.json", tok::ReadAddedTokens));
  QUORUM_TRY(read("/generation_config.json", tok::ReadEndIds));
  QUORUM_TRY(read("/config.json", tok::ReadEndIds));
  return config;
}

}  // namespace

Result<tok::HfTokenizerConfig> ReadTokenizerFiles(const std::string& folder, std::int64_t embeddings) {
  QUORUM_ASSIGN(tok::HfTokenizerConfig config, ReadConfig(folder));
  config.embeddings = embeddings;
  return config;
}

Result<LoadedTokenizer> LoadTokenizerFromFolder(const std::string& folder, std::int64_t embeddings) {
  QUORUM_ASSIGN(const tok::HfTokenizerConfig config, ReadTokenizerFiles(folder, embeddings));
  LoadedTokenizer loaded;
  loaded.bos_token = config.bos_token;
  loaded.eos_token = config.eos_token;
  QUORUM_TRY(ReadTemplates(folder, loaded));
  using Make = Result<std::shared_ptr<const tok::Tokenizer>> (*)(std::string_view, const tok::HfTokenizerConfig&);
  constexpr std::array<std::pair<const char*, Make>, 4> kVocabularies = {{
      {"/tokenizer.json", tok::MakeTokenizerFromJson},
      {"/tokenizer.model", tok::MakeTokenizerFromSentencePiece},
      {"/spiece.model", tok::MakeTokenizerFromSentencePiece},
      {"/tiktoken.model", tok::MakeTokenizerFromTikToken},
  }};
  for (const auto& [name, make] : kVocabularies) {
    if (loaded.tokenizer) break;
    QUORUM_TRY(WithFile(folder + name, [&](std::string_view text) -> Status {
      QUORUM_ASSIGN(loaded.tokenizer, make(text, config));
      return {};
    }));
  }
  if (!loaded.tokenizer) {
    return NotFound(
        fmt::format("{} has no tokenizer: no tokenizer.json, tokenizer.model, spiece.model or tiktoken.model{}", folder,
                    UnreadVocabulary(folder)));
  }
  if (loaded.bos_token.empty() && loaded.tokenizer->bos()) {
    loaded.bos_token = loaded.tokenizer->TokenBytes(*loaded.tokenizer->bos());
  }
  if (loaded.eos_token.empty() && loaded.tokenizer->eos()) {
    loaded.eos_token = loaded.tokenizer->TokenBytes(*loaded.tokenizer->eos());
  }
  return loaded;
}

}  // namespace quorum::engine
