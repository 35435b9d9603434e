#include "tests/support/grammar_walk.h"

#include <algorithm>
#include <chrono>
#include <random>

namespace quorum::test {

std::shared_ptr<const grammar::Vocabulary> SmallVocabulary() {
  static const auto vocabulary = [] {
    std::vector<std::string> texts;
    for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
    for (const char* text :
         {"{\"",  "\":",   "\": ", "\": \"", "\",",  "\", \"", "\"}",   "\"]",  "},",   "], ",   "}}",
          "]}",   "{}",    "[]",   "[\"",    "null", "true",   "false", "tr",   "ue",   "the",   " the",
          "name", "value", "ab",   "abc",    "bc",   "10",     "00",    "42",   "1.",   "e",     "  ",
          "    ", "\n",    "\n  ", "\n    ", "\\n",  "\\\"",   "\\u00", "é",    "日本", "😀",    "\xe6\x97",
          "\xa5", "-0",    "2024", "-0",     "T1",   ":0",     "@",     ".com", "xyz",  "\"a\"", "\"b\":"}) {
      texts.emplace_back(text);
    }
    std::vector<grammar::VocabularyToken> tokens;
    for (const std::string& text : texts) tokens.push_back({text, grammar::TokenKind::kText});
    tokens.push_back({"<end>", grammar::TokenKind::kEnd});
    return std::make_shared<const grammar::Vocabulary>(tokens);
  }();
  return vocabulary;
}

bool Takes(const grammar::CompiledGrammar& grammar, std::string_view text) {
  const auto table = grammar.table();
  return table->Read(table->start(), text).accepts;
}

namespace {

std::vector<grammar::TokenId> ListOf(const grammar::TokenSet& set) {
  if (set.listed()) return {set.ids().begin(), set.ids().end()};
  std::vector<grammar::TokenId> ids;
  for (grammar::TokenId id = 0; id < set.size(); ++id) {
    if (set.Contains(id)) ids.push_back(id);
  }
  return ids;
}

}  // namespace

WalkResult Walk(const std::shared_ptr<const grammar::CompiledGrammar>& grammar, std::uint64_t seed, int wander,
                int max_tokens) {
  WalkResult result;
  grammar::Matcher matcher(grammar);
  const grammar::Vocabulary& vocabulary = grammar->vocabulary();
  std::mt19937_64 random(seed);
  while (!matcher.Finished() && result.tokens < max_tokens) {
    const auto begin = std::chrono::steady_clock::now();
    const auto allowed = matcher.Allowed();
    result.mask_us.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
    const auto ids = ListOf(*allowed);
    const bool hurry = result.tokens >= wander;
    if (matcher.CanEnd() && (hurry || ids.empty() || random() % 8 == 0)) break;
    if (ids.empty()) {
      result.fault = "nothing is allowed after: " + result.text;
      return result;
    }
    grammar::TokenId token = ids[random() % ids.size()];
    if (hurry) {
      for (const std::string_view wish : {"}", "]", "\"", "\n", "a", "0"}) {
        const auto it = std::find_if(ids.begin(), ids.end(), [&](auto id) { return vocabulary.BytesOf(id) == wish; });
        if (it == ids.end() || random() % 4 == 0) continue;
        token = *it;
        break;
      }
    }
    if (!matcher.Accept(token)) {
      result.fault = "an allowed token is not accepted after: " + result.text;
      return result;
    }
    result.text += vocabulary.BytesOf(token);
    ++result.tokens;
  }
  result.finished = matcher.CanEnd();
  return result;
}

}  // namespace quorum::test
