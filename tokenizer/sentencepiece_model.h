// SentencePiece's unigram and BPE models (Kudo and Richardson 2018, arXiv:1808.06226) on libsentencepiece, which stays
// behind this header.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/model_proto.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/word_model.h"

namespace quorum::tok {

/// Encodes whole texts: the library normalizes (character map, spaces, dummy prefix), finds user-defined symbols and
/// segments. Control symbols and the unknown one never come from text. Immutable and thread-safe.
class SentencePieceModel final : public WordModel {
 public:
  /// `proto`'s ids are kept. Pieces that cannot come from text (empty, repeated, not UTF-8, or with a NUL) keep their
  /// id and are never made. Byte tokens need not be complete: a character becomes bytes where all of its bytes have a
  /// token, else `unknown` (-1: it is counted as lost); so does text that is not UTF-8.
  /// Errors: kInvalidArgument: no usable piece, a score that is not a finite number, a piece over kMaxPieceBytes, a
  /// character map that CharsMap refuses.
  static Result<std::unique_ptr<const SentencePieceModel>> Make(const ModelProto& proto, TokenId unknown);

  ~SentencePieceModel() override;

  /// The dummy prefix is added when `begins_text` and the model has one.
  Status Encode(std::string_view word, bool begins_text, WordScratch& scratch,
                std::vector<TokenId>& out) const override;

  /// Pieces are a few characters long; building recurses once a byte.
  static constexpr std::size_t kMaxPieceBytes = 512;

 private:
  struct Library;
  explicit SentencePieceModel(std::unique_ptr<Library> library);

  std::unique_ptr<Library> library_;
};

/// SentencePiece's character for a space, U+2581.
constexpr std::string_view kSpmSpace = "\xE2\x96\x81";

}  // namespace quorum::tok
