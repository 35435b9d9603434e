// libFuzzer target: a SentencePiece tokenizer.model. Input: a byte of options, the length of a text (one byte), the
// text, the model. What the parser takes must also survive being written and read again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "tests/fuzz/tokenizer_exercise.h"
#include "tokenizer/model_proto.h"
#include "tokenizer/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::uint8_t options = data[0];
  std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string_view text = rest.substr(0, data[1]);
  const std::string_view model = rest.substr(text.size());

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
