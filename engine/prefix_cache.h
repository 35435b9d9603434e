// Pages whose content is known, so that a prefix is computed once and shared by all sequences that begin with it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/page_allocator.h"
#include "engine/step_model.h"
#include "engine/window_pages.h"

namespace quorum::engine {

/// What else than tokens keys and values depend on (expert options); null: nothing. Compared by content.
using Lineage = std::shared_ptr<const std::string>;

/// A radix tree of pages (as SGLang's RadixAttention, Zheng et al. 2024, but cut at page ends). A page stands for up to
/// kPageTokens tokens behind one full parent page, hence for one whole prefix: the same tokens behind other ones, or of
/// another lineage, are another page. Full pages are shared by reference; of a page that agrees only at its beginning,
/// or is not full, the user takes a copy. Pages are ordered by parent and tokens, and compared token by token: no hash
/// decides anything. Sharing is safe because a prefix's keys and values are the same bits however they were computed
/// (DESIGN 1.1).
///
/// Pages without references stay until their memory is needed; then leaves go first, the least recently used one at
/// the head (DESIGN 6). Single-threaded.
class PrefixCache {
 public:
  static constexpr std::int32_t kNoParent = -1;
  using Tokens = std::span<const tok::TokenId>;  // of one page: 1 to kPageTokens

  /// Where a page stands: behind `parent`, or at the beginning of sequences of `lineage`.
  struct Place {
    std::int32_t parent = kNoParent;
    const std::string* lineage = nullptr;  // read only without parent; null as ""
  };

  /// `window_places` and `map_window` as of WindowPages.
  explicit PrefixCache(std::int32_t num_pages, std::int32_t window_places = 0, WindowPages::Map map_window = {});
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  /// A page of unknown content with one reference; evicts if none is free. Nothing: all pages are referenced.
  std::optional<std::int32_t> Take();

  void Ref(std::int32_t page);
  /// Gives a reference back. A sequence gives back its last page first, so that leaves are the oldest.
  void Release(std::int32_t page);

  /// The full page of `tokens` at `place`, with a reference for the caller, or nothing.
  std::optional<std::int32_t> Find(Place place, Tokens tokens);

  struct Match {
    std::int32_t page = kNoParent;
    std::int32_t tokens = 0;  // that agree from the page's first on
  };
  /// The page at `place` that agrees with `tokens` for the longest; no reference. tokens == 0: none does.
  /// `whole`: only pages that have memory in windowed layers, of which a few are looked at.
  Match Longest(Place place, Tokens tokens, bool whole = false) const;

  /// Leading tokens of a whole sequence that the tree knows.
  std::int32_t Known(Tokens sequence, const Lineage& lineage) const;

  /// Declares that `page`, of which the caller holds a reference, begins with the keys and values of `tokens` at
  /// `place` (whose parent is a full page of the tree); a page may be declared again with more tokens behind those it
  /// had. Returns the page that the caller must use from now on: `page`, or for a full one the equal page that was
  /// there already (the reference moves to it). A part that another page begins with as well is not kept.
  std::int32_t Insert(Place place, const Lineage& lineage, Tokens tokens, std::int32_t page);

  /// Pages that Take() could still give: free ones and those without references.
  std::int32_t available() const { return pages_.num_pages() - pages_.referenced_pages(); }
  std::int32_t referenced() const { return pages_.referenced_pages(); }
  std::int32_t num_pages() const { return pages_.num_pages(); }
  std::int32_t cached() const { return static_cast<std::int32_t>(tree_.size()); }  // pages in the tree
  std::int32_t refs(std::int32_t page) const { return pages_.refs(page); }

  /// Which pages have memory in windowed layers. Freed pages lose it, equal pages share it.
  WindowPages& windows() { return windows_; }
  const WindowPages& windows() const { return windows_; }

 private:
  struct Node {
    bool in_tree = false;
    std::int32_t parent = kNoParent;
    std::int32_t children = 0;
    std::uint64_t last_use = 0;  // tick of the last Release
    std::int32_t count = 0;      // of tokens
    std::array<tok::TokenId, static_cast<std::size_t>(kPageTokens)> tokens;
    Lineage lineage;  // of pages without parent
  };
  struct Probe {
    Place place;
    Tokens tokens;
  };
  struct Less {
    using is_transparent = void;
    const PrefixCache* cache;
    bool operator()(std::int32_t a, std::int32_t b) const { return Compare(cache->ProbeOf(a), cache->ProbeOf(b)); }
    bool operator()(std::int32_t a, const Probe& b) const { return Compare(cache->ProbeOf(a), b); }
    bool operator()(const Probe& a, std::int32_t b) const { return Compare(a, cache->ProbeOf(b)); }
    static bool Compare(const Probe& a, const Probe& b);
  };

  Node& At(std::int32_t page) { return nodes_[static_cast<std::size_t>(page)]; }
  const Node& At(std::int32_t page) const { return nodes_[static_cast<std::size_t>(page)]; }
  Probe ProbeOf(std::int32_t page) const;
  bool IsEvictable(std::int32_t page) const;
  void Evict(std::int32_t page);
  void Unlink(std::int32_t page);
  void Free(std::int32_t page);

  PageAllocator pages_;
  WindowPages windows_;
  std::uint64_t tick_ = 0;
  std::vector<Node> nodes_;  // per page
  std::set<std::int32_t, Less> tree_;
  std::set<std::pair<std::uint64_t, std::int32_t>> evictable_;  // (last use, page): leaves without references
};

}  // namespace quorum::engine
