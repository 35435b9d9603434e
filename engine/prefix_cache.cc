#include "engine/prefix_cache.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstddef>

#include "engine/base/check.h"

namespace quorum::engine {

PrefixCache::PrefixCache(std::int32_t num_pages, std::uint64_t seed)
    : pages_(num_pages), seed_(seed), nodes_(static_cast<std::size_t>(num_pages)) {}

PrefixCache::Key PrefixCache::KeyOf(std::int32_t parent, PageTokens tokens) const {
  // The parent's id stands for everything before: it is not reused as long as it has children.
  std::array<std::int32_t, static_cast<std::size_t>(kPageTokens) + 1> content;
  content[0] = parent;
  std::copy(tokens.begin(), tokens.end(), content.begin() + 1);
  const XXH128_hash_t hash = XXH3_128bits_withSeed(content.data(), sizeof(content), seed_);
  return {hash.low64, hash.high64};
}

bool PrefixCache::Holds(const Node& node, std::int32_t parent, PageTokens tokens) const {
  return node.parent == parent && std::equal(tokens.begin(), tokens.end(), node.tokens.begin());
}

bool PrefixCache::IsEvictable(std::int32_t page) {
  const Node& node = At(page);
  return node.in_tree && node.children == 0 && pages_.refs(page) == 0;
}

std::optional<std::int32_t> PrefixCache::Take() {
  if (pages_.free_pages() == 0 && !evictable_.empty()) Evict(evictable_.begin()->second);
  return pages_.Allocate();
}

void PrefixCache::Release(std::int32_t page) {
  if (pages_.Unref(page) > 0) return;
  Node& node = At(page);
  if (!node.in_tree) {
    pages_.Free(page);
    return;
  }
  node.last_use = ++tick_;
  if (IsEvictable(page)) evictable_.emplace(node.last_use, page);
}

std::optional<std::int32_t> PrefixCache::Find(std::int32_t parent, PageTokens tokens) {
  const auto it = index_.find(KeyOf(parent, tokens));
  if (it == index_.end() || !Holds(At(it->second), parent, tokens)) return {};
  const std::int32_t page = it->second;
  if (IsEvictable(page)) evictable_.erase({At(page).last_use, page});
  pages_.Ref(page);
  return page;
}

std::optional<std::int32_t> PrefixCache::Insert(std::int32_t parent, PageTokens tokens, std::int32_t page) {
  QUORUM_CHECK(!At(page).in_tree && (parent == kNoParent || At(parent).in_tree));
  const Key key = KeyOf(parent, tokens);
  if (index_.contains(key)) {
    const auto same = Find(parent, tokens);
    if (same) Release(page);
    return same;
  }
  index_.emplace(key, page);
  Node& node = At(page);
  node.in_tree = true;
  node.parent = parent;
  node.children = 0;
  node.key = key;
  std::copy(tokens.begin(), tokens.end(), node.tokens.begin());
  if (parent != kNoParent) ++At(parent).children;
  return page;
}

void PrefixCache::Evict(std::int32_t page) {
  Node& node = At(page);
  QUORUM_CHECK(IsEvictable(page));
  evictable_.erase({node.last_use, page});
  index_.erase(node.key);
  node.in_tree = false;
  pages_.Free(page);
  if (node.parent == kNoParent) return;
  --At(node.parent).children;
  if (IsEvictable(node.parent)) evictable_.emplace(At(node.parent).last_use, node.parent);
}

}  // namespace quorum::engine
