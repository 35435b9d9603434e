#include "server/served_model.h"

#include <algorithm>
#include <string>

#include "engine/token_constraint.h"

namespace quorum::server {

void ServedModel::IndexTokenizer() {
  control_tokens = ControlTokens(*tokenizer);
  grammars = std::make_shared<GrammarCache>(engine::MakeGrammarVocabulary(*tokenizer));
  for (tok::TokenId token = 0; token < tokenizer->vocab_size(); ++token) {
    longest_token = std::max(longest_token, tokenizer->TokenBytes(token).size());
  }
  if (tool_format == ToolFormat::kHarmony) {
    thinking = HarmonyThinking(*tokenizer);
  } else {
    reasoning = FindReasoningMarks(chat_template == nullptr ? std::string() : chat_template->source(), *tokenizer);
    thinking = ThinkingRulesOf(reasoning, *tokenizer);
  }
  tools_in_words = tool_format == ToolFormat::kHermes && tool_template == nullptr && chat_template != nullptr &&
                   chat_template->source().find("tools") == std::string::npos;
  tool_controls.clear();
  for (const std::string& name : ControlNames(tool_format)) {
    const auto token = tokenizer->FindToken(name);
    if (token.has_value() && tokenizer->IsControl(*token)) tool_controls.push_back(*token);
  }
}

}  // namespace quorum::server
