#include "engine/prefix_cache.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "engine/base/check.h"

namespace quorum::engine {

namespace {

constexpr std::int32_t kSourceParent = -2;  // of a source's first page

}  // namespace

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

PrefixCache::Key PrefixCache::KeyOfSource(std::span<const tok::TokenId> source) const {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(source.data(), source.size_bytes(), ~seed_);
  return {hash.low64, hash.high64};
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
  return Find(KeyOf(parent, tokens), parent, tokens);
}

std::optional<std::int32_t> PrefixCache::FindSource(std::span<const tok::TokenId> source) {
  return Find(KeyOfSource(source), kSourceParent, source);
}

std::optional<std::int32_t> PrefixCache::Insert(std::int32_t parent, PageTokens tokens, std::int32_t page) {
  QUORUM_CHECK(parent == kNoParent || At(parent).in_tree);
  return Insert(KeyOf(parent, tokens), parent, tokens, page);
}

std::optional<std::int32_t> PrefixCache::InsertSource(std::span<const tok::TokenId> source, std::int32_t page) {
  return Insert(KeyOfSource(source), kSourceParent, source, page);
}

std::optional<std::int32_t> PrefixCache::Find(const Key& key, std::int32_t parent,
                                              std::span<const tok::TokenId> tokens) {
  const auto it = index_.find(key);
  if (it == index_.end()) return {};
  const std::int32_t page = it->second;
  const Node& node = At(page);
  if (node.parent != parent || !std::equal(tokens.begin(), tokens.end(), node.tokens.begin(), node.tokens.end())) {
    return {};
  }
  if (IsEvictable(page)) evictable_.erase({node.last_use, page});
  pages_.Ref(page);
  return page;
}

std::optional<std::int32_t> PrefixCache::Insert(const Key& key, std::int32_t parent,
                                                std::span<const tok::TokenId> tokens, std::int32_t page) {
  QUORUM_CHECK(!At(page).in_tree);
  if (index_.contains(key)) {
    const auto same = Find(key, parent, tokens);
    if (same) Release(page);
    return same;
  }
  index_.emplace(key, page);
  Node& node = At(page);
  node.in_tree = true;
  node.parent = parent;
  node.children = 0;
  node.key = key;
  node.tokens.assign(tokens.begin(), tokens.end());
  if (parent >= 0) ++At(parent).children;
  return page;
}

void PrefixCache::Evict(std::int32_t page) {
  Node& node = At(page);
  QUORUM_CHECK(IsEvictable(page));
  evictable_.erase({node.last_use, page});
  index_.erase(node.key);
  node.in_tree = false;
  pages_.Free(page);
  if (node.parent < 0) return;
  --At(node.parent).children;
  if (IsEvictable(node.parent)) evictable_.emplace(At(node.parent).last_use, node.parent);
}

}  // namespace quorum::engine
