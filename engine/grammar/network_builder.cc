#include "engine/grammar/network_builder.h"

#include <algorithm>

#include "engine/grammar/vocabulary.h"

namespace quorum::grammar {
namespace {

constexpr std::size_t kHeavy = 1000;     // Weight's cap
constexpr std::size_t kMaxCopies = 100;  // nodes that a counted repeat may be spelled out to

}  // namespace

Result<Network> NetworkBuilder::Build() {
  if (grammar_.root() < 0) return Internal("a grammar without a root");
  Add({Network::Kind::kEnd, 0, 0, 0});
  // Calls look their rule's start up when all are built.
  for (const Grammar::RuleEntry& rule : grammar_.rules()) {
    if (rule.body < 0) return InvalidArgument("rule '" + rule.name.substr(0, 100) + "' is not defined");
    out_.rule_starts_.push_back(Expression(rule.body, Network::kEndNode, 0));
  }
  out_.start_ = Expression(grammar_.root(), Network::kEndNode, 0);
  if (too_large_) {
    return InvalidArgument("the grammar is too large or nested too deeply: it needs more than " +
                           std::to_string(kMaxNodes) + " states");
  }
  FindNullable();
  FindNeeds();
  if (out_.need(out_.start_) == Network::kNeverEnds) {
    return InvalidArgument("no text that this model can write satisfies it");
  }
  if (out_.need(out_.start_) >= kMaxDepth) return InvalidArgument("whatever satisfies it is nested too deeply");
  QUORUM_TRY(RankNodes());
  ClassifyBytes();
  return std::move(out_);
}

NodeId NetworkBuilder::Add(Network::Node node) {
  if (out_.nodes_.size() >= kMaxNodes) {
    too_large_ = true;
    return Network::kEndNode;
  }
  out_.nodes_.push_back(node);
  return static_cast<NodeId>(out_.nodes_.size() - 1);
}

NodeId NetworkBuilder::AddBytes(const Edges& edges) {
  const auto first = static_cast<std::int32_t>(out_.edges_.size());
  out_.edges_.insert(out_.edges_.end(), edges.begin(), edges.end());
  too_large_ = too_large_ || out_.edges_.size() > 4 * kMaxNodes;
  return Add({Network::Kind::kBytes, first, static_cast<std::int32_t>(edges.size()), 0});
}

NodeId NetworkBuilder::AddSplit(const std::vector<NodeId>& targets) {
  if (targets.size() == 1) return targets.front();
  const NodeId id = Add({Network::Kind::kSplit, 0, 0, 0});
  if (!too_large_) SetSplit(id, targets);
  return id;
}

void NetworkBuilder::SetSplit(NodeId id, const std::vector<NodeId>& targets) {
  Network::Node& node = out_.nodes_[static_cast<std::size_t>(id)];
  node.first = static_cast<std::int32_t>(out_.targets_.size());
  node.count = static_cast<std::int32_t>(targets.size());
  out_.targets_.insert(out_.targets_.end(), targets.begin(), targets.end());
  too_large_ = too_large_ || out_.targets_.size() > 4 * kMaxNodes;
}

NodeId NetworkBuilder::Expression(ExprId id, NodeId next, int depth) {
  if (depth > kMaxNesting) too_large_ = true;
  if (too_large_) return Network::kEndNode;
  const Expr& expr = grammar_.exprs()[static_cast<std::size_t>(id)];
  switch (expr.kind) {
    case Expr::Kind::kNever: return AddBytes({});
    case Expr::Kind::kChars: return Chars(expr.chars, next);
    case Expr::Kind::kLiteral: return Literal(expr.text, next);
    case Expr::Kind::kToken: return Bytes(Vocabulary::ControlBytes(expr.index), next);
    case Expr::Kind::kSequence:
      for (auto part = expr.parts.rbegin(); part != expr.parts.rend(); ++part)
        next = Expression(*part, next, depth + 1);
      return next;
    case Expr::Kind::kChoice: {
      if (expr.parts.empty()) return AddBytes({});
      std::vector<NodeId> targets;
      for (const ExprId part : expr.parts) targets.push_back(Expression(part, next, depth + 1));
      return AddSplit(targets);
    }
    case Expr::Kind::kRepeat: return Repeat(expr, next, depth);
    case Expr::Kind::kRule: return Add({Network::Kind::kCall, expr.index, 0, next});
    case Expr::Kind::kAutomaton: return Machine(grammar_.automata()[static_cast<std::size_t>(expr.index)], next, depth);
  }
  return AddBytes({});
}

NodeId NetworkBuilder::Bytes(std::string_view bytes, NodeId next) {
  for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte) {
    const auto value = static_cast<std::uint8_t>(*byte);
    next = AddBytes({{value, value, next}});
  }
  return next;
}

