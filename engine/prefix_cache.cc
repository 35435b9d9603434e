#include "engine/prefix_cache.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string_view>
#include <utility>

#include "engine/base/check.h"

namespace quorum::engine {
namespace {

std::string_view TextOf(const std::string* lineage) {
  return lineage == nullptr ? std::string_view() : std::string_view(*lineage);
}

bool SamePlace(const PrefixCache::Place& a, const PrefixCache::Place& b) {
  return a.parent == b.parent && (a.parent != PrefixCache::kNoParent || TextOf(a.lineage) == TextOf(b.lineage));
}

std::int32_t CommonTokens(PrefixCache::Tokens a, PrefixCache::Tokens b) {
  return static_cast<std::int32_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace

bool PrefixCache::Less::Compare(const Probe& a, const Probe& b) {
  if (a.place.parent != b.place.parent) return a.place.parent < b.place.parent;
  if (a.place.parent == kNoParent) {
    const int order = TextOf(a.place.lineage).compare(TextOf(b.place.lineage));
    if (order != 0) return order < 0;
  }
  return std::lexicographical_compare(a.tokens.begin(), a.tokens.end(), b.tokens.begin(), b.tokens.end());
}

PrefixCache::PrefixCache(std::int32_t num_pages, std::int32_t window_places, WindowPages::Map map_window)
    : pages_(num_pages),
      windows_(num_pages, window_places, std::move(map_window)),
      nodes_(static_cast<std::size_t>(num_pages)),
      tree_(Less{this}) {}

PrefixCache::Probe PrefixCache::ProbeOf(std::int32_t page) const {
  const Node& node = At(page);
  return {{node.parent, node.lineage.get()}, Tokens(node.tokens).first(static_cast<std::size_t>(node.count))};
}

bool PrefixCache::IsEvictable(std::int32_t page) const {
  const Node& node = At(page);
  return node.in_tree && node.children == 0 && pages_.refs(page) == 0;
}

std::optional<std::int32_t> PrefixCache::Take() {
  if (pages_.free_pages() == 0 && !evictable_.empty()) Evict(evictable_.begin()->second);
  return pages_.Allocate();
}

void PrefixCache::Ref(std::int32_t page) {
  if (IsEvictable(page)) evictable_.erase({At(page).last_use, page});
  pages_.Ref(page);
}

void PrefixCache::Release(std::int32_t page) {
  if (pages_.Unref(page) > 0) return;
  Node& node = At(page);
  if (!node.in_tree) {
    Free(page);
    return;
  }
  node.last_use = ++tick_;
  if (IsEvictable(page)) evictable_.emplace(node.last_use, page);
}

std::optional<std::int32_t> PrefixCache::Find(Place place, Tokens tokens) {
  QUORUM_CHECK(tokens.size() == static_cast<std::size_t>(kPageTokens));
  const auto it = tree_.find(Probe{place, tokens});
  if (it == tree_.end()) return {};
  Ref(*it);
  return *it;
}

PrefixCache::Match PrefixCache::Longest(Place place, Tokens tokens, bool whole) const {
  // Of all the pages at a place, one of the two between which the tokens would stand has the most in common with them;
  // from there on it becomes less and less.
  constexpr int kMostTries = 16;
  Match best;
  const auto goes_on = [&](std::int32_t page) {
    const Probe probe = ProbeOf(page);
    if (!SamePlace(probe.place, place)) return false;
    const std::int32_t common = CommonTokens(tokens, probe.tokens);
    if (common <= best.tokens) return false;
    if (whole && !windows_.Has(page)) return true;
    best = {page, common};
    return false;
  };
  const auto next = tree_.lower_bound(Probe{place, tokens});
  int tries = 0;
  for (auto it = next; it != tree_.end() && goes_on(*it) && ++tries < kMostTries;) ++it;
  tries = 0;
  for (auto it = next; it != tree_.begin() && goes_on(*std::prev(it)) && ++tries < kMostTries;) --it;
  return best;
}

std::int32_t PrefixCache::Known(Tokens sequence, const Lineage& lineage) const {
  Place place{kNoParent, lineage.get()};
  std::int32_t known = 0;
  while (static_cast<std::size_t>(known) < sequence.size()) {
    const Tokens left = sequence.subspan(static_cast<std::size_t>(known));
    const Match match = Longest(place, left.first(std::min(left.size(), static_cast<std::size_t>(kPageTokens))));
    known += match.tokens;
    if (match.tokens < kPageTokens) break;
    place = {match.page, nullptr};
  }
  return known;
}

std::int32_t PrefixCache::Insert(Place place, const Lineage& lineage, Tokens tokens, std::int32_t page) {
  QUORUM_CHECK(!tokens.empty() && tokens.size() <= static_cast<std::size_t>(kPageTokens));
  QUORUM_CHECK(place.parent == kNoParent || (At(place.parent).in_tree && At(place.parent).count == kPageTokens));
  const bool full = tokens.size() == static_cast<std::size_t>(kPageTokens);
  Node& node = At(page);
  if (node.in_tree) {
    QUORUM_CHECK(node.children == 0 && node.count <= static_cast<std::int32_t>(tokens.size()));
    if (node.count == static_cast<std::int32_t>(tokens.size())) return page;
    Unlink(page);
  }
  // A part is superfluous only beside a page that can be continued at its end.
  const Match match = Longest(place, tokens, !full);
  if (match.tokens == static_cast<std::int32_t>(tokens.size())) {
    if (!full) return page;
    Ref(match.page);
    windows_.Merge(page, match.page);
    Release(page);
    return match.page;
  }
  node.in_tree = true;
  node.parent = place.parent;
  node.children = 0;
  node.count = static_cast<std::int32_t>(tokens.size());
  std::copy(tokens.begin(), tokens.end(), node.tokens.begin());
  node.lineage = place.parent == kNoParent ? lineage : nullptr;
  if (place.parent != kNoParent) ++At(place.parent).children;
  tree_.insert(page);
  // A part of it that nobody uses is of no more use.
  if (match.tokens > 0 && match.tokens == At(match.page).count && IsEvictable(match.page)) Evict(match.page);
  return page;
}

/// Takes a childless page out of the tree.
void PrefixCache::Unlink(std::int32_t page) {
  Node& node = At(page);
  tree_.erase(page);
  node.in_tree = false;
  node.lineage = nullptr;
  if (node.parent == kNoParent) return;
  --At(node.parent).children;
  if (IsEvictable(node.parent)) evictable_.emplace(At(node.parent).last_use, node.parent);
}

void PrefixCache::Evict(std::int32_t page) {
  QUORUM_CHECK(IsEvictable(page));
  evictable_.erase({At(page).last_use, page});
  Unlink(page);
  Free(page);
}

void PrefixCache::Free(std::int32_t page) {
  windows_.Drop(page);
  pages_.Free(page);
}

}  // namespace quorum::engine
