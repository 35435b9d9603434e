// The model as the request handlers see it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/bytes_read.h"
#include "engine/engine.h"
#include "engine/moe_router.h"
#include "server/control_tokens.h"
#include "server/output_format.h"
#include "server/reasoning.h"
#include "server/tools/dialect.h"
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
  std::function<engine::ExpertStats()> expert_stats;  // null: a dense model
  std::int32_t experts_per_token = 0;
  std::function<engine::BytesRead()> bytes_read;  // null: not known
  ControlTokens control_tokens;
  std::shared_ptr<GrammarCache> grammars;
  std::size_t longest_token = 1;                     // bytes
  engine::Pooling pooling = engine::Pooling::kMean;  // of embeddings, where a request does not say
  ToolFormat tool_format = ToolFormat::kNone;
  bool tools_in_words = false;              // the template knows no tools: see tool_prompt.h
  ReasoningMarks reasoning;                 // around thoughts; unknown where the model has none, or has channels
  engine::ThinkingRules thinking;           // the same for the engine
  std::vector<tok::TokenId> tool_controls;  // control tokens that the format's marks are

  /// Whether `name` asks for this model: its id, or "default".
  bool Answers(std::string_view name) const { return name == id || name == "default"; }

  /// Fills what follows from the tokenizer, the template and tool_format.
  void IndexTokenizer();
};

}  // namespace quorum::server