NodeId NetworkBuilder::Literal(std::string_view text, NodeId next) {
  CodePoint c = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (!ReadUtf8(text, at, c) || !spellable_.Contains(c)) return AddBytes({});
  }
  return Bytes(text, next);
}

/// The UTF-8 sequences of [first, last], which does not hold surrogates, as sequences of byte ranges. Two sequences,
/// also of different ranges, have first bytes (second ones after equal first ones, ...) that are equal or disjoint.
void NetworkBuilder::SplitRange(CodePoint first, CodePoint last, std::vector<Sequence>& out) {
  for (const CodePoint limit : {0x7FU, 0x7FFU, 0xFFFFU}) {  // lengths
    if (first <= limit && limit < last) {
      SplitRange(first, limit, out);
      SplitRange(limit + 1, last, out);
      return;
    }
  }
  for (const unsigned bits : {6U, 12U, 18U}) {  // whole blocks of the last continuation bytes
    const CodePoint mask = (CodePoint{1} << bits) - 1;
    if (first < 0x80 || (first & ~mask) == (last & ~mask)) continue;
    if ((first & mask) != 0) {
      SplitRange(first, first | mask, out);
      SplitRange((first | mask) + 1, last, out);
      return;
    }
    if ((last & mask) != mask) {
      SplitRange(first, (last & ~mask) - 1, out);
      SplitRange(last & ~mask, last, out);
      return;
    }
  }
  std::string low;
  std::string high;
  AppendUtf8(low, first);
  AppendUtf8(high, last);
  Sequence sequence;
  for (std::size_t i = 0; i < low.size(); ++i) {
    sequence.push_back({static_cast<std::uint8_t>(low[i]), static_cast<std::uint8_t>(high[i])});
  }
  out.push_back(std::move(sequence));
}

NodeId NetworkBuilder::Ranges(std::span<const Sequence> sequences, std::size_t at, NodeId next,
                              std::vector<std::pair<Edges, NodeId>>& made) {
  Edges edges;
  for (std::size_t i = 0; i < sequences.size();) {
    const ByteRange range = sequences[i][at];
    std::size_t end = i + 1;
    while (end < sequences.size() && sequences[end][at].low == range.low && sequences[end][at].high == range.high)
      ++end;
    NodeId target = next;
    if (sequences[i].size() > at + 1) target = Ranges(sequences.subspan(i, end - i), at + 1, next, made);
    if (!edges.empty() && edges.back().target == target && edges.back().high + 1 == range.low) {
      edges.back().high = range.high;
    } else {
      edges.push_back({range.low, range.high, target});
    }
    i = end;
  }
  const auto same = [](const Network::Edge& a, const Network::Edge& b) {
    return a.low == b.low && a.high == b.high && a.target == b.target;
  };
  for (const auto& [known, node] : made) {
    if (std::equal(edges.begin(), edges.end(), known.begin(), known.end(), same)) return node;
  }
  const NodeId node = AddBytes(edges);
  if (made.size() < 32) made.emplace_back(std::move(edges), node);
  return node;
}

NodeId NetworkBuilder::Chars(const CharSet& chars, NodeId next) {
  const CharSet usable = chars.Intersect(spellable_);
  std::vector<Sequence> sequences;
  for (const auto& [first, last] : usable.ranges()) SplitRange(first, last, sequences);
  std::vector<std::pair<Edges, NodeId>> made;
  return Ranges(sequences, 0, next, made);
}

