#include "engine/grammar/compiled_grammar.h"

#include <algorithm>
#include <set>
#include <utility>

namespace quorum::grammar {
namespace {

// Of one mask. A walk over 150,000 tokens from inside a string takes some 400,000 steps of weight 1.
constexpr std::int64_t kMaxWork = 1'500'000;
constexpr std::size_t kMaxStates = 20'000;

}  // namespace

StateTable::StateTable(const Network& network, const Vocabulary& vocabulary, const Network& plain)
    : vocabulary_(vocabulary), states_(network), plain_(plain) {
  std::set<std::pair<std::uint8_t, std::uint8_t>> seen;
  for (int byte = 0; byte < 256; ++byte) {
    const auto value = static_cast<std::uint8_t>(byte);
    if (seen.emplace(network.ClassOf(value), plain.ClassOf(value)).second) distinct_bytes_.push_back(value);
  }
}

StateTable::Seen StateTable::Look(StateId state) {
  const std::lock_guard lock(mutex_);
  return {state, states_.accepts(state), states_.open(state)};
}

StateTable::Seen StateTable::Read(StateId from, std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  const StateId state = states_.Read(from, bytes);
  bytes_.store(states_.bytes() + mask_bytes_, std::memory_order_relaxed);
  return {state, states_.accepts(state), states_.open(state)};
}

StateId StateTable::Import(StateTable& other, StateId state) {
  const std::scoped_lock lock(mutex_, other.mutex_);
  return states_.Import(other.states_, state);
}

std::size_t StateTable::masks_computed() const {
  const std::lock_guard lock(mutex_);
  return masks_.size();
}

std::shared_ptr<const TokenSet> StateTable::Mask(StateId state) {
  const std::lock_guard lock(mutex_);
  const StateId from = states_.Clamp(state, static_cast<std::uint32_t>(vocabulary_.longest()));
  if (const auto known = masks_.find(from); known != masks_.end()) return known->second;

  auto set = std::make_shared<TokenSet>(vocabulary_.size());
  Walk walk{kMaxWork, kMaxStates};
  ++walk_;
  const std::uint32_t run = PlainRun(from, vocabulary_.plain().back().max_chars);
  bool whole = true;
  for (const PlainTokens& plain : vocabulary_.plain()) {
    if (plain.max_chars <= run) {
      set->AddAll(plain.set);
    } else {
      whole = whole && WalkTrie(plain.trie, from, walk, *set);
    }
  }
  whole = whole && WalkTrie(vocabulary_.rest(), from, walk, *set);
  if (!whole) {
    walk = {INT64_MAX, SIZE_MAX};  // bounded by the number of units
    WalkTrie(vocabulary_.units(), from, walk, *set);
  }
  set->Finish();
  mask_bytes_ += set->bytes();
  bytes_.store(states_.bytes() + mask_bytes_, std::memory_order_relaxed);
  masks_.emplace(from, set);
  return set;
}

bool StateTable::WalkTrie(const TokenTrie& trie, StateId from, Walk& walk, TokenSet& out) {
  const auto nodes = trie.nodes();
  const auto ids = trie.ids();
  struct Open {
    std::int32_t end;
    StateId state;
  };
  const auto count = static_cast<std::int32_t>(nodes.size()) - 1;
  std::vector<Open> path = {{count, from}};
  for (std::int32_t i = 0; i < count;) {
    while (path.back().end <= i) path.pop_back();
    const StateId at = path.back().state;
    const TokenTrie::Node& node = nodes[static_cast<std::size_t>(i)];
    // Limits count what the states are, not what is yet to be computed: the mask must not depend on earlier ones.
    walk.work_left -= states_.weight(at);
    if (walk.work_left < 0) return false;
    const StateId next = states_.Step(at, node.byte);
    if (next == ParseStates::kDead) {
      i = node.end;
      continue;
    }
    const auto next_index = static_cast<std::size_t>(next);
    if (next_index >= visited_in_.size()) visited_in_.resize(next_index + next_index / 2 + 64, 0);
    if (visited_in_[next_index] != walk_) {
      visited_in_[next_index] = walk_;
      if (walk.states_left-- == 0) return false;
    }
    for (auto t = node.first_token; t < nodes[static_cast<std::size_t>(i) + 1].first_token; ++t) {
      out.Add(ids[static_cast<std::size_t>(t)]);
    }
    ++i;
    if (node.end > i) path.push_back({node.end, next});
  }
  return true;
}

std::uint32_t StateTable::PlainRun(StateId from, std::uint32_t limit) {
  constexpr std::size_t kMaxPairs = 2000;
  using Pair = std::pair<StateId, StateId>;  // a state of the grammar and one of plain_
  std::set<Pair> seen = {{from, plain_.start()}};
  std::vector<Pair> level(seen.begin(), seen.end());
  for (std::uint32_t chars = 0; chars < limit; ++chars) {
    std::vector<Pair> next_level;
    for (std::size_t i = 0; i < level.size(); ++i) {  // grows by places inside a character
      for (const std::uint8_t byte : distinct_bytes_) {
        const StateId plain = plain_.Step(level[i].second, byte);
        if (plain == ParseStates::kDead) continue;
        const StateId state = states_.Step(level[i].first, byte);
        if (state == ParseStates::kDead || seen.size() > kMaxPairs) return chars;
        const Pair pair(state, plain);
        if (!seen.insert(pair).second) continue;
        (plain_.accepts(plain) ? next_level : level).push_back(pair);
      }
    }
    if (next_level.empty()) return limit;  // nothing new however many follow
    level = std::move(next_level);
  }
  return limit;
}

CompiledGrammar::CompiledGrammar(Network network, Network plain, std::shared_ptr<const Vocabulary> vocabulary)
    : vocabulary_(std::move(vocabulary)),
      network_(std::move(network)),
      plain_(std::move(plain)),
      table_(std::make_shared<StateTable>(network_, *vocabulary_, plain_)) {}

Result<std::shared_ptr<const CompiledGrammar>> CompiledGrammar::Compile(const Grammar& grammar,
                                                                        std::shared_ptr<const Vocabulary> vocabulary) {
  QUORUM_ASSIGN(Network network, Network::Compile(grammar, vocabulary->spellable()));
  Grammar plain_text;
  plain_text.SetRoot(plain_text.Repeat(plain_text.Chars(JsonPlainChars()), 0, kUnbounded));
  QUORUM_ASSIGN(Network plain, Network::Compile(plain_text, vocabulary->spellable()));
  std::shared_ptr<const CompiledGrammar> compiled(
      new CompiledGrammar(std::move(network), std::move(plain), std::move(vocabulary)));
  const auto table = compiled->table();
  table->Mask(table->start());  // so that no step waits for it
  return compiled;
}

std::size_t CompiledGrammar::bytes() const {
  const std::lock_guard lock(mutex_);
  return network_.bytes() + table_->bytes();
}

std::shared_ptr<StateTable> CompiledGrammar::table() const {
  const std::lock_guard lock(mutex_);
  if (table_->full()) table_ = std::make_shared<StateTable>(network_, *vocabulary_, plain_);
  return table_;
}

}  // namespace quorum::grammar
