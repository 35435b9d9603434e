// A grammar compiled to a network that reads bytes: nodes with byte edges, calls of rules and counted repeats, in the
// manner of recursive transition networks (Woods 1970). What can never be finished is known and left out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "engine/base/result.h"
#include "engine/grammar/grammar.h"

namespace quorum::grammar {

using NodeId = std::int32_t;

/// Open calls and repeats at once; what would nest deeper is not offered.
inline constexpr std::int32_t kMaxDepth = 192;

class Network {
 public:
  enum class Kind : std::uint8_t {
    kBytes,   // edges()[first, first + count)
    kSplit,   // targets()[first, first + count): any of them
    kCall,    // rule `first`, then node `next`
    kRepeat,  // repeats()[first]
    kEnd,     // the rule or repeated part is over
  };
  struct Node {
    Kind kind = Kind::kEnd;
    std::int32_t first = 0;
    std::int32_t count = 0;
    NodeId next = 0;
  };
  struct Edge {
    std::uint8_t low = 0;   // inclusive
    std::uint8_t high = 0;  // inclusive
    NodeId target = 0;
  };
  struct Repetition {
    NodeId body = 0;  // ends at kEndNode
    std::uint32_t min = 0;
    std::uint32_t max = 0;
    NodeId next = 0;
  };

  static constexpr NodeId kEndNode = 0;
  /// Of `need`: no way to the end.
  static constexpr std::int32_t kNeverEnds = 1 << 29;

  /// Compiles what can be written in `spellable` characters.
  /// Errors: kInvalidArgument when nothing matches, a rule calls itself before it reads anything, or a limit is hit.
  static Result<Network> Compile(const Grammar& grammar, const CharSet& spellable);

  const Node& node(NodeId id) const { return nodes_[static_cast<std::size_t>(id)]; }
  std::size_t size() const { return nodes_.size(); }
  std::span<const Edge> edges(const Node& node) const { return Part(edges_, node); }
  std::span<const NodeId> targets(const Node& node) const { return Part(targets_, node); }
  const Repetition& repeat(std::int32_t index) const { return repeats_[static_cast<std::size_t>(index)]; }
  NodeId rule_start(std::int32_t rule) const { return rule_starts_[static_cast<std::size_t>(rule)]; }
  NodeId start() const { return start_; }

  /// Frames that must still be opened, at once, to get from `id` to the end of its rule; kNeverEnds: it cannot.
  std::int32_t need(NodeId id) const { return needs_[static_cast<std::size_t>(id)]; }
  /// Whether the end of the node's rule can be reached from it without input.
  bool nullable(NodeId id) const { return nullable_[static_cast<std::size_t>(id)] != 0; }
  /// What is reached from a node without input, and without its rule's end, has no higher rank; the same one only in a
  /// circle, on which no frames are opened.
  std::int32_t rank(NodeId id) const { return ranks_[static_cast<std::size_t>(id)]; }
  bool has_repeats() const { return !repeats_.empty(); }

  /// Bytes that no edge tells apart have the same class, 0 ... byte_classes() - 1.
  std::uint8_t ClassOf(std::uint8_t byte) const { return class_of_[byte]; }
  std::size_t byte_classes() const { return byte_classes_; }
  std::size_t bytes() const;  // memory

 private:
  friend class NetworkBuilder;
  Network() = default;

  template <typename T>
  static std::span<const T> Part(const std::vector<T>& all, const Node& node) {
    return std::span(all).subspan(static_cast<std::size_t>(node.first), static_cast<std::size_t>(node.count));
  }

  std::vector<Node> nodes_;
  std::vector<Edge> edges_;
  std::vector<NodeId> targets_;
  std::vector<Repetition> repeats_;
  std::vector<NodeId> rule_starts_;
  std::vector<std::int32_t> needs_;
  std::vector<char> nullable_;
  std::vector<std::int32_t> ranks_;
  NodeId start_ = 0;
  std::array<std::uint8_t, 256> class_of_{};
  std::size_t byte_classes_ = 1;
};

}  // namespace quorum::grammar
