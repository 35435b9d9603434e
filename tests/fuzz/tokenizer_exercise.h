// What the tokenizer fuzzers do with what was made of a file: encode a text, and decode what came out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8_stream.h"

namespace quorum::tok {

inline void Require(bool condition) {
  if (!condition) std::abort();
}

/// A fuzzer's input: a byte of options, the length of a text (one byte), the text, a model file.
struct ModelInput {
  std::uint8_t options = 0;
  std::string_view text, model;
};

/// Nothing where the input is too short.
inline std::optional<ModelInput> ReadModelInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return std::nullopt;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string_view text = rest.substr(0, data[1]);
  return ModelInput{data[0], text, rest.substr(text.size())};
}

/// A refusal must say something; ids must be of the vocabulary, and a stream of them must give what all of them give.
inline void Exercise(const Result<std::shared_ptr<const Tokenizer>>& made, std::string_view text) {
  if (!made.ok()) return Require(!made.error().message.empty());
  const Tokenizer& tokenizer = **made;
  for (const bool special : {false, true}) {
    std::int64_t lost = 0;
    const auto ids =
        tokenizer.Encode(text, {.add_special = special, .parse_special = special, .bytes_without_token = &lost});
    if (!ids.ok()) continue;
    Require(lost >= 0);
    Utf8Stream stream;
    std::string streamed;
    for (const TokenId id : *ids) {
      Require(id >= 0 && id < tokenizer.vocab_size());
      streamed += stream.Push(tokenizer.TokenBytes(id));
    }
    streamed += stream.Finish();
    Require(streamed == SanitizeUtf8(tokenizer.Decode(*ids, false)));
  }
}

}  // namespace quorum::tok
