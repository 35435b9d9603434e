// The states that a network can be in, found as they are needed: a lazy deterministic automaton over bytes whose states
// are sets of (node, stacks). Everything is a function of the network and the bytes read, never of what was asked
// before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <queue>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/grammar/network.h"
#include "engine/grammar/stack_pool.h"

namespace quorum::grammar {

using StateId = std::int32_t;

/// Not thread-safe.
class ParseStates {
 public:
  static constexpr StateId kDead = 0;  // no text with these beginnings
  static constexpr std::size_t kMaxPlaces = 4096;

  /// `network` must outlive it.
  explicit ParseStates(const Network& network);

  StateId start() const { return start_; }
  StateId Step(StateId from, std::uint8_t byte) {
    const std::int32_t row = states_[static_cast<std::size_t>(from)].row;
    if (row >= 0) {
      const StateId known = rows_[static_cast<std::size_t>(row) + network_.ClassOf(byte)];
      if (known >= 0) return known;
    }
    return Find(from, byte);
  }
  StateId Read(StateId from, std::string_view bytes);

  bool accepts(StateId id) const { return states_[static_cast<std::size_t>(id)].accepts; }
  /// Whether anything may follow.
  bool open(StateId id) const { return states_[static_cast<std::size_t>(id)].count > 0; }
  /// What a step from this state may cost, roughly, in nodes visited.
  std::int64_t weight(StateId id) const { return states_[static_cast<std::size_t>(id)].weight; }
  /// A state that allows the same for the next `bytes` bytes; many states with large counts share it.
  StateId Clamp(StateId id, std::uint32_t bytes);
  /// The same state of `other`, which has the same network, in this one.
  StateId Import(const ParseStates& other, StateId id);

  std::size_t size() const { return states_.size(); }
  std::size_t bytes() const;  // memory

 private:
  struct Place {
    NodeId node = 0;  // a kBytes node
    StackId stacks = 0;
    bool operator==(const Place&) const = default;
  };
  struct State {
    std::size_t first = 0;
    std::size_t count = 0;
    std::int32_t row = -1;  // of rows_; -1: nothing known yet
    std::int32_t weight = 0;
    bool accepts = false;
  };

  std::span<const Place> places(const State& state) const {
    return std::span(places_).subspan(state.first, state.count);
  }
  StateId Find(StateId from, std::uint8_t byte);

  // One closure: what is reached without input. Frames that were open before it are closed first, and then nodes are
  // followed by rank, each with all its stacks at once: an ambiguous grammar has many ways to a node, but few nodes.
  void Begin();
  void Enter(NodeId node, StackId stacks);
  void Reach(NodeId node, StackId stacks);
  void Follow(NodeId node, StackId stacks);
  void Pop(StackId stacks);
  StateId Close();
  StateId Intern(std::vector<Place>& places, bool accepts, std::int32_t weight);

  const Network& network_;
  StackPool pool_;
  std::vector<State> states_;
  std::vector<Place> places_;
  std::vector<StateId> rows_;  // byte_classes() a row; -1: not known
  std::unordered_multimap<std::uint64_t, StateId> index_;
  StateId start_ = kDead;

  std::uint32_t round_ = 0;
  std::vector<std::uint32_t> reached_in_;  // by node: the round in which it was reached
  std::vector<StackId> reached_;           // by node: with which stacks, if in this round
  std::vector<char> pending_;              // by node: to be followed
  std::vector<NodeId> touched_;
  std::priority_queue<std::pair<std::int32_t, NodeId>> work_;  // the highest rank first
  std::vector<std::uint32_t> popped_in_;                       // by stack set: the round in which it was popped
  std::size_t pops_ = 0;
  bool accepting_ = false;
};

}  // namespace quorum::grammar
