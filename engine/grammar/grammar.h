// A context-free grammar over Unicode text: what every front end (JSON schema, regex, GBNF) builds and the network
// compiles. Expressions are shared by id; recursion goes through rules.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/result.h"
#include "engine/grammar/char_set.h"

namespace quorum::grammar {

using ExprId = std::int32_t;
using RuleId = std::int32_t;
using TokenId = std::int32_t;

inline constexpr std::uint32_t kUnbounded = 0xFFFFFFFF;

/// A finite automaton inside a grammar, e.g. a key that is none of the named ones. State 0 is the start.
struct Automaton {
  struct State {
    std::vector<std::pair<CharSet, std::int32_t>> edges;
    bool accepts = false;
    std::vector<ExprId> exits;  // what may follow here, after which the automaton has accepted
  };
  std::vector<State> states;
};

struct Expr {
  enum class Kind {
    kNever,      // no text at all
    kChars,      // one code point of `chars`
    kLiteral,    // `text`, valid UTF-8; "" is the empty text
    kToken,      // the control token `index`, which has no text
    kSequence,   // `parts`, one after the other
    kChoice,     // one of `parts`
    kRepeat,     // parts[0] at least `min` and at most `max` times
    kRule,       // rule `index`
    kAutomaton,  // automaton `index`
  };
  Kind kind = Kind::kNever;
  CharSet chars;
  std::string text;
  std::vector<ExprId> parts;
  std::uint32_t min = 0;
  std::uint32_t max = 0;
  std::int32_t index = 0;
};

/// Grows within limits: after too much was added, every call still works, but overflowed() says so and the grammar is
/// refused. So front ends need not check each step; those that loop over outside data should look now and then.
class Grammar {
 public:
  /// Expressions, rules and automaton edges together.
  static constexpr std::size_t kMaxSize = 200'000;

  ExprId Never() { return Add({}); }
  ExprId Empty() { return Literal({}); }
  ExprId Chars(CharSet chars);
  ExprId Literal(std::string_view text);
  ExprId Token(TokenId token);
  ExprId Sequence(std::vector<ExprId> parts);
  ExprId Choice(std::vector<ExprId> parts);
  ExprId Repeat(ExprId part, std::uint32_t min, std::uint32_t max);
  ExprId Optional(ExprId part) { return Repeat(part, 0, 1); }
  ExprId Rule(RuleId rule);
  ExprId Machine(Automaton automaton);
  /// One of `texts`, with common beginnings shared, so that thousands of them cost no more than their bytes.
  ExprId OneOf(std::vector<std::string> texts);

  RuleId NewRule(std::string name);
  void Define(RuleId rule, ExprId body) { rules_[static_cast<std::size_t>(rule)].body = body; }
  /// A rule for `body`, and a reference to it: what is used in many places is then compiled once.
  ExprId Share(std::string name, ExprId body);
  void SetRoot(ExprId root) { root_ = root; }

  struct RuleEntry {
    std::string name;
    ExprId body = -1;  // -1: not defined
  };
  const std::vector<Expr>& exprs() const { return exprs_; }
  const std::vector<RuleEntry>& rules() const { return rules_; }
  const std::vector<Automaton>& automata() const { return automata_; }
  ExprId root() const { return root_; }
  /// Counts work that leaves no expression towards the limit.
  void Spend(std::size_t work) { size_ += work; }
  bool overflowed() const { return size_ > kMaxSize; }
  /// The error for overflowed().
  static Error TooLarge();

 private:
  ExprId Add(Expr expr);
  ExprId OneOfSorted(const std::vector<std::string>& texts, std::size_t begin, std::size_t end, std::size_t depth);

  std::vector<Expr> exprs_;
  std::vector<RuleEntry> rules_;
  std::vector<Automaton> automata_;
  ExprId root_ = -1;
  std::size_t size_ = 0;
};

}  // namespace quorum::grammar
