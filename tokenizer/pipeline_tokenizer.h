// The one implementation of Tokenizer: added tokens, normalizer, pre-tokenizer and merges in a row.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/normalize.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab.h"
#include "tokenizer/word_model.h"

namespace quorum::tok {

/// What a file's reader puts together.
struct TokenizerParts {
  Vocab vocab;                             // finished
  std::unique_ptr<const WordModel> model;  // may refer to bytes that live in `vocab`
  AddedTokenFinder raw_tokens;             // looked for in the text as it comes
  AddedTokenFinder normalized_tokens;      // looked for after normalization
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  bool prefix_only_first = false;  // the model's own prefix comes before the whole text, not each between tokens
  std::vector<TokenId> prefix;     // with add_special
  std::vector<TokenId> suffix;
  std::optional<TokenId> bos;
  std::optional<TokenId> eos;
  std::vector<TokenId> ends_generation;  // beside those known by name
};

/// Adds a configuration's further end-of-generation ids, and EOS. One outside the vocabulary is left out with a
/// warning.
void AddEndIds(const std::vector<TokenId>& ids, TokenizerParts& parts);

/// Immutable and thread-safe.
class PipelineTokenizer final : public Tokenizer {
 public:
  explicit PipelineTokenizer(TokenizerParts parts);

  Result<std::vector<TokenId>> Encode(std::string_view text, const EncodeOptions& options) const override;
  std::string_view TokenBytes(TokenId id) const override;
  std::int32_t vocab_size() const override { return parts_.vocab.size(); }
  bool IsControl(TokenId id) const override;
  bool IsEndOfGeneration(TokenId id) const override;
  std::optional<TokenId> bos() const override { return parts_.bos; }
  std::optional<TokenId> eos() const override { return parts_.eos; }
  std::optional<TokenId> FindToken(std::string_view text) const override;

 private:
  struct Scratch;

  Status EncodeText(std::string_view text, bool at_start, bool parse_special, Scratch& scratch,
                    std::vector<TokenId>& out) const;
  Status EncodeValidText(std::string_view text, bool at_start, bool begins_segment, bool parse_special,
                         Scratch& scratch, std::vector<TokenId>& out) const;

  TokenizerParts parts_;
  std::vector<bool> ends_generation_;  // by id
};

}  // namespace quorum::tok
