#include "engine/grammar/free_text.h"

#include <map>
#include <set>
#include <utility>

namespace quorum::grammar {

/// The automaton of Aho and Corasick (1975) over characters.
ExprId FreeText(Grammar& grammar, const std::vector<Trigger>& triggers, bool may_end) {
  struct Node {
    std::map<CodePoint, std::size_t> next;
    std::size_t fail = 0;
    std::vector<std::size_t> ends;  // triggers that are complete here
  };
  std::vector<Node> nodes(1);
  for (std::size_t t = 0; t < triggers.size(); ++t) {
    if (triggers[t].text.empty()) continue;
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
