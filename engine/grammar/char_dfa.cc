#include "engine/grammar/char_dfa.h"

#include <algorithm>
#include <map>
#include <set>

namespace quorum::grammar {
namespace {

Error TooManyStates() {
  return InvalidArgument("a combination of pattern, length, format or keys needs too many states (more than " +
                         std::to_string(CharDfa::kMaxStates) + ")");
}

/// Thompson's construction: nodes with edges on characters and without.
struct Nfa {
  struct Node {
    std::vector<std::pair<CharSet, int>> edges;
    std::vector<int> silent;
  };
  static constexpr std::size_t kMaxNodes = 100'000;
  std::vector<Node> nodes;
  bool too_large = false;

  int Add() {
    if (nodes.size() >= kMaxNodes) {
      too_large = true;
      return 0;
    }
    nodes.emplace_back();
    return static_cast<int>(nodes.size()) - 1;
  }
  Node& at(int id) { return nodes[static_cast<std::size_t>(id)]; }

  /// A node from which `expr` leads to `next`.
  int Build(const Grammar& grammar, ExprId id, int next) {
    if (too_large) return 0;
    const Expr& expr = grammar.exprs()[static_cast<std::size_t>(id)];
    switch (expr.kind) {
      case Expr::Kind::kChars: {
        const int node = Add();
        at(node).edges.emplace_back(expr.chars, next);
        return node;
      }
      case Expr::Kind::kLiteral: {
        const auto points = CodePointsOf(expr.text);
        for (auto c = points.rbegin(); c != points.rend(); ++c) {
          const int node = Add();
          at(node).edges.emplace_back(CharSet::One(*c), next);
          next = node;
        }
        return next;
      }
      case Expr::Kind::kSequence:
        for (auto part = expr.parts.rbegin(); part != expr.parts.rend(); ++part) next = Build(grammar, *part, next);
        return next;
      case Expr::Kind::kChoice: {
        const int node = Add();
        for (const ExprId part : expr.parts) {
          const int branch = Build(grammar, part, next);
          at(node).silent.push_back(branch);
        }
        return node;
      }
      case Expr::Kind::kRepeat: {
        const ExprId part = expr.parts.front();
        int node = next;
        if (expr.max == kUnbounded) {
          const int loop = Add();
          const int body = Build(grammar, part, loop);
          at(loop).silent = {body, next};
          node = loop;
        }
        for (std::uint32_t i = expr.min; expr.max != kUnbounded && i < expr.max && !too_large; ++i) {
          const int skip = Add();
          const int body = Build(grammar, part, node);
          at(skip).silent = {body, next};
          node = skip;
        }
        for (std::uint32_t i = 0; i < expr.min && !too_large; ++i) node = Build(grammar, part, node);
        return node;
      }
      case Expr::Kind::kAutomaton: return Build(grammar.automata()[static_cast<std::size_t>(expr.index)], next);
      default: return Add();  // matches nothing
    }
  }

  int Build(const Automaton& automaton, int next) {
    std::vector<int> places;
    for (std::size_t i = 0; i < automaton.states.size(); ++i) places.push_back(Add());
    if (too_large || places.empty()) return Add();
    for (std::size_t i = 0; i < places.size(); ++i) {
      for (const auto& [chars, target] : automaton.states[i].edges) {
        at(places[i]).edges.emplace_back(chars, places[static_cast<std::size_t>(target)]);
      }
      if (automaton.states[i].accepts) at(places[i]).silent.push_back(next);
    }
    return places.front();
  }

