// A model file's vocabulary as a Tokenizer: the one place where GGUF keys and the tokenizer meet.
#pragma once

#include <memory>
#include <string>

#include "engine/base/result.h"
#include "quant/gguf.h"
#include "tokenizer/tokenizer.h"

namespace quorum::engine {

struct LoadedTokenizer {
  std::shared_ptr<const tok::Tokenizer> tokenizer;
  std::string chat_template;  // Jinja source; empty: the file has none
  std::string bos_token;      // the text of BOS and EOS as templates see them; empty: the file names none
  std::string eos_token;
};

/// Reads `tokenizer.ggml.*` and `tokenizer.chat_template`. A vocabulary with more entries than there are embeddings is
/// refused, one with fewer is padded with unused entries, so that every id that a model can draw is known.
/// Errors: kInvalidArgument or kUnsupported, naming file and key.
Result<LoadedTokenizer> LoadTokenizer(const quant::GgufFile& file);

}  // namespace quorum::engine
