// A model file's vocabulary as a Tokenizer: the one place where GGUF keys and the tokenizer meet.
#pragma once

#include <cstdint>
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

/// Reads `tokenizer.ggml.*` and `tokenizer.chat_template`. `vocab_size` is the number of embeddings: a vocabulary with
/// more entries is refused, one with fewer is padded with unused entries.
/// Errors: kInvalidArgument or kUnsupported, naming file and key.
Result<LoadedTokenizer> LoadGgufTokenizer(const quant::GgufFile& file, std::int32_t vocab_size);

}  // namespace quorum::engine
