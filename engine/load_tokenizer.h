// A model file's, or folder's, vocabulary as a Tokenizer: the one place where file formats and the tokenizer meet.
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
  std::string tool_template;  // the one for requests with tools where the file has a separate one ("tool_use")
  std::string bos_token;      // the text of BOS and EOS as templates see them; empty: the file names none
  std::string eos_token;
};

/// Reads `tokenizer.ggml.*` and `tokenizer.chat_template`. A vocabulary with more entries than there are embeddings is
/// refused, one with fewer is padded with unused entries, so that every id that a model can draw is known.
/// Errors: kInvalidArgument or kUnsupported, naming file and key.
Result<LoadedTokenizer> LoadTokenizer(const quant::GgufFile& file);

/// Reads the tokenizer of a Hugging Face folder: tokenizer.json (or tokenizer.model, spiece.model, tiktoken.model); bos
/// and eos from tokenizer_config.json or special_tokens_map.json; more end-of-generation ids from
/// generation_config.json and config.json; the chat template from chat_template.jinja and
/// additional_chat_templates/*.jinja, else tokenizer_config.json, else chat_template.json. `embeddings` are the rows of
/// the embedding matrix, see LoadTokenizer; 0: not known. Errors: as LoadTokenizer.
Result<LoadedTokenizer> LoadTokenizerFromFolder(const std::string& folder, std::int64_t embeddings);

}  // namespace quorum::engine
