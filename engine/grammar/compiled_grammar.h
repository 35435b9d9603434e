// A grammar made ready for one vocabulary: which tokens may follow, found once for each state and kept.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "engine/base/result.h"
#include "engine/grammar/network.h"
#include "engine/grammar/parse_states.h"
#include "engine/grammar/token_set.h"
#include "engine/grammar/vocabulary.h"

namespace quorum::grammar {

/// The states met so far and their masks. Thread-safe. It only grows; when it is full() a new one takes its place.
class StateTable {
 public:
  static constexpr std::size_t kMaxBytes = std::size_t{24} << 20;

  StateTable(const Network& network, const Vocabulary& vocabulary, const Network& plain);

  StateId start() const { return states_.start(); }
  struct Seen {
    StateId state = ParseStates::kDead;
    bool accepts = false;
    bool open = false;  // something may follow
  };
  Seen Look(StateId state);
  Seen Read(StateId from, std::string_view bytes);
  StateId Import(StateTable& other, StateId state);

  /// The text and control tokens that may follow. The work is bounded; a hostile grammar may be offered fewer tokens
  /// than it allows, never wrong ones, and always enough to come to its end.
  std::shared_ptr<const TokenSet> Mask(StateId state);

  std::size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  bool full() const { return bytes_.load(std::memory_order_relaxed) > kMaxBytes; }
  std::size_t masks_computed() const;

 private:
  struct Walk {
    std::int64_t work_left = 0;
    std::size_t states_left = 0;
  };
  /// Adds what `trie` allows after `from`. False: a limit was hit.
  bool WalkTrie(const TokenTrie& trie, StateId from, Walk& walk, TokenSet& out);
  /// How many plain characters, whichever they are, may follow; at most `limit`.
  std::uint32_t PlainRun(StateId from, std::uint32_t limit);

  const Vocabulary& vocabulary_;
  std::vector<std::uint8_t> distinct_bytes_;  // one of each kind that neither network tells apart
  mutable std::mutex mutex_;
  ParseStates states_;
  ParseStates plain_;  // any number of plain characters
  std::unordered_map<StateId, std::shared_ptr<const TokenSet>> masks_;
  std::size_t mask_bytes_ = 0;
  std::atomic<std::size_t> bytes_{0};
  std::vector<std::uint32_t> visited_in_;  // by state: the walk that met it last
  std::uint32_t walk_ = 0;
};

/// Thread-safe; shared by all requests that ask for the same.
class CompiledGrammar {
 public:
  /// Errors: kInvalidArgument, see Network::Compile.
  static Result<std::shared_ptr<const CompiledGrammar>> Compile(const Grammar& grammar,
                                                                std::shared_ptr<const Vocabulary> vocabulary);

  const Vocabulary& vocabulary() const { return *vocabulary_; }
  const Network& network() const { return network_; }
  /// Memory that it takes now: what is known of states and masks grows with use.
  std::size_t bytes() const;
  /// The table to use now.
  std::shared_ptr<StateTable> table() const;

 private:
  CompiledGrammar(Network network, Network plain, std::shared_ptr<const Vocabulary> vocabulary);

  const std::shared_ptr<const Vocabulary> vocabulary_;
  const Network network_;
  const Network plain_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<StateTable> table_;
};

}  // namespace quorum::grammar