std::size_t NetworkBuilder::Weight(ExprId id, int depth) const {
  const Expr& expr = grammar_.exprs()[static_cast<std::size_t>(id)];
  std::size_t weight = 1;
  switch (expr.kind) {
    case Expr::Kind::kChars:
      weight += expr.chars.empty() || expr.chars.ranges().back().last < 0x80 ? 0 : 4 + expr.chars.ranges().size();
      break;
    case Expr::Kind::kLiteral: weight += expr.text.size(); break;
    case Expr::Kind::kAutomaton: return kHeavy;
    case Expr::Kind::kRepeat:
      if (expr.max != kUnbounded && expr.max > 1) return kHeavy;
      [[fallthrough]];
    default:
      if (depth > 8) return kHeavy;
      for (const ExprId part : expr.parts) {
        weight += Weight(part, depth + 1);
        if (weight >= kHeavy) return kHeavy;
      }
  }
  return weight;
}

NodeId NetworkBuilder::Repeat(const Expr& expr, NodeId next, int depth) {
  const ExprId part = expr.parts.front();
  const auto loop = [&](NodeId behind) {  // part*
    const NodeId split = Add({Network::Kind::kSplit, 0, 0, 0});
    const NodeId body = Expression(part, split, depth + 1);
    if (!too_large_) SetSplit(split, {body, behind});
    return std::pair(split, body);
  };
  if (expr.max == kUnbounded && expr.min == 0) return loop(next).first;
  if (expr.max == kUnbounded && expr.min == 1) return loop(next).second;
  if (expr.max == 1) return AddSplit({Expression(part, next, depth + 1), next});
  const std::uint32_t copies = expr.max == kUnbounded ? expr.min : expr.max;
  if (copies <= kMaxCopies && copies * Weight(part, 0) <= kMaxCopies) {
    NodeId at = next;
    if (expr.max == kUnbounded) {
      at = loop(next).first;
    } else {
      for (std::uint32_t i = expr.min; i < expr.max; ++i) at = AddSplit({Expression(part, at, depth + 1), next});
    }
    for (std::uint32_t i = 0; i < expr.min; ++i) at = Expression(part, at, depth + 1);
    return at;
  }
  const NodeId body = Expression(part, Network::kEndNode, depth + 1);
  out_.repeats_.push_back({body, expr.min, expr.max, next});
  return Add({Network::Kind::kRepeat, static_cast<std::int32_t>(out_.repeats_.size() - 1), 0, next});
}

NodeId NetworkBuilder::Machine(const Automaton& automaton, NodeId next, int depth) {
  std::vector<NodeId> states;
  for (std::size_t i = 0; i < automaton.states.size(); ++i) states.push_back(Add({Network::Kind::kSplit, 0, 0, 0}));
  if (too_large_ || states.empty()) return AddBytes({});
  for (std::size_t i = 0; i < states.size() && !too_large_; ++i) {
    const Automaton::State& state = automaton.states[i];
    std::vector<NodeId> targets;
    Edges ascii;
    for (const auto& [chars, target] : state.edges) {
      const NodeId to = states[static_cast<std::size_t>(target)];
      const CharSet narrow = chars.Intersect(spellable_).Intersect(CharSet{{0, 0x7F}});
      for (const auto& [first, last] : narrow.ranges()) {
        ascii.push_back({static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(last), to});
      }
      const CharSet wide = chars.Intersect(CharSet{{0x80, kMaxCodePoint}});
      if (!wide.empty()) targets.push_back(Chars(wide, to));
    }
    if (!ascii.empty()) targets.push_back(AddBytes(ascii));
    if (state.accepts) targets.push_back(next);
    for (const ExprId exit : state.exits) targets.push_back(Expression(exit, next, depth + 1));
    if (!too_large_) SetSplit(states[i], targets);
  }
  return states.front();
}

template <typename Visit>
void NetworkBuilder::ForEachDependency(NodeId id, const Visit& visit) const {
  const Network::Node& node = out_.node(id);
  switch (node.kind) {
    case Network::Kind::kEnd: break;
    case Network::Kind::kBytes:
      for (const Network::Edge& edge : out_.edges(node)) visit(edge.target);
      break;
    case Network::Kind::kSplit:
      for (const NodeId target : out_.targets(node)) visit(target);
      break;
    case Network::Kind::kCall:
      visit(out_.rule_start(node.first));
      visit(node.next);
      break;
    case Network::Kind::kRepeat:
      visit(out_.repeat(node.first).body);
      visit(node.next);
      break;
  }
}

