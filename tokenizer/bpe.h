// Byte-pair encoding of one word: symbols are merged pairwise, the pair of lowest rank first, leftmost on ties.
// Sennrich et al. 2016 (arXiv:1508.07909); the same engine runs GPT-2's byte-level vocabularies and Hugging Face's
// character-level ones.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/string_index.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/word_model.h"

namespace quorum::tok {

/// `left` and `right` side by side become `merged`. A lower rank goes first.
struct BpeMerge {
  TokenId left = -1;
  TokenId right = -1;
  TokenId merged = -1;
  std::uint32_t rank = 0;
};

/// Why it is no merge, for an error; empty where it is one.
inline std::string_view FaultOf(const BpeMerge& merge) {
  if (merge.left < 0 || merge.right < 0) return "is about parts that are not in the vocabulary";
  return merge.merged < 0 ? "makes a part that is not in the vocabulary" : "";
}

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
  UnknownText unknown;
  TokenId vocab_size = 0;
};

/// Immutable and thread-safe.
class BpeModel final : public WordModel {
 public:
  explicit BpeModel(const BpeSpec& spec);

  /// O(n log n).
  Status Encode(std::string_view word, bool begins_text, WordScratch& scratch,
                std::vector<TokenId>& out) const override;

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

  void AppendSymbols(std::string_view word, WordScratch& scratch) const;
  void MergeShort(WordScratch& scratch) const;
  void MergeLong(WordScratch& scratch) const;
  static std::size_t AsIndex(TokenId id) { return static_cast<std::size_t>(id); }

  StringIndex index_;
  PairTable pairs_;
  std::vector<bool> whole_;  // by id: the entry's own bytes encode to just that id
  std::array<TokenId, 256> byte_ids_ = UnknownText::NoByteTokens();
  UnknownText unknown_;
  bool characters_ = false;
};

}  // namespace quorum::tok
