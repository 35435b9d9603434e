// Access to tests/fixtures/tokenizer.
#pragma once

#include <string>
#include <unordered_set>

#include "tests/tokenizer/vocab_file.h"

namespace quorum::tok {

inline nlohmann::json Fixture(const std::string& name) {
  return nlohmann::json::parse(ReadFile(std::string(QUORUM_FIXTURES) + "/tokenizer/" + name));
}

/// SmolLM2's vocabulary: special tokens, the bytes it knows, then what the merges make, in their order.
inline VocabData SmolLm2Vocab() {
  const nlohmann::json json = Fixture("smollm2_vocab.json");
  VocabData data;
  data.model = "gpt2";
  data.pre = "smollm";
  data.tokens = json["specials"].get<std::vector<std::string>>();
  data.types.assign(data.tokens.size(), TokenType::kControl);
  for (const auto& token : json["alphabet"]) data.tokens.push_back(token);
  data.merges = json["merges"].get<std::vector<std::string>>();
  std::unordered_set<std::string> seen;
  for (std::string merge : data.merges) {
    merge.erase(merge.find(' '), 1);
    if (seen.insert(merge).second) data.tokens.push_back(merge);
  }
  data.types.resize(data.tokens.size(), TokenType::kNormal);
  data.bos = 1;
  data.eos = 2;
  data.pad = 2;
  data.unk = 0;
  return data;
}

}  // namespace quorum::tok
