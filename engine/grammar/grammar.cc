#include "engine/grammar/grammar.h"

#include <algorithm>

namespace quorum::grammar {

Error Grammar::TooLarge() {
  return InvalidArgument("the grammar is too large: it has more than " + std::to_string(kMaxSize) + " parts");
}

ExprId Grammar::Add(Expr expr) {
  size_ += 1 + expr.parts.size() + expr.text.size() / 8 + expr.chars.ranges().size() / 8;
  if (overflowed() && !exprs_.empty()) return 0;  // whatever it is: the grammar will be refused
  exprs_.push_back(std::move(expr));
  return static_cast<ExprId>(exprs_.size() - 1);
}

ExprId Grammar::Chars(CharSet chars) {
  Expr expr;
  expr.kind = Expr::Kind::kChars;
  expr.chars = std::move(chars);
  return Add(std::move(expr));
}

ExprId Grammar::Literal(std::string_view text) {
  Expr expr;
  expr.kind = Expr::Kind::kLiteral;
  expr.text = text;
  return Add(std::move(expr));
}

ExprId Grammar::Token(TokenId token) {
  Expr expr;
  expr.kind = Expr::Kind::kToken;
  expr.index = token;
  return Add(std::move(expr));
}

ExprId Grammar::Sequence(std::vector<ExprId> parts) {
  if (parts.size() == 1) return parts.front();
  Expr expr;
  expr.kind = Expr::Kind::kSequence;
  expr.parts = std::move(parts);
  return Add(std::move(expr));
}

ExprId Grammar::Choice(std::vector<ExprId> parts) {
  if (parts.size() == 1) return parts.front();
  Expr expr;
  expr.kind = Expr::Kind::kChoice;
  expr.parts = std::move(parts);
  return Add(std::move(expr));
}

ExprId Grammar::Repeat(ExprId part, std::uint32_t min, std::uint32_t max) {
  if (max < min) return Never();
  if (max == 0) return Empty();
  if (min == 1 && max == 1) return part;
  Expr expr;
  expr.kind = Expr::Kind::kRepeat;
  expr.parts = {part};
  expr.min = min;
  expr.max = max;
  return Add(std::move(expr));
}

ExprId Grammar::Rule(RuleId rule) {
  Expr expr;
  expr.kind = Expr::Kind::kRule;
  expr.index = rule;
  return Add(std::move(expr));
}

ExprId Grammar::Machine(Automaton automaton) {
  for (const Automaton::State& state : automaton.states) {
    size_ += 1 + state.exits.size();
    for (const auto& [chars, target] : state.edges) size_ += 1 + chars.ranges().size() / 8;
  }
  Expr expr;
  expr.kind = Expr::Kind::kAutomaton;
  expr.index = static_cast<std::int32_t>(automata_.size());
  if (!overflowed()) automata_.push_back(std::move(automaton));
  return Add(std::move(expr));
}

RuleId Grammar::NewRule(std::string name) {
  ++size_;
  if (overflowed() && !rules_.empty()) return 0;
  rules_.push_back({std::move(name), -1});
  return static_cast<RuleId>(rules_.size() - 1);
}

ExprId Grammar::Share(std::string name, ExprId body) {
  const RuleId rule = NewRule(std::move(name));
  Define(rule, body);
  return Rule(rule);
}

ExprId Grammar::OneOf(std::vector<std::string> texts) {
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  return OneOfSorted(texts, 0, texts.size(), 0);
}

/// What follows the first `depth` bytes, which texts[begin, end) share. Each level of recursion adds to `depth`.
ExprId Grammar::OneOfSorted(const std::vector<std::string>& texts, std::size_t begin, std::size_t end,
                            std::size_t depth) {
  if (begin == end) return Never();
  if (end - begin == 1) return Literal(std::string_view(texts[begin]).substr(depth));
  // Deeper than this (each a prefix of the next, thousands of them) sharing is given up.
  constexpr std::size_t kMaxDepth = 400;
  std::vector<ExprId> choices;
  for (std::size_t i = begin; i < end;) {
    std::size_t next = i + 1;
    if (texts[i].size() == depth) {
      choices.push_back(Empty());
      i = next;
      continue;
    }
    CodePoint first = 0;
    std::size_t behind = depth;
    if (!ReadUtf8(texts[i], behind, first)) ++behind;  // not UTF-8: never matches, but must not loop
    const std::string_view head = std::string_view(texts[i]).substr(depth, behind - depth);
    const auto shares = [&](std::size_t k) { return std::string_view(texts[k]).substr(depth, head.size()) == head; };
    while (next < end && shares(next)) ++next;
    if (next - i == 1 || depth > kMaxDepth) {
      for (; i < next; ++i) choices.push_back(Literal(std::string_view(texts[i]).substr(depth)));
      continue;
    }
    // The longest beginning that all of texts[i, next) share: they are sorted, so the first and the last show it.
    std::size_t shared = behind;
    const std::string& last = texts[next - 1];
    for (std::size_t probe = shared; probe < texts[i].size() && probe < last.size();) {
      CodePoint a = 0;
      CodePoint b = 0;
      std::size_t at_a = probe;
      std::size_t at_b = probe;
      if (!ReadUtf8(texts[i], at_a, a) || !ReadUtf8(last, at_b, b) || a != b) break;
      shared = probe = at_a;
    }
    const ExprId prefix = Literal(std::string_view(texts[i]).substr(depth, shared - depth));
    choices.push_back(Sequence({prefix, OneOfSorted(texts, i, next, shared)}));
    i = next;
  }
  return Choice(std::move(choices));
}

}  // namespace quorum::grammar
