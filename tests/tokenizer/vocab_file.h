// Vocabularies for tests, written by tests/tools/tokenizer_lib.py.
#pragma once

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>

#include <nlohmann/json.hpp>

#include "tokenizer/tokenizer.h"

namespace quorum::tok {

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

inline std::string FromBase64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<unsigned>(kDigits.find(c));
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes.push_back(static_cast<char>(bits >> count & 0xFFU));
      bits &= (1U << count) - 1;
    }
  }
  return bytes;
}

inline VocabData VocabFromJson(const nlohmann::json& json) {
  VocabData data;
  data.model = json.at("model").get<std::string>();
  data.pre = json.value("pre", "");
  data.tokens = json.at("tokens").get<std::vector<std::string>>();
  for (const int type : json.value("types", std::vector<int>())) data.types.push_back(static_cast<TokenType>(type));
  data.scores = json.value("scores", std::vector<float>());
  data.merges = json.value("merges", std::vector<std::string>());
  const auto id = [&](const char* key) {
    return json.contains(key) && !json[key].is_null() ? std::optional<TokenId>(json[key].get<TokenId>()) : std::nullopt;
  };
  data.bos = id("bos");
  data.eos = id("eos");
  data.eot = id("eot");
  data.unk = id("unk");
  data.pad = id("pad");
  data.add_bos = json.value("add_bos", false);
  data.add_eos = json.value("add_eos", false);
  data.add_space_prefix = json.value("add_space_prefix", false);
  data.remove_extra_whitespaces = json.value("remove_extra_whitespaces", false);
  data.chars_map = FromBase64(json.value("chars_map", ""));
  return data;
}

inline VocabData ReadVocabFile(const std::string& path) { return VocabFromJson(nlohmann::json::parse(ReadFile(path))); }

}  // namespace quorum::tok
