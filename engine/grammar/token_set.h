// The tokens that may come next: ids in a list when they are few, a bit each when they are many.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/grammar/grammar.h"

namespace quorum::grammar {

/// Immutable after Finish.
class TokenSet {
 public:
  /// An empty set of ids in [0, size).
  explicit TokenSet(std::int32_t size) : size_(size), bits_((static_cast<std::size_t>(size) + 63) / 64) {}

  void Add(TokenId id) { bits_[Word(id)] |= Bit(id); }
  /// REQUIRES: the same size, and neither is finished.
  void AddAll(const TokenSet& other) {
    for (std::size_t i = 0; i < bits_.size(); ++i) bits_[i] |= other.bits_[i];
  }
  /// Chooses the form. Nothing may be added any more.
  void Finish();

  bool Contains(TokenId id) const {
    if (!listed_) return (bits_[Word(id)] & Bit(id)) != 0;
    return std::binary_search(ids_.begin(), ids_.end(), id);
  }
  std::int32_t size() const { return size_; }  // of the vocabulary
  std::size_t count() const { return count_; }
  bool listed() const { return listed_; }
  std::span<const TokenId> ids() const { return ids_; }          // ascending; if listed()
  std::span<const std::uint64_t> bits() const { return bits_; }  // bit id % 64 of word id / 64; if not listed()
  std::size_t bytes() const { return bits_.size() * 8 + ids_.size() * 4 + sizeof(*this); }

 private:
  static std::size_t Word(TokenId id) { return static_cast<std::size_t>(id) / 64; }
  static std::uint64_t Bit(TokenId id) { return std::uint64_t{1} << (static_cast<std::uint32_t>(id) % 64); }

  std::int32_t size_;
  std::vector<std::uint64_t> bits_;
  std::vector<TokenId> ids_;
  std::size_t count_ = 0;
  bool listed_ = false;
};

}  // namespace quorum::grammar
