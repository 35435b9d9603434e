#include "tokenizer/byte_trie.h"

#include "engine/base/check.h"

namespace quorum::tok {

ByteTrie::ByteTrie(std::vector<Key> keys) {
  nodes_.clear();
  for (const Key& key : keys) {
    QUORUM_CHECK(!key.bytes.empty() && key.bytes.size() <= kMaxKeyBytes && key.value >= 0);
  }
  std::stable_sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) { return a.bytes < b.bytes; });
  BuildNode(keys, 0, keys.size(), 0);
}

// Recursion is at most kMaxKeyBytes deep.
std::uint32_t ByteTrie::BuildNode(const std::vector<Key>& sorted, std::size_t begin, std::size_t end,
                                  std::size_t depth) {
  const auto index = static_cast<std::uint32_t>(nodes_.size());
  nodes_.emplace_back();
  std::int32_t value = -1;
  while (begin < end && sorted[begin].bytes.size() == depth) {
    if (value < 0) value = sorted[begin].value;
    ++begin;
  }
  const auto byte_of = [&](std::size_t i) { return static_cast<std::uint8_t>(sorted[i].bytes[depth]); };
  std::vector<std::size_t> groups;  // starts of the ranges with one byte at `depth`
  for (std::size_t i = begin; i < end; ++i) {
    if (i == begin || byte_of(i) != byte_of(i - 1)) groups.push_back(i);
  }
  const auto first_edge = static_cast<std::uint32_t>(edges_.size());
  edges_.resize(edges_.size() + groups.size());
  nodes_[index] = {first_edge, static_cast<std::uint32_t>(groups.size()), value};
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const std::size_t group_end = g + 1 < groups.size() ? groups[g + 1] : end;
    const std::uint32_t child = BuildNode(sorted, groups[g], group_end, depth + 1);
    edges_[first_edge + g] = {byte_of(groups[g]), child};
  }
  return index;
}

}  // namespace quorum::tok
