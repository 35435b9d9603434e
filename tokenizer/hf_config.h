// What the small JSON files beside a Hugging Face vocabulary say: tokenizer_config.json, special_tokens_map.json,
// added_tokens.json, generation_config.json.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/tokenizer.h"

namespace quorum::tok {

/// Adds to `config` what a tokenizer_config.json says; "bos_token" and its kin are strings or objects with "content".
/// Where `config` has a value already, the document's wins.
/// Errors: kInvalidArgument, naming the key.
Status ReadTokenizerConfig(std::string_view json, HfTokenizerConfig& config);

/// Adds special_tokens_map.json's names (same form); those of tokenizer_config.json, read before, win.
Status ReadSpecialTokensMap(std::string_view json, HfTokenizerConfig& config);

/// Adds added_tokens.json's entries, name to id, where `config` has no entry for the id.
Status ReadAddedTokens(std::string_view json, HfTokenizerConfig& config);

/// Adds the ids under "eos_token_id" (a number or a list) of generation_config.json or config.json.
Status ReadEndIds(std::string_view json, HfTokenizerConfig& config);

/// The chat templates in a tokenizer_config.json (or chat_template.json), by name: "chat_template" is a string
/// ("default") or a list of objects with "name" and "template".
Result<std::map<std::string, std::string>> ReadChatTemplates(std::string_view json);

}  // namespace quorum::tok
