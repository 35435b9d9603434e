// The model as the request handlers see it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "server/control_tokens.h"
#include "server/output_format.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace quorum::server {

/// Immutable once it is served; the engine is thread-safe.
struct ServedModel {
  std::string id;
  std::string fingerprint;   // system_fingerprint: changes with whatever changes the numbers
  std::int64_t created = 0;  // Unix time of the model file
  std::shared_ptr<const tok::Tokenizer> tokenizer;
  std::shared_ptr<const tok::ChatTemplate> chat_template;  // null: the model has none
  std::shared_ptr<const tok::ChatTemplate> tool_template;  // for requests with tools; null: the same
  std::shared_ptr<engine::Engine> engine;
  ControlTokens control_tokens;
  std::shared_ptr<GrammarCache> grammars;
  std::size_t longest_token = 1;  // bytes

  /// Whether `name` asks for this model: its id, or "default".
  bool Answers(std::string_view name) const { return name == id || name == "default"; }

  /// Fills what follows from the tokenizer.
  void IndexTokenizer();
};

}  // namespace quorum::server
