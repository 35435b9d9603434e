#include "engine/grammar/parse_states.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace quorum::grammar {

ParseStates::ParseStates(const Network& network)
    : network_(network), reached_in_(network.size(), 0), reached_(network.size(), 0), pending_(network.size(), 0) {
  std::vector<Place> none;
  Intern(none, false, 1);  // kDead
  Begin();
  Enter(network.start(), StackPool::kBottom);
  start_ = Close();
}

StateId ParseStates::Read(StateId from, std::string_view bytes) {
  for (const char byte : bytes) {
    if (from == kDead) break;
    from = Step(from, static_cast<std::uint8_t>(byte));
  }
  return from;
}

StateId ParseStates::Find(StateId from, std::uint8_t byte) {
  if (from == kDead) return kDead;
  Begin();
  const State state = states_[static_cast<std::size_t>(from)];
  for (std::size_t i = 0; i < state.count; ++i) {
    const Place place = places_[state.first + i];
    const auto edges = network_.edges(network_.node(place.node));
    for (const Network::Edge& edge : edges) {
      if (edge.low <= byte && byte <= edge.high) Enter(edge.target, place.stacks);
    }
  }
  const StateId to = Close();
  std::int32_t& row = states_[static_cast<std::size_t>(from)].row;
  if (row < 0) {
    row = static_cast<std::int32_t>(rows_.size());
    rows_.resize(rows_.size() + network_.byte_classes(), -1);
  }
  rows_[static_cast<std::size_t>(row) + network_.ClassOf(byte)] = to;
  return to;
}

void ParseStates::Begin() {
  ++round_;
  touched_.clear();
  pops_ = 0;
  accepting_ = false;
}

/// A node that is reached from outside of the closure, or by closing a frame: the rule's end that may follow closes
/// more. Inside the closure that need not be looked at: what a call that reads nothing returns to, Follow reaches.
void ParseStates::Enter(NodeId node, StackId stacks) {
  Reach(node, stacks);
  if (network_.nullable(node)) Pop(stacks);
}

/// Nodes that cannot be finished from here within the depth are left out; a stack that got this far always can: some
/// way on from each node needs no more than the node itself does.
void ParseStates::Reach(NodeId node, StackId stacks) {
  if (node == Network::kEndNode) return;
  const auto i = static_cast<std::size_t>(node);
  if (pool_.depth(stacks) + network_.need(node) > kMaxDepth) return;
  if (reached_in_[i] != round_) {
    reached_in_[i] = round_;
    reached_[i] = stacks;
    pending_[i] = 0;
    touched_.push_back(node);
  } else {
    const StackId both = pool_.Union(reached_[i], stacks);
    if (both == reached_[i]) return;
    reached_[i] = both;
  }
  if (pending_[i] == 0 && network_.node(node).kind != Network::Kind::kBytes) {
    pending_[i] = 1;
    work_.emplace(network_.rank(node), node);
  }
}

void ParseStates::Follow(NodeId id, StackId stacks) {
  const Network::Node& node = network_.node(id);
  switch (node.kind) {
    case Network::Kind::kEnd:
    case Network::Kind::kBytes: break;
    case Network::Kind::kSplit:
      for (const NodeId target : network_.targets(node)) Reach(target, stacks);
      break;
    case Network::Kind::kCall: {
      const NodeId start = network_.rule_start(node.first);
      if (node.next == Network::kEndNode) {  // its caller is where this call returns to
        Reach(start, stacks);
      } else if (network_.need(start) < Network::kNeverEnds && network_.need(node.next) < Network::kNeverEnds) {
        Reach(start, pool_.Push({node.next, 0, 0, stacks}));
        if (network_.nullable(start)) Reach(node.next, stacks);
      }
      break;
    }
    case Network::Kind::kRepeat: {
      const Network::Repetition& repeat = network_.repeat(node.first);
      if (network_.need(repeat.next) == Network::kNeverEnds) break;
      if (repeat.min == 0) Reach(repeat.next, stacks);
      if (network_.need(repeat.body) == Network::kNeverEnds) break;
      Reach(repeat.body, pool_.Push({Frame::RepeatSymbol(node.first), repeat.min == 0 ? 0 : repeat.min - 1,
                                     repeat.max == kUnbounded ? kUnbounded : repeat.max - 1, stacks}));
      break;
    }
  }
}

