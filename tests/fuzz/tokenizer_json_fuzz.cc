// libFuzzer target: MakeTokenizerFromJson, then Encode and Decode with whatever tokenizer came out.
// Input: tokenizer.json, a NUL, tokenizer_config.json, a NUL, a text; what is missing is empty.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tokenizer/hf_config.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8_stream.h"

namespace {

using quorum::tok::TokenId;

std::string_view Cut(std::string_view& rest) {
  const std::size_t end = rest.find('\0');
  const std::string_view part = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return part;
}

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const std::string_view json = Cut(rest);
  const std::string_view config = Cut(rest);
  const std::string_view text = rest;
  quorum::tok::HfTokenizerConfig read;
  if (!config.empty() && !quorum::tok::ReadTokenizerConfig(config, read).ok()) return 0;
  const auto made = quorum::tok::MakeTokenizerFromJson(json, read);
  if (!made.ok()) {
    Require(!made.error().message.empty());
    return 0;
  }
  const quorum::tok::Tokenizer& tokenizer = **made;
  for (const bool special : {false, true}) {
    const auto ids = tokenizer.Encode(text, {.add_special = special, .parse_special = special});
    if (!ids.ok()) continue;
    for (const TokenId id : *ids) Require(id >= 0 && id < tokenizer.vocab_size());
    const std::string decoded = tokenizer.Decode(*ids, false);
    quorum::tok::Utf8Stream stream;
    std::string streamed;
    for (const TokenId id : *ids) streamed += stream.Push(tokenizer.TokenBytes(id));
    streamed += stream.Finish();
    Require(streamed == quorum::tok::SanitizeUtf8(decoded));
  }
  return 0;
}
