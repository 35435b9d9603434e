// Encodes texts from standard input, for tokenizer_diff.py, which builds and runs this. Not part of the build.
//   tokenizer_dump json TOKENIZER_JSON [CONFIG_JSON]     Hugging Face's files
//   tokenizer_dump spm TOKENIZER_MODEL [CONFIG_JSON]     SentencePiece's file
//   tokenizer_dump vocab VOCAB_JSON                      a vocabulary as tokenizer_diff.py writes it (VocabData)
// Input: one JSON string a line. Output: one line each, {"ids": [...], "plain": [...], "back": bool}, where "ids" has
// control tokens parsed and "plain" has not, and "back" says whether decoding "plain" gives the text; or
// {"error": "..."}. The time spent goes to standard error.
#include <chrono>
#include <fstream>
#include <iostream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/tokenizer/vocab_file.h"
#include "tokenizer/hf_config.h"
#include "tokenizer/tokenizer.h"

namespace quorum::tok {
namespace {

int Run(int argc, char** argv) {
  const std::string mode = argc > 2 ? argv[1] : "";
  Result<std::shared_ptr<const Tokenizer>> made = InvalidArgument("usage: tokenizer_dump json|spm|vocab FILE [CONFIG]");
  HfTokenizerConfig config;
  if (argc > 3) QUORUM_CHECK(ReadTokenizerConfig(ReadFile(argv[3]), config).ok());
  if (mode == "json") made = MakeTokenizerFromJson(ReadFile(argv[2]), config);
  if (mode == "spm") made = MakeTokenizerFromSentencePiece(ReadFile(argv[2]), config);
  if (mode == "vocab") made = MakeTokenizer(ReadVocabFile(argv[2]));
  if (!made) {
    std::cerr << made.error().message << "\n";
    return 1;
  }
  const Tokenizer& tokenizer = **made;
  double seconds = 0;
  std::size_t bytes = 0;
  for (std::string line; std::getline(std::cin, line);) {
    const auto text = nlohmann::json::parse(line).get<std::string>();
    const auto start = std::chrono::steady_clock::now();
    const auto ids = tokenizer.Encode(text, {.add_special = true, .parse_special = true});
    std::int64_t lost = 0;
    const auto plain = tokenizer.Encode(text, {.bytes_without_token = &lost});
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    bytes += 2 * text.size();
    nlohmann::json out;
    if (!ids || !plain) {
      out["error"] = (ids ? plain : ids).error().message;
    } else {
      out["ids"] = *ids;
      out["plain"] = *plain;
      if (lost > 0) out["lost"] = lost;
      out["back"] = tokenizer.Decode(*plain) == text;
    }
    std::cout << out.dump() << "\n";
  }
  std::cerr << bytes << " bytes in " << seconds << " s\n";
  return 0;
}

}  // namespace
}  // namespace quorum::tok

int main(int argc, char** argv) { return quorum::tok::Run(argc, argv); }
