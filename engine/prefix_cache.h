// Pages whose content is known, so that a prefix is computed once and shared by all sequences that begin with it.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/page_allocator.h"
#include "engine/step_model.h"

namespace quorum::engine {

/// A tree of full pages. A page stands for its kPageTokens tokens behind one parent page, hence for one whole prefix:
/// the same tokens behind other ones are another page. It is found by XXH3-128, seeded per process so that nobody can
/// aim for collisions, and taken only if parent and tokens are really equal. Sharing is safe because a prefix's keys
/// and values are the same bits however they were computed (DESIGN 1.1).
///
/// An encoder's source is different: every position depends on all of it, so its first page stands for the whole source
/// and is found only by that; the pages behind it hang on one another as usual, padded with tokens of -1.
///
/// Pages without references stay until their memory is needed; then leaves go first, the least recently used one at
/// the head (DESIGN 6). Single-threaded.
class PrefixCache {
 public:
  static constexpr std::int32_t kNoParent = -1;
  static constexpr std::int32_t kNoToken = -1;
  using PageTokens = std::span<const tok::TokenId, static_cast<std::size_t>(kPageTokens)>;

  /// Identity of a page up to hash collisions.
  struct Key {
    std::uint64_t low = 0, high = 0;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const { return static_cast<std::size_t>(key.low); }
  };

  PrefixCache(std::int32_t num_pages, std::uint64_t seed);

  /// A page of unknown content with one reference; evicts if none is free. Nothing: all pages are referenced.
  std::optional<std::int32_t> Take();

  /// Gives a reference back. A sequence gives back its last page first, so that leaves are the oldest.
  void Release(std::int32_t page);

  /// The page of `tokens` behind `parent`, with a reference for the caller, or nothing.
  std::optional<std::int32_t> Find(std::int32_t parent, PageTokens tokens);

  /// Declares that `page`, of which the caller holds a reference, holds the keys and values of `tokens` behind
  /// `parent` (a page of the tree). Returns the page that the caller must use from now on: `page`, or the equal page
  /// that was there already (the reference moves to it). Nothing: a hash collision; `page` stays outside.
  std::optional<std::int32_t> Insert(std::int32_t parent, PageTokens tokens, std::int32_t page);

  /// The same for the first page of an encoded source.
  std::optional<std::int32_t> FindSource(std::span<const tok::TokenId> source);
  std::optional<std::int32_t> InsertSource(std::span<const tok::TokenId> source, std::int32_t page);

  Key KeyOf(std::int32_t parent, PageTokens tokens) const;
  Key KeyOfSource(std::span<const tok::TokenId> source) const;

  /// Pages that Take() could still give: free ones and those without references.
  std::int32_t available() const { return pages_.num_pages() - pages_.referenced_pages(); }
  std::int32_t referenced() const { return pages_.referenced_pages(); }
  std::int32_t num_pages() const { return pages_.num_pages(); }
  std::int32_t cached() const { return static_cast<std::int32_t>(index_.size()); }  // pages in the tree
  std::int32_t refs(std::int32_t page) const { return pages_.refs(page); }

 private:
  struct Node {
    bool in_tree = false;
    std::int32_t parent = kNoParent;
    std::int32_t children = 0;
    std::uint64_t last_use = 0;  // tick of the last Release
    Key key;
    std::vector<tok::TokenId> tokens;  // a page's, or a whole source
  };

  Node& At(std::int32_t page) { return nodes_[static_cast<std::size_t>(page)]; }
  std::optional<std::int32_t> Find(const Key& key, std::int32_t parent, std::span<const tok::TokenId> tokens);
  std::optional<std::int32_t> Insert(const Key& key, std::int32_t parent, std::span<const tok::TokenId> tokens,
                                     std::int32_t page);
  bool IsEvictable(std::int32_t page);
  void Evict(std::int32_t page);

  PageAllocator pages_;
  std::uint64_t seed_;
  std::uint64_t tick_ = 0;
  std::vector<Node> nodes_;  // per page
  std::unordered_map<Key, std::int32_t, KeyHash> index_;
  std::set<std::pair<std::uint64_t, std::int32_t>> evictable_;  // (last use, page): leaves without references
};

}  // namespace quorum::engine
