// libFuzzer target: a tiktoken.model. Input: a byte of options, the length of a text (one byte), the text, the model.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tests/fuzz/tokenizer_exercise.h"
#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::uint8_t options = data[0];
  std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string_view text = rest.substr(0, data[1]);
  const std::string_view model = rest.substr(text.size());

  quorum::tok::HfTokenizerConfig config;
  config.tokenizer_class = "TikTokenTokenizer";
  if ((options & 1) != 0) config.embeddings = 300;
  if ((options & 2) != 0) config.added_tokens = {{.content = "<|end|>", .id = 40, .control = true}};
  const auto made = quorum::tok::MakeTokenizerFromTikToken(model, config);
  quorum::tok::Exercise(made, text);
  return 0;
}
