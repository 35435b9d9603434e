// The pre-tokenizers that GGUF files name in `tokenizer.ggml.pre`.
#pragma once

#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/pretokenize.h"

namespace quorum::tok {

/// What a name stands for.
struct PreTokenizerRecipe {
  std::vector<SplitStep> steps;
  bool nfc = false;            // the model's tokenizer.json normalizes to NFC
  bool ignore_merges = false;  // a word that is a vocabulary entry is one token
  bool add_bos = false;        // where the file does not say
};

/// The recipe for `name`; "" means "default". Names are llama.cpp's (src/llama-vocab.cpp), patterns are those of the
/// models' own tokenizer.json files, which PCRE2 can run unchanged where llama.cpp approximates.
/// Errors: kUnsupported, with the name.
Result<PreTokenizerRecipe> FindPreTokenizer(std::string_view name);

/// GPT-2's split pattern, which ByteLevel with use_regex applies.
std::string_view Gpt2Pattern();

}  // namespace quorum::tok
