// What every model that turns a word into ids has in common: buffers, and what becomes of text without a token.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/tokenizer.h"

namespace quorum::tok {

/// Buffers for one thread's calls, kept to avoid allocations. Any model may use any scratch.
struct WordScratch {
  // BPE
  struct Symbol {
    TokenId id;
    std::int32_t previous;
    std::int32_t next;
  };
  struct Candidate {
    std::uint32_t rank;
    std::int32_t position;
    TokenId left, right;
  };
  std::vector<TokenId> ids;
  std::vector<std::uint32_t> ranks;
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  // Unigram: the best path that ends at each byte
  struct PathEnd {
    double score;
    std::size_t start;
    TokenId id;
  };
  std::vector<PathEnd> path;
  std::vector<PathEnd> pieces;

  std::int64_t bytes_without_token = 0;  // only grows
};

/// Longest word that a model takes, in bytes: positions are 32-bit.
constexpr std::size_t kMaxWordBytes = std::size_t{1} << 30;

/// Immutable and thread-safe.
class WordModel {
 public:
  virtual ~WordModel() = default;

  /// Appends the ids of `word` (any bytes) to `out`; bytes that have no token are counted in `scratch` and left out.
  /// `begins_text`: the word begins a text, before which SentencePiece may put a space.
  /// Errors: kTooLarge over kMaxWordBytes.
  virtual Status Encode(std::string_view word, bool begins_text, WordScratch& scratch,
                        std::vector<TokenId>& out) const = 0;
};

/// What becomes of characters that the vocabulary does not have.
struct UnknownText {
  std::array<TokenId, 256> byte_tokens = NoByteTokens();  // SentencePiece's <0xNN>; -1: none
  TokenId unknown = -1;                                   // for a character whose bytes have no tokens; -1: none
  bool fuse = false;                                      // one `unknown` for several in a row

  /// Appends byte tokens for `part` where all its bytes have one, else `unknown`, else counts its bytes as lost.
  void Append(std::string_view part, std::vector<TokenId>& ids, WordScratch& scratch) const;

  static std::array<TokenId, 256> NoByteTokens() {
    std::array<TokenId, 256> none{};
    none.fill(-1);
    return none;
  }
};

}  // namespace quorum::tok
