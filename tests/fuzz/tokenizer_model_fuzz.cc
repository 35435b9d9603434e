// libFuzzer target: a SentencePiece tokenizer.model. Input: ReadModelInput's. What the parser takes must also survive
// being written and read again.
#include <cstddef>
#include <cstdint>
#include <string>

#include "tests/fuzz/tokenizer_exercise.h"
#include "tokenizer/model_proto.h"
#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = quorum::tok::ReadModelInput(data, size);
  if (!input) return 0;
  const auto& [options, text, model] = *input;

  const auto proto = quorum::tok::ParseModelProto(model);
  if (proto.ok()) {
    const std::string written = quorum::tok::SerializeModelProto(*proto);
    const auto again = quorum::tok::ParseModelProto(written);
    quorum::tok::Require(again.ok() && quorum::tok::SerializeModelProto(*again) == written);
  }

  quorum::tok::HfTokenizerConfig config;
  config.legacy = (options & 1) != 0;
  if ((options & 2) != 0) config.add_prefix_space = false;
  if ((options & 4) != 0) config.added_tokens = {{.content = "<|end|>", .id = 300, .control = true}};
  const auto made = quorum::tok::MakeTokenizerFromSentencePiece(model, config);
  quorum::tok::Require(proto.ok() || !made.ok());
  quorum::tok::Exercise(made, text);
  return 0;
}