void ParseStates::Pop(StackId stacks) {
  const auto index = static_cast<std::size_t>(stacks);
  if (index >= popped_in_.size()) popped_in_.resize(index + index / 2 + 64, 0);
  if (popped_in_[index] == round_) return;
  popped_in_[index] = round_;
  ++pops_;
  const auto span = pool_.frames(stacks);
  const std::vector<Frame> frames(span.begin(), span.end());  // the pool grows meanwhile
  for (const Frame& frame : frames) {
    if (frame.symbol == Frame::kBottom) {
      accepting_ = true;
    } else if (!frame.repeat()) {
      Enter(frame.symbol, frame.below);
    } else {
      const Network::Repetition& repeat = network_.repeat(frame.repeat_index());
      if (frame.low == 0) Enter(repeat.next, frame.below);
      if (frame.high == 0) continue;
      Reach(repeat.body, pool_.Push({frame.symbol, frame.low == 0 ? 0 : frame.low - 1,
                                     frame.high == kUnbounded ? kUnbounded : frame.high - 1, frame.below}));
    }
  }
}

StateId ParseStates::Close() {
  while (!work_.empty()) {
    const NodeId node = work_.top().second;
    work_.pop();
    pending_[static_cast<std::size_t>(node)] = 0;
    Follow(node, reached_[static_cast<std::size_t>(node)]);
  }
  std::vector<Place> places;
  for (const NodeId node : touched_) {
    if (network_.node(node).kind == Network::Kind::kBytes)
      places.push_back({node, reached_[static_cast<std::size_t>(node)]});
  }
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) { return a.node < b.node; });
  if (places.size() > kMaxPlaces) places.resize(kMaxPlaces);  // forbids some texts, allows no wrong ones
  // Rounded up, or the way on which a state was reached would make it many states.
  const std::size_t work = touched_.size() + pops_;
  return Intern(places, accepting_, static_cast<std::int32_t>(work <= 32 ? 32 : std::bit_ceil(work)) / 32);
}

StateId ParseStates::Intern(std::vector<Place>& places, bool accepts, std::int32_t weight) {
  if (places.empty() && !accepts && !states_.empty()) return kDead;
  std::uint64_t hash = MixHash(accepts ? 1 : 0, static_cast<std::uint64_t>(weight));
  for (const Place& place : places) {
    hash = MixHash(hash, (static_cast<std::uint64_t>(static_cast<std::uint32_t>(place.node)) << 32) |
                             static_cast<std::uint32_t>(place.stacks));
  }
  const auto [begin, end] = index_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const State& known = states_[static_cast<std::size_t>(it->second)];
    const auto its = this->places(known);
    if (known.accepts == accepts && known.weight == weight &&
        std::equal(places.begin(), places.end(), its.begin(), its.end())) {
      return it->second;
    }
  }
  const auto id = static_cast<StateId>(states_.size());
  states_.push_back({places_.size(), places.size(), -1, weight, accepts});
  places_.insert(places_.end(), places.begin(), places.end());
  index_.emplace(hash, id);
  return id;
}

StateId ParseStates::Clamp(StateId id, std::uint32_t bytes) {
  if (!network_.has_repeats() || id == kDead) return id;
  const State state = states_[static_cast<std::size_t>(id)];
  const auto span = this->places(state);
  std::vector<Place> places(span.begin(), span.end());
  for (Place& place : places) place.stacks = pool_.Clamp(place.stacks, bytes);
  return Intern(places, state.accepts, state.weight);
}

StateId ParseStates::Import(const ParseStates& other, StateId id) {
  std::unordered_map<StackId, StackId> moved = {{StackPool::kBottom, StackPool::kBottom}};
  // Sets refer to sets with lower ids only, but a walk from the top needs few of them.
  const auto move = [&](const auto& self, StackId stacks) -> StackId {
    if (const auto known = moved.find(stacks); known != moved.end()) return known->second;
    StackId result = -1;
    for (Frame frame : other.pool_.frames(stacks)) {
      if (frame.symbol != Frame::kBottom) frame.below = self(self, frame.below);
      const StackId one = frame.symbol == Frame::kBottom ? StackPool::kBottom : pool_.Push(frame);
      result = result < 0 ? one : pool_.Union(result, one);
    }
    moved.emplace(stacks, result);
    return result;
  };
  const State& state = other.states_[static_cast<std::size_t>(id)];
  std::vector<Place> places;
  for (const Place& place : other.places(state)) places.push_back({place.node, move(move, place.stacks)});
  return Intern(places, state.accepts, state.weight);
}

std::size_t ParseStates::bytes() const {
  constexpr std::size_t kMapEntry = 48;
  return states_.size() * (sizeof(State) + kMapEntry) + places_.size() * sizeof(Place) +
         rows_.size() * sizeof(StateId) + pool_.bytes();
}

}  // namespace quorum::grammar
