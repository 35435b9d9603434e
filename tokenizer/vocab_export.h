// Hugging Face vocabularies as GGUF's keys have them.
#pragma once

#include <string>
#include <string_view>

#include "engine/base/result.h"
#include "tokenizer/tokenizer.h"

namespace quorum::tok {

/// The vocabulary of a `tokenizer.json`: byte-level BPE becomes "gpt2" (without its `pre`, see CompleteLike), BPE
/// over characters "llama" with scores that make SentencePiece merge in the same order, Unigram "t5". Ids without an
/// entry get llama.cpp's "[PAD7]". Errors: those of MakeTokenizerFromJson; kUnsupported for other models.
Result<VocabData> VocabFromTokenizerJson(std::string_view tokenizer_json, const HfTokenizerConfig& config);

/// The vocabulary of a SentencePiece `tokenizer.model`: "llama" for BPE, "t5" for Unigram.
Result<VocabData> VocabFromSentencePiece(std::string_view tokenizer_model, const HfTokenizerConfig& config);

/// The vocabulary of a `tiktoken.model`: "gpt2" with merges made of its ranks, the tokens that `config` adds, and free
/// ones up to 256 in all or the number of embeddings. Errors: kInvalidArgument, naming line or rank; kUnsupported for
/// a tokenizer_class whose way to split texts is not known.
Result<VocabData> VocabFromTikToken(std::string_view tiktoken_model, const HfTokenizerConfig& config);

/// Completes `vocab`, made of the same files as `original`: bos, eos and what goes around a text, and where `vocab` is
/// byte-level and has none the `pre` with which it cuts trial texts (contractions, digits, scripts, runs of spaces and
/// lines) as `original` does. Errors: kUnsupported when none of GGUF's names does, or other tokens than BOS and EOS go
/// around a text.
Status CompleteLike(const Tokenizer& original, VocabData& vocab);

}  // namespace quorum::tok