  void Close(std::vector<int>& set) const {
    std::set<int> seen(set.begin(), set.end());
    for (std::size_t i = 0; i < set.size(); ++i) {
      for (const int to : nodes[static_cast<std::size_t>(set[i])].silent) {
        if (seen.insert(to).second) set.push_back(to);
      }
    }
    std::sort(set.begin(), set.end());
  }
};

/// Splits sets with labels into disjoint sets with the labels of all that hold them.
template <typename Label>
std::vector<std::pair<CharSet, std::set<Label>>> Disjoint(const std::vector<std::pair<CharSet, Label>>& sets) {
  std::map<CodePoint, std::pair<std::vector<Label>, std::vector<Label>>> changes;  // opened and closed before a place
  for (const auto& [chars, label] : sets) {
    for (const auto& [first, last] : chars.ranges()) {
      changes[first].first.push_back(label);
      changes[last + 1].second.push_back(label);
    }
  }
  std::map<Label, int> open;
  std::map<std::set<Label>, std::vector<CharSet::Range>> groups;
  for (auto it = changes.begin(); it != changes.end(); ++it) {
    for (const Label label : it->second.first) ++open[label];
    for (const Label label : it->second.second) {
      if (--open[label] == 0) open.erase(label);
    }
    if (open.empty()) continue;
    std::set<Label> labels;
    for (const auto& [label, count] : open) labels.insert(label);
    groups[labels].push_back({it->first, std::next(it)->first - 1});
  }
  std::vector<std::pair<CharSet, std::set<Label>>> result;
  for (auto& [labels, ranges] : groups) {
    CharSet chars(std::move(ranges));
    if (!chars.empty()) result.emplace_back(std::move(chars), labels);
  }
  return result;
}

}  // namespace

Result<CharDfa> CharDfa::FromExpr(const Grammar& grammar, ExprId expr) {
  constexpr std::size_t kMaxWork = 5'000'000;
  Nfa nfa;
  const int end = nfa.Add();
  const int start = nfa.Build(grammar, expr, end);
  if (nfa.too_large) return TooManyStates();
  CharDfa dfa;
  std::map<std::vector<int>, std::int32_t> known;
  std::vector<std::vector<int>> sets;
  std::size_t work = 0;
  const auto state_of = [&](std::vector<int> set) {
    nfa.Close(set);
    work += set.size() * 16;
    const auto [it, added] = known.try_emplace(std::move(set), static_cast<std::int32_t>(sets.size()));
    if (added) {
      sets.push_back(it->first);
      dfa.states_.push_back({{}, std::binary_search(it->first.begin(), it->first.end(), end)});
    }
    return it->second;
  };
  state_of({start});
  for (std::size_t i = 0; i < sets.size(); ++i) {
    if (sets.size() > kMaxStates || work > kMaxWork) return TooManyStates();
    std::vector<std::pair<CharSet, int>> edges;
    for (const int node : sets[i]) {
      const auto& own = nfa.nodes[static_cast<std::size_t>(node)].edges;
      edges.insert(edges.end(), own.begin(), own.end());
      for (const auto& [chars, target] : own) work += chars.ranges().size() * 16;
    }
    for (auto& [chars, targets] : Disjoint(edges)) {
      const std::int32_t target = state_of(std::vector<int>(targets.begin(), targets.end()));
      dfa.states_[i].edges.emplace_back(std::move(chars), target);
    }
  }
  dfa.Trim();
  return dfa;
}

CharDfa CharDfa::Length(std::uint32_t min, std::uint32_t max) {
  CharDfa dfa;
  const std::uint32_t last = max == kUnbounded ? min : max;
  for (std::uint32_t i = 0; i <= last; ++i) {
    State state;
    state.accepts = i >= min;
    if (i < last) state.edges.emplace_back(CharSet::All(), static_cast<std::int32_t>(i) + 1);
    if (i == last && max == kUnbounded) state.edges.emplace_back(CharSet::All(), static_cast<std::int32_t>(i));
    dfa.states_.push_back(std::move(state));
  }
  return dfa;
}

Result<CharDfa> CharDfa::OneOf(const std::vector<std::string>& texts) {
  CharDfa dfa;
  dfa.states_.emplace_back();
  std::vector<std::map<CodePoint, std::int32_t>> children(1);
  for (const std::string& text : texts) {
    std::size_t at = 0;
    for (const CodePoint c : CodePointsOf(text)) {
      const auto [it, added] = children[at].try_emplace(c, static_cast<std::int32_t>(dfa.states_.size()));
      at = static_cast<std::size_t>(it->second);  // before the vector grows
      if (added) {
        dfa.states_.emplace_back();
        children.emplace_back();
      }
    }
    dfa.states_[at].accepts = true;
    if (dfa.states_.size() > kMaxStates) return TooManyStates();
  }
  for (std::size_t i = 0; i < children.size(); ++i) {
    for (const auto& [c, target] : children[i]) dfa.states_[i].edges.emplace_back(CharSet::One(c), target);
  }
  return dfa;
}

Result<CharDfa> CharDfa::Intersect(const CharDfa& other) const {
  constexpr std::size_t kMaxWork = 20'000'000;
  using Pair = std::pair<std::int32_t, std::int32_t>;
  CharDfa dfa;
  if (states_.empty() || other.states_.empty()) return dfa;
  std::map<Pair, std::int32_t> known;
  std::vector<Pair> pairs;
  const auto state_of = [&](Pair pair) {
    const auto [it, added] = known.try_emplace(pair, static_cast<std::int32_t>(pairs.size()));
    if (added) {
      pairs.push_back(pair);
      dfa.states_.push_back({{},
                             states_[static_cast<std::size_t>(pair.first)].accepts &&
                                 other.states_[static_cast<std::size_t>(pair.second)].accepts});
    }
    return it->second;
  };
  state_of({0, 0});
  std::size_t work = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (pairs.size() > kMaxStates || work > kMaxWork) return TooManyStates();
    const Pair pair = pairs[i];
    for (const auto& [chars, target] : states_[static_cast<std::size_t>(pair.first)].edges) {
      for (const auto& [other_chars, other_target] : other.states_[static_cast<std::size_t>(pair.second)].edges) {
        work += chars.ranges().size() + other_chars.ranges().size();
        CharSet both = chars.Intersect(other_chars);
        if (both.empty()) continue;
        const std::int32_t to = state_of({target, other_target});
        dfa.states_[i].edges.emplace_back(std::move(both), to);
      }
    }
  }
  dfa.Trim();
  return dfa;
}