std::vector<std::vector<NodeId>> NetworkBuilder::Dependents() const {
  std::vector<std::vector<NodeId>> dependents(out_.size());
  for (std::size_t i = 0; i < out_.size(); ++i) {
    const auto id = static_cast<NodeId>(i);
    ForEachDependency(id, [&](NodeId on) { dependents[static_cast<std::size_t>(on)].push_back(id); });
  }
  return dependents;
}

void NetworkBuilder::FindNullable() {
  std::vector<char>& nullable = out_.nullable_;
  nullable.assign(out_.size(), 0);
  const auto is = [&nullable](NodeId id) { return nullable[static_cast<std::size_t>(id)] != 0; };
  const auto now = [&](NodeId id) {
    const Network::Node& node = out_.node(id);
    switch (node.kind) {
      case Network::Kind::kEnd: return true;
      case Network::Kind::kBytes: return false;
      case Network::Kind::kSplit: return std::any_of(out_.targets(node).begin(), out_.targets(node).end(), is);
      case Network::Kind::kCall: return is(out_.rule_start(node.first)) && is(node.next);
      case Network::Kind::kRepeat:
        return (out_.repeat(node.first).min == 0 || is(out_.repeat(node.first).body)) && is(node.next);
    }
    return false;
  };
  const auto dependents = Dependents();
  std::vector<NodeId> work = {Network::kEndNode};
  nullable[Network::kEndNode] = 1;
  // A repeat of nothing, or a call of a rule that is only its end, hangs on the end node too.
  while (!work.empty()) {
    const NodeId id = work.back();
    work.pop_back();
    for (const NodeId above : dependents[static_cast<std::size_t>(id)]) {
      if (is(above) || !now(above)) continue;
      nullable[static_cast<std::size_t>(above)] = 1;
      work.push_back(above);
    }
  }
  // What can be empty may as well be left out: then each round that is counted reads something.
  for (Network::Repetition& repeat : out_.repeats_) {
    if (is(repeat.body)) repeat.min = 0;
  }
}

