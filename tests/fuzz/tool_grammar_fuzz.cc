// Tools on any bytes, in every format of calls: their grammars are made and compiled, or refused with a reason.
#include <cstdint>
#include <memory>
#include <string_view>

#include "engine/base/check.h"
#include "engine/token_constraint.h"
#include "server/json_fields.h"
#include "server/tool_grammar.h"

namespace quorum::server {
namespace {

std::shared_ptr<const tok::Tokenizer> Bytes() {
  tok::VocabData vocab;
  vocab.model = "gpt2";
  vocab.pre = "gpt-2";
  for (char c = '!'; c <= '~'; ++c) vocab.tokens.emplace_back(1, c);
  for (const char* spelled : {"Ġ", "Ċ", "<|end|>", "<tool_call>"}) vocab.tokens.emplace_back(spelled);
  vocab.types.resize(vocab.tokens.size(), tok::TokenType::kNormal);
  vocab.types[vocab.tokens.size() - 2] = vocab.types.back() = tok::TokenType::kControl;
  vocab.eos = static_cast<tok::TokenId>(vocab.tokens.size() - 2);
  auto made = tok::MakeTokenizer(std::move(vocab));
  QUORUM_CHECK(made.ok());
  return *made;
}

void Make(const Json& body) {
  static const std::shared_ptr<const tok::Tokenizer> tokenizer = Bytes();
  static const auto vocabulary = engine::MakeGrammarVocabulary(*tokenizer);
  JsonFields fields(body);
  Json tools = Json::array();
  ToolUse use;
  std::vector<std::string> ignored;
  if (!ReadTools(fields, tools, use, ignored).ok()) return;
  const auto format = ReadOutputFormat(fields, ignored);
  if (!format.ok()) return;
  ServedModel model;
  model.tokenizer = tokenizer;
  for (const std::string& name : ToolFormatNames()) {
    model.tool_format = *ToolFormatNamed(name);
    if (!NeedsToolGrammar(model, use, *format)) continue;
    const auto made = ToolGrammar(model, use, *format);
    QUORUM_CHECK(made.ok() || !made.error().message.empty());
    if (made.ok()) static_cast<void>(grammar::CompiledGrammar::Compile(made->grammar, vocabulary));
  }
}

}  // namespace
}  // namespace quorum::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto body = quorum::server::ParseJson(std::string_view(reinterpret_cast<const char*>(data), size));
  if (body.ok() && body->is_object()) quorum::server::Make(*body);
  return 0;
}
