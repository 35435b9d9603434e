// Byte-pair encoding of one word: symbols are merged pairwise, the pair of lowest rank first, leftmost on ties.
// Sennrich et al. 2016 (arXiv:1508.07909); the same engine runs GPT-2's byte-level vocabularies, Hugging Face's
// character-level ones and SentencePiece's, whose ranks come from scores (spm_vocab.h).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/string_index.h"
#include "tokenizer/tokenizer.h"

namespace quorum::tok {

/// `left` and `right` side by side become `merged`. A lower rank goes first.
struct BpeMerge {
  TokenId left = -1;
  TokenId right = -1;
  TokenId merged = -1;
  std::uint32_t rank = 0;
};

/// Everything that a BpeModel is made of.
struct BpeSpec {
  /// A vocabulary entry's id and the bytes that it spells; `bytes` must outlive the model at its address.
  struct Entry {
    std::string_view bytes;
    TokenId id = -1;
  };

  std::vector<Entry> entries;    // distinct bytes; only what ordinary text may become
  std::vector<BpeMerge> merges;  // of a repeated pair the last counts
  bool characters = false;       // symbols are whole characters, not bytes
  bool ignore_merges = false;    // a word that is an entry is that token, whatever the merges say (Llama 3)
  std::array<TokenId, 256> byte_tokens = NoByteTokens();  // SentencePiece's <0xNN> for unknown characters; -1: none
  TokenId unknown = -1;           // what an unknown character becomes when its bytes have no tokens; -1: an error
  bool fuse_unknown = false;      // one `unknown` for several in a row
  TokenId vocab_size = 0;         // ids from here on are characters that only occur inside longer entries
  std::vector<TokenId> dissolve;  // tokens that may arise on the way but not remain: split again at the end

  static std::array<TokenId, 256> NoByteTokens() {
    std::array<TokenId, 256> none{};
    none.fill(-1);
    return none;
  }
};

/// Buffers for one thread's calls, kept to avoid allocations. Any model may use any scratch.
struct BpeScratch {
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
  std::vector<TokenId> stack;
};

/// Longest word that a model takes, in bytes: positions are 32-bit.
constexpr std::size_t kMaxWordBytes = std::size_t{1} << 30;

/// Immutable and thread-safe.
class BpeModel {
 public:
  BpeModel() = default;
  explicit BpeModel(const BpeSpec& spec);

  /// Appends the ids of `word` (any bytes) to `out`. O(n log n).
  /// Errors: kInvalidArgument when the vocabulary has no spelling for a part of it; kTooLarge over kMaxWordBytes.
  Status Encode(std::string_view word, BpeScratch& scratch, std::vector<TokenId>& out) const;

 private:
  /// Open-addressing map from a pair of ids to its rank and merged id.
  class PairTable {
   public:
    struct Entry {
      std::uint64_t key = kFree;
      std::uint32_t rank = kNoRank;
      TokenId merged = -1;
    };
    static constexpr std::uint64_t kFree = ~std::uint64_t{0};
    static constexpr std::uint32_t kNoRank = ~std::uint32_t{0};

    void Build(const std::vector<BpeMerge>& merges);
    const Entry& Find(TokenId left, TokenId right) const;

   private:
    std::vector<Entry> slots_ = std::vector<Entry>(2);
    unsigned shift_ = 63;
  };

  Status AppendSymbols(std::string_view word, std::vector<TokenId>& ids) const;
  Status AppendUnknown(std::string_view part, std::vector<TokenId>& ids) const;
  void MergeShort(BpeScratch& scratch) const;
  void MergeLong(BpeScratch& scratch) const;
  Status Emit(BpeScratch& scratch, std::vector<TokenId>& out) const;
  bool MayRemain(TokenId id) const { return id < vocab_size_ && (parts_.empty() || parts_[AsIndex(id)].left < 0); }
  static std::size_t AsIndex(TokenId id) { return static_cast<std::size_t>(id); }

  StringIndex index_;
  StringTable hidden_;  // bytes of the ids from vocab_size_ on
  PairTable pairs_;
  std::vector<bool> whole_;      // by id: the entry's own bytes encode to just that id
  std::vector<BpeMerge> parts_;  // by id, for tokens to dissolve; left < 0: stays. Empty when there are none
  std::array<TokenId, 256> byte_ids_ = BpeSpec::NoByteTokens();
  std::array<TokenId, 256> byte_tokens_ = BpeSpec::NoByteTokens();
  bool characters_ = false;
  bool fuse_unknown_ = false;
  TokenId unknown_ = -1;
  TokenId vocab_size_ = 0;
};

}  // namespace quorum::tok