void NetworkBuilder::FindNeeds() {
  std::vector<std::int32_t>& needs = out_.needs_;
  needs.assign(out_.size(), Network::kNeverEnds);
  const auto need = [&needs](NodeId id) { return needs[static_cast<std::size_t>(id)]; };
  const auto inside = [&need](NodeId id) { return std::min(need(id) + 1, Network::kNeverEnds); };
  const auto now = [&](NodeId id) {
    const Network::Node& node = out_.node(id);
    std::int32_t least = Network::kNeverEnds;
    switch (node.kind) {
      case Network::Kind::kEnd: return 0;
      case Network::Kind::kBytes:
        for (const Network::Edge& edge : out_.edges(node)) least = std::min(least, need(edge.target));
        return least;
      case Network::Kind::kSplit:
        for (const NodeId target : out_.targets(node)) least = std::min(least, need(target));
        return least;
      case Network::Kind::kCall: {
        const NodeId start = out_.rule_start(node.first);
        return node.next == Network::kEndNode ? need(start) : std::max(inside(start), need(node.next));
      }
      case Network::Kind::kRepeat: {
        const Network::Repetition& repeat = out_.repeat(node.first);
        return repeat.min == 0 ? need(node.next) : std::max(inside(repeat.body), need(node.next));
      }
    }
    return least;
  };
  const auto dependents = Dependents();
  std::vector<NodeId> work = {Network::kEndNode};
  needs[Network::kEndNode] = 0;
  for (std::size_t i = 0; i < work.size(); ++i) {  // first in, first out: small needs spread first
    for (const NodeId above : dependents[static_cast<std::size_t>(work[i])]) {
      const std::int32_t value = now(above);
      if (value >= need(above)) continue;
      needs[static_cast<std::size_t>(above)] = value;
      work.push_back(above);
    }
    if (i > (1U << 16) && i * 2 > work.size()) {
      work.erase(work.begin(), work.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      i = static_cast<std::size_t>(-1);
    }
  }
}

/// Visits the nodes that are reached from `id` before any byte is read, and whether a frame is opened on the way.
template <typename Visit>
void NetworkBuilder::ForEachStepWithoutInput(NodeId id, const Visit& visit) const {
  const Network::Node& node = out_.node(id);
  const auto go = [&](NodeId target, bool opens) {
    if (out_.need(target) < Network::kNeverEnds) visit(target, opens);
  };
  switch (node.kind) {
    case Network::Kind::kEnd:
    case Network::Kind::kBytes: break;
    case Network::Kind::kSplit:
      for (const NodeId target : out_.targets(node)) go(target, false);
      break;
    case Network::Kind::kCall:
      go(out_.rule_start(node.first), node.next != Network::kEndNode);
      if (out_.nullable(out_.rule_start(node.first))) go(node.next, false);
      break;
    case Network::Kind::kRepeat:
      go(out_.repeat(node.first).body, true);
      if (out_.repeat(node.first).min == 0) go(node.next, false);
      break;
  }
}

/// Tarjan's components (1972), without recursion, come in the order that ranks need. A cycle without input that opens
/// frames would open them for ever: left recursion.
Status NetworkBuilder::RankNodes() {
  const std::size_t n = out_.size();
  std::vector<std::int32_t> order(n, -1);
  std::vector<std::int32_t> low(n, 0);
  std::vector<std::int32_t>& component = out_.ranks_;
  component.assign(n, -1);
  std::vector<NodeId> open;
  struct Frame {
    NodeId node;
    std::vector<NodeId> targets;
    std::size_t next = 0;
  };
  std::vector<Frame> stack;
  std::int32_t count = 0;
  std::int32_t components = 0;
  const auto enter = [&](NodeId id) {
    Frame frame{id, {}, 0};
    ForEachStepWithoutInput(id, [&](NodeId target, bool) { frame.targets.push_back(target); });
    order[static_cast<std::size_t>(id)] = low[static_cast<std::size_t>(id)] = count++;
    open.push_back(id);
    stack.push_back(std::move(frame));
  };
  for (std::size_t root = 0; root < n; ++root) {
    if (order[root] >= 0) continue;
    enter(static_cast<NodeId>(root));
    while (!stack.empty()) {
      const auto at = static_cast<std::size_t>(stack.back().node);
      if (stack.back().next < stack.back().targets.size()) {
        const auto target = static_cast<std::size_t>(stack.back().targets[stack.back().next++]);
        if (order[target] < 0) {
          enter(static_cast<NodeId>(target));
        } else if (component[target] < 0) {
          low[at] = std::min(low[at], order[target]);
        }
        continue;
      }
      if (low[at] == order[at]) {
        for (;;) {
          const NodeId member = open.back();
          open.pop_back();
          component[static_cast<std::size_t>(member)] = components;
          if (static_cast<std::size_t>(member) == at) break;
        }
        ++components;
      }
      stack.pop_back();
      if (!stack.empty()) {
        auto& above = low[static_cast<std::size_t>(stack.back().node)];
        above = std::min(above, low[at]);
      }
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    bool recursive = false;
    ForEachStepWithoutInput(static_cast<NodeId>(i), [&](NodeId target, bool opens) {
      recursive = recursive || (opens && component[i] == component[static_cast<std::size_t>(target)]);
    });
    if (!recursive) continue;
    for (std::size_t r = 0; r < out_.rule_starts_.size(); ++r) {
      if (component[static_cast<std::size_t>(out_.rule_starts_[r])] != component[i]) continue;
      return InvalidArgument("rule '" + grammar_.rules()[r].name.substr(0, 100) +
                             "' is left-recursive: it can call itself before it reads anything");
    }
    return InvalidArgument("the grammar is left-recursive");
  }
  return {};
}

void NetworkBuilder::ClassifyBytes() {
  std::array<bool, 257> begins{};
  begins[0] = true;
  for (const Network::Edge& edge : out_.edges_) {
    begins[edge.low] = true;
    begins[edge.high + 1U] = true;
  }
  std::size_t classes = 0;
  for (std::size_t byte = 0; byte < 256; ++byte) {
    if (begins[byte]) ++classes;
    out_.class_of_[byte] = static_cast<std::uint8_t>(classes - 1);
  }
  out_.byte_classes_ = classes;
}

}  // namespace quorum::grammar
