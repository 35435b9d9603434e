// A trie over byte strings: all keys that a text goes on with at some place.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

namespace quorum::tok {

/// Immutable and thread-safe; does not keep the keys.
class ByteTrie {
 public:
  struct Key {
    std::string_view bytes;   // not empty; at most kMaxKeyBytes
    std::int32_t value = -1;  // 0 or more
  };

  ByteTrie() = default;
  /// Of equal keys the first counts.
  explicit ByteTrie(std::vector<Key> keys);

  /// Calls `visit(length, value)` for each key that `text` has at `pos`, the shortest first.
  template <typename Visit>
  void ForEachPrefix(std::string_view text, std::size_t pos, Visit&& visit) const {
    const Node* node = nodes_.data();
    for (std::size_t at = pos; at < text.size() && node->edge_count > 0; ++at) {
      const auto first = edges_.begin() + node->first_edge;
      const auto last = first + node->edge_count;
      const auto byte = static_cast<std::uint8_t>(text[at]);
      const auto edge = std::lower_bound(first, last, byte, [](const Edge& e, std::uint8_t b) { return e.byte < b; });
      if (edge == last || edge->byte != byte) return;
      node = &nodes_[edge->node];
      if (node->value >= 0) visit(at + 1 - pos, node->value);
    }
  }

  /// Building recurses once a byte.
  static constexpr std::size_t kMaxKeyBytes = 1024;

 private:
  struct Node {
    std::uint32_t first_edge = 0;
    std::uint32_t edge_count = 0;
    std::int32_t value = -1;
  };
  struct Edge {
    std::uint8_t byte = 0;
    std::uint32_t node = 0;
  };

  std::uint32_t BuildNode(const std::vector<Key>& sorted, std::size_t begin, std::size_t end, std::size_t depth);

  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::vector<Edge> edges_;
};

}  // namespace quorum::tok
