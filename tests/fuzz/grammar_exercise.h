// What the grammar fuzzers do with what was parsed: compile it, and walk along it.
#pragma once

#include <string>
#include <vector>

#include "engine/base/check.h"
#include "engine/grammar/matcher.h"

namespace quorum::grammar {

/// A refusal must say something; what compiles must always have a way on, and each allowed token must be accepted.
inline void Exercise(const Result<Grammar>& parsed) {
  static const auto vocabulary = [] {
    std::vector<std::string> texts;
    for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
    for (const char* text : {"{\"", "\":", "\",", "\"}", "aa", "ab", "10", "\xe6\x97", "\xa5"})
      texts.emplace_back(text);
    std::vector<VocabularyToken> tokens;
    for (const std::string& text : texts) tokens.push_back({text, TokenKind::kText});
    tokens.push_back({"", TokenKind::kEnd});
    return std::make_shared<const Vocabulary>(tokens);
  }();
  if (!parsed.ok()) {
    QUORUM_CHECK(!parsed.error().message.empty() && HttpStatus(parsed.error().code) == 400);
    return;
  }
  const auto compiled = CompiledGrammar::Compile(*parsed, vocabulary);
  if (!compiled.ok()) {
    QUORUM_CHECK(!compiled.error().message.empty() && HttpStatus(compiled.error().code) == 400);
    return;
  }
  Matcher matcher(*compiled);
  std::uint32_t random = 1;
  for (int step = 0; step < 20 && !matcher.Finished(); ++step) {
    const auto allowed = matcher.Allowed();
    QUORUM_CHECK(allowed->count() > 0);
    random = random * 1664525 + 1013904223;
    TokenId token = static_cast<TokenId>((random >> 8) % static_cast<std::uint32_t>(allowed->size()));
    while (!allowed->Contains(token)) token = (token + 1) % allowed->size();
    QUORUM_CHECK(matcher.Accept(token));
  }
}

}  // namespace quorum::grammar
