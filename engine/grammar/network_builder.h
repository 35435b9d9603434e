// Builds a Network from a Grammar: expressions to nodes, then what can be finished, what can be empty, left recursion.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/grammar/network.h"

namespace quorum::grammar {

class NetworkBuilder {
 public:
  NetworkBuilder(const Grammar& grammar, const CharSet& spellable) : grammar_(grammar), spellable_(spellable) {}

  Result<Network> Build();

 private:
  using Edges = std::vector<Network::Edge>;
  static constexpr std::size_t kMaxNodes = 300'000;
  static constexpr int kMaxNesting = 1000;

  // Each returns a node from which the expression is read and then `next` reached.
  NodeId Expression(ExprId id, NodeId next, int depth);
  NodeId Chars(const CharSet& chars, NodeId next);
  NodeId Bytes(std::string_view bytes, NodeId next);
  NodeId Literal(std::string_view text, NodeId next);
  NodeId Repeat(const Expr& expr, NodeId next, int depth);
  NodeId Machine(const Automaton& automaton, NodeId next, int depth);

  /// A node with the edges of all of `sequences`, which lead to `next` and hold ranges from byte `at` on.
  struct ByteRange {
    std::uint8_t low, high;
  };
  using Sequence = std::vector<ByteRange>;
  NodeId Ranges(std::span<const Sequence> sequences, std::size_t at, NodeId next,
                std::vector<std::pair<Edges, NodeId>>& made);
  static void SplitRange(CodePoint first, CodePoint last, std::vector<Sequence>& out);

  NodeId Add(Network::Node node);
  NodeId AddBytes(const Edges& edges);
  NodeId AddSplit(const std::vector<NodeId>& targets);
  void SetSplit(NodeId id, const std::vector<NodeId>& targets);
  std::size_t Weight(ExprId id, int depth) const;  // roughly, nodes that it becomes; capped

  void FindNullable();
  void FindNeeds();
  Status RankNodes();
  void ClassifyBytes();
  template <typename Visit>
  void ForEachDependency(NodeId id, const Visit& visit) const;
  template <typename Visit>
  void ForEachStepWithoutInput(NodeId id, const Visit& visit) const;
  /// For each node, those whose properties follow from its own.
  std::vector<std::vector<NodeId>> Dependents() const;

  const Grammar& grammar_;
  const CharSet& spellable_;
  Network out_;
  bool too_large_ = false;
};

}  // namespace quorum::grammar
