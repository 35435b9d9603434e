#include "engine/grammar/free_text.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace quorum::grammar {
namespace {

/// Puts a state before all others, in which only white space has come, where some trigger binds only there.
template <typename Follow>
void AddStart(const std::vector<Trigger>& triggers, const Follow& follow, Automaton& automaton) {
  const auto binds = [](const Trigger& trigger) { return trigger.at_start; };
  if (std::none_of(triggers.begin(), triggers.end(), binds)) return;
  for (Automaton::State& state : automaton.states) {
    for (auto& edge : state.edges) ++edge.second;
  }
  Automaton::State start = automaton.states.front();
  const CharSet space({{'\t', '\n'}, {'\r', '\r'}, {' ', ' '}});
  CharSet special = space;
  std::vector<Automaton::State> ends;
  for (const Trigger& trigger : triggers) {
    if (!binds(trigger)) continue;
    const CharSet first = CharSet::One(static_cast<unsigned char>(trigger.text.front()));
    special = special.Union(first);
    start.edges.emplace_back(first, static_cast<std::int32_t>(automaton.states.size() + 1 + ends.size()));
    ends.push_back({{}, false, {follow(trigger)}});
  }
  const CharSet usual = special.Complement();
  for (std::size_t i = 0; i + ends.size() < start.edges.size(); ++i) {
    start.edges[i].first = start.edges[i].first.Intersect(usual);
  }
  std::erase_if(start.edges, [](const auto& edge) { return edge.first.empty(); });
  start.edges.emplace_back(space, 0);
  automaton.states.insert(automaton.states.begin(), std::move(start));
  automaton.states.insert(automaton.states.end(), ends.begin(), ends.end());
}

}  // namespace

/// The automaton of Aho and Corasick (1975) over characters.
ExprId FreeText(Grammar& grammar, const std::vector<Trigger>& triggers, bool may_end) {
  struct Node {
    std::map<CodePoint, std::size_t> next;
    std::size_t fail = 0;
    std::vector<std::size_t> ends;  // triggers that are complete here
  };
  std::vector<Node> nodes(1);
  for (std::size_t t = 0; t < triggers.size(); ++t) {
    if (triggers[t].text.empty() || triggers[t].at_start) continue;
    std::size_t at = 0;
    for (const CodePoint c : CodePointsOf(triggers[t].text)) {
      const auto [it, added] = nodes[at].next.try_emplace(c, nodes.size());
      at = it->second;
      if (added) nodes.emplace_back();
    }
    nodes[at].ends.push_back(t);
  }
  std::set<CodePoint> alphabet;
  std::vector<std::size_t> order = {0};  // by depth
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::size_t at = order[i];
    for (const auto& [c, child] : nodes[at].next) {
      alphabet.insert(c);
      std::size_t fail = nodes[at].fail;
      while (fail != 0 && nodes[fail].next.count(c) == 0) fail = nodes[fail].fail;
      const auto it = nodes[fail].next.find(c);
      if (at != 0 && it != nodes[fail].next.end()) nodes[child].fail = it->second;
      const auto& shorter = nodes[nodes[child].fail].ends;
      nodes[child].ends.insert(nodes[child].ends.end(), shorter.begin(), shorter.end());
      order.push_back(child);
    }
  }
  const RuleId rule = grammar.NewRule("free text");
  const auto follow = [&](const Trigger& trigger) {
    return trigger.resume ? grammar.Sequence({trigger.then, grammar.Rule(rule)}) : trigger.then;
  };
  Automaton automaton;
  automaton.states.resize(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    Automaton::State& state = automaton.states[i];
    if (!nodes[i].ends.empty()) {
      state.exits.push_back(follow(triggers[nodes[i].ends.front()]));
      continue;
    }
    state.accepts = may_end;
    for (const Trigger& trigger : triggers) {
      if (!trigger.token) continue;
      state.exits.push_back(grammar.Sequence({grammar.Token(*trigger.token), follow(trigger)}));
    }
    std::vector<CharSet::Range> known;
    for (const CodePoint c : alphabet) {
      std::size_t at = i;
      while (at != 0 && nodes[at].next.count(c) == 0) at = nodes[at].fail;
      const auto it = nodes[at].next.find(c);
      if (it == nodes[at].next.end()) continue;  // back to the start, as any other character
      state.edges.emplace_back(CharSet::One(c), static_cast<std::int32_t>(it->second));
      known.push_back({c, c});
    }
    state.edges.emplace_back(CharSet(std::move(known)).Complement(), 0);
  }
  AddStart(triggers, follow, automaton);
  grammar.Define(rule, grammar.Machine(std::move(automaton)));
  return grammar.Rule(rule);
}

ExprId AfterThinking(Grammar& grammar, const ThinkingMarks& marks, ExprId answer) {
  const ExprId shared = grammar.Share("answer", answer);
  const ExprId behind = grammar.Sequence({grammar.Repeat(grammar.Literal("\n"), 0, 2), shared});
  const Trigger close = {marks.close_token ? "" : marks.close, marks.close_token, behind, false};
  const ExprId thought = FreeText(grammar, {close}, false);
  if (marks.inside) return thought;
  const ExprId open = marks.open_token ? grammar.Token(*marks.open_token) : grammar.Literal(marks.open);
  return grammar.Choice({grammar.Sequence({open, thought}), shared});
}

}  // namespace quorum::grammar
