// Unigram language models (Kudo 2018, arXiv:1804.10959) as tokenizer.json holds them: the split of a word whose pieces'
// scores have the highest sum. Scores are added up in double precision and in the order in which Hugging Face does, so
// that near ties fall alike; SentencePiece itself (sentencepiece_model.h) adds floats.
#pragma once

#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/byte_trie.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/word_model.h"

namespace quorum::tok {

/// Everything that a UnigramModel is made of.
struct UnigramSpec {
  struct Piece {
    std::string_view text;  // not empty
    TokenId id = -1;
    double score = 0;
  };
  std::vector<Piece> pieces;  // of equal texts the first counts
  double unknown_score = 0;   // of a character without a piece
  UnknownText unknown;        // for each run of such characters
};

/// Immutable and thread-safe.
class UnigramModel final : public WordModel {
 public:
  /// Errors: kInvalidArgument when a piece is longer than ByteTrie::kMaxKeyBytes or a score is not a finite number,
  /// with its id.
  static Result<UnigramModel> Make(const UnigramSpec& spec);

  /// O(n · longest piece).
  Status Encode(std::string_view word, bool begins_text, WordScratch& scratch,
                std::vector<TokenId>& out) const override;

 private:
  UnigramModel() = default;

  ByteTrie trie_;  // to indices into scores_ and ids_
  std::vector<double> scores_;
  std::vector<TokenId> ids_;
  double unknown_score_ = 0;
  UnknownText unknown_;
};

}  // namespace quorum::tok
