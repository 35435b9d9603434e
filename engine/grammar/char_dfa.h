// Deterministic automata over characters: where languages must be intersected or complemented (a pattern and a length,
// keys that are none of the named ones).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/result.h"
#include "engine/grammar/grammar.h"

namespace quorum::grammar {

class CharDfa {
 public:
  struct State {
    std::vector<std::pair<CharSet, std::int32_t>> edges;  // disjoint; what no edge holds ends the match
    bool accepts = false;
  };
  static constexpr std::size_t kMaxStates = 20'000;

  /// The language of `expr`, which may not hold rules, tokens or automata with exits.
  /// Errors: kInvalidArgument when it has too many states.
  static Result<CharDfa> FromExpr(const Grammar& grammar, ExprId expr);
  /// Texts of `min` to `max` characters. REQUIRES: min <= max, and the bounded one of them below kMaxStates.
  static CharDfa Length(std::uint32_t min, std::uint32_t max);
  /// Exactly these texts.
  static Result<CharDfa> OneOf(const std::vector<std::string>& texts);

  Result<CharDfa> Intersect(const CharDfa& other) const;
  CharDfa Complement() const;
  Automaton ToAutomaton() const;
  bool Matches(std::string_view text) const;
  bool Empty() const;
  const std::vector<State>& states() const { return states_; }

 private:
  /// Drops states from which no text can be completed.
  void Trim();

  std::vector<State> states_;  // the first is the start
};

}  // namespace quorum::grammar
