// libFuzzer target: MakeTokenizerFromJson, then Encode and Decode with whatever tokenizer came out.
// Input: tokenizer.json, a NUL, tokenizer_config.json, a NUL, a text; what is missing is empty.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tests/fuzz/tokenizer_exercise.h"
#include "tokenizer/hf_config.h"
#include "tokenizer/tokenizer.h"

namespace {

std::string_view Cut(std::string_view& rest) {
  const std::size_t end = rest.find('\0');
  const std::string_view part = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return part;
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
  quorum::tok::Exercise(made, text);
  return 0;
}