CharDfa CharDfa::Complement() const {
  CharDfa dfa = *this;
  if (dfa.states_.empty()) dfa.states_.emplace_back();
  const auto sink = static_cast<std::int32_t>(dfa.states_.size());
  dfa.states_.emplace_back();
  for (State& state : dfa.states_) {
    state.accepts = !state.accepts;
    std::vector<CharSet::Range> covered;
    for (const auto& [chars, target] : state.edges) {
      covered.insert(covered.end(), chars.ranges().begin(), chars.ranges().end());
    }
    CharSet missing = CharSet(std::move(covered)).Complement();
    if (!missing.empty()) state.edges.emplace_back(std::move(missing), sink);
  }
  return dfa;
}

Automaton CharDfa::ToAutomaton() const {
  Automaton automaton;
  for (const State& state : states_) automaton.states.push_back({state.edges, state.accepts, {}});
  return automaton;
}

bool CharDfa::Matches(std::string_view text) const {
  if (states_.empty()) return false;
  std::size_t at = 0;
  for (const CodePoint c : CodePointsOf(text)) {
    const auto& edges = states_[at].edges;
    const auto edge = std::find_if(edges.begin(), edges.end(), [c](const auto& e) { return e.first.Contains(c); });
    if (edge == edges.end()) return false;
    at = static_cast<std::size_t>(edge->second);
  }
  return states_[at].accepts;
}

bool CharDfa::Empty() const {
  return std::none_of(states_.begin(), states_.end(), [](const State& state) { return state.accepts; });
}

void CharDfa::Trim() {
  std::vector<std::vector<std::size_t>> from(states_.size());
  std::vector<char> useful(states_.size(), 0);
  std::vector<std::size_t> work;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    for (const auto& [chars, target] : states_[i].edges) from[static_cast<std::size_t>(target)].push_back(i);
    if (states_[i].accepts) {
      useful[i] = 1;
      work.push_back(i);
    }
  }
  while (!work.empty()) {
    const std::size_t at = work.back();
    work.pop_back();
    for (const std::size_t before : from[at]) {
      if (useful[before] != 0) continue;
      useful[before] = 1;
      work.push_back(before);
    }
  }
  std::vector<std::int32_t> place(states_.size(), -1);
  std::vector<State> kept;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (useful[i] == 0 && i != 0) continue;
    place[i] = static_cast<std::int32_t>(kept.size());
    kept.push_back(std::move(states_[i]));
  }
  for (State& state : kept) {
    std::erase_if(state.edges, [&](const auto& edge) { return place[static_cast<std::size_t>(edge.second)] < 0; });
    for (auto& [chars, target] : state.edges) target = place[static_cast<std::size_t>(target)];
  }
  states_ = std::move(kept);
}

}  // namespace quorum::grammar
