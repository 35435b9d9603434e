// Random texts of grammars, and which texts they take, for the Python tests that compare with other implementations.
//   grammar_sample [VOCABULARY]      tokens as grammar_fuzz.py writes them, [hex, kind] a line; default: a small
//   made-up one
// Reads one JSON object a line:
//   {"kind": "json_schema" | "json_object" | "regex" | "search" | "gbnf", "text": ..., "compact": bool,
//    "samples": n, "seed": n, "wander": tokens, "max_tokens": n, "check": [texts]}
// Writes one a line: {"error": ...}, or {"samples": [{"text", "finished", "tokens"}], "takes": [bool], "mask_us":
// [...], "compile_ms": ..., "fault": text or absent}. Texts that are not UTF-8 come with replacements.
#include <chrono>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/grammar/gbnf.h"
#include "engine/grammar/json_schema.h"
#include "engine/grammar/regex.h"
#include "tests/support/grammar_walk.h"

namespace quorum {
namespace {

using Json = nlohmann::json;

std::shared_ptr<const grammar::Vocabulary> LoadVocabulary(const char* path) {
  std::ifstream in(path);
  std::vector<std::string> texts;
  std::vector<grammar::TokenKind> kinds;
  for (std::string line; std::getline(in, line);) {
    const Json token = Json::parse(line);
    const std::string hex = token.at(0);
    std::string bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
      bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    texts.push_back(std::move(bytes));
    kinds.push_back(static_cast<grammar::TokenKind>(token.at(1).get<int>()));
  }
  std::vector<grammar::VocabularyToken> tokens;
  for (std::size_t i = 0; i < texts.size(); ++i) tokens.push_back({texts[i], kinds[i]});
  return std::make_shared<const grammar::Vocabulary>(tokens);
}

Result<grammar::Grammar> Parse(const Json& request) {
  const std::string kind = request.at("kind");
  const std::string text = request.value("text", "");
  const auto space = request.value("compact", false) ? grammar::JsonSpace::kCompact : grammar::JsonSpace::kBounded;
  if (kind == "json_schema") return grammar::ParseJsonSchema(text, space);
  if (kind == "json_object") return grammar::JsonObjectGrammar(space);
  if (kind == "gbnf") return grammar::ParseGbnf(text);
  grammar::Grammar made;
  QUORUM_ASSIGN(
      const auto root,
      grammar::ParseRegex(text, kind == "regex" ? grammar::RegexMatch::kWhole : grammar::RegexMatch::kAnywhere, made));
  made.SetRoot(root);
  return made;
}

Json Answer(const Json& request, const std::shared_ptr<const grammar::Vocabulary>& vocabulary) {
  const auto begin = std::chrono::steady_clock::now();
  const auto elapsed = [&begin] {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  };
  const auto parsed = Parse(request);
  if (!parsed.ok()) return {{"error", parsed.error().message}, {"compile_ms", elapsed()}};
  const auto compiled = grammar::CompiledGrammar::Compile(*parsed, vocabulary);
  if (!compiled.ok()) return {{"error", compiled.error().message}, {"compile_ms", elapsed()}};
  Json answer = {
      {"compile_ms", elapsed()}, {"samples", Json::array()}, {"takes", Json::array()}, {"mask_us", Json::array()}};
  for (int i = 0; i < request.value("samples", 0); ++i) {
    const auto walk = test::Walk(*compiled, request.value("seed", std::uint64_t{0}) + static_cast<std::uint64_t>(i),
                                 request.value("wander", 60), request.value("max_tokens", 2000));
    answer["samples"].push_back({{"text", walk.text}, {"finished", walk.finished}, {"tokens", walk.tokens}});
    for (const double us : walk.mask_us) answer["mask_us"].push_back(us);
    if (!walk.fault.empty()) answer["fault"] = walk.fault;
  }
  for (const Json& text : request.value("check", Json::array())) {
    answer["takes"].push_back(test::Takes(**compiled, text.get<std::string>()));
  }
  return answer;
}

int Run(int argc, char** argv) {
  const auto vocabulary = argc > 1 ? LoadVocabulary(argv[1]) : test::SmallVocabulary();
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << Answer(Json::parse(line), vocabulary).dump(-1, ' ', true, Json::error_handler_t::replace) << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace quorum

int main(int argc, char** argv) { return quorum::Run(argc, argv); }
