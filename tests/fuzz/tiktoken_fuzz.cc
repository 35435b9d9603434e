// libFuzzer target: a tiktoken.model. Input: ReadModelInput's.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/tokenizer_exercise.h"
#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = quorum::tok::ReadModelInput(data, size);
  if (!input) return 0;
  const auto& [options, text, model] = *input;

  quorum::tok::HfTokenizerConfig config;
  config.tokenizer_class = "TikTokenTokenizer";
  if ((options & 1) != 0) config.embeddings = 300;
  if ((options & 2) != 0) config.added_tokens = {{.content = "<|end|>", .id = 40, .control = true}};
  const auto made = quorum::tok::MakeTokenizerFromTikToken(model, config);
  quorum::tok::Exercise(made, text);
  return 0;
}
