#include "engine/grammar/regex_expr.h"

#include <optional>
#include <string>
#include <utility>

#include "engine/grammar/char_dfa.h"

namespace quorum::grammar {
namespace {

using Kind = RegexNode::Kind;

bool IsLook(const RegexNode& node) { return node.kind == Kind::kAhead || node.kind == Kind::kNotAhead; }

/// One end of a part of the pattern.
struct Side {
  bool edge = false;  // nothing of the pattern stands beyond it
  bool open = false;  // and any text may
};

/// From a tree to expressions. What looks ahead is intersected with all that follows it, so that whatever holds such a
/// part is made from its end to its beginning, each part together with what follows.
class Emitter {
 public:
  Emitter(const std::vector<RegexNode>& nodes, Grammar& grammar)
      : nodes_(nodes), looks_(nodes.size()), grammar_(grammar) {
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      looks_[i] = IsLook(nodes[i]);
      for (const std::size_t part : nodes[i].parts) looks_[i] = looks_[i] || looks_[part];
    }
  }

  /// What the node matches, and then `rest`: without one, `right` says what may follow.
  Result<ExprId> Emit(std::size_t id, Side left, Side right, std::optional<ExprId> rest = {}) {
    const RegexNode& node = nodes_[id];
    if (rest && !looks_[id]) {
      QUORUM_ASSIGN(const ExprId expr, Emit(id, left, Side{}));
      return grammar_.Sequence({expr, *rest});
    }
    switch (node.kind) {
      case Kind::kChars: return Between(left, grammar_.Chars(node.chars), right);
      case Kind::kBegin:
        if (!left.edge) return Anchor("^");
        return Between({}, grammar_.Empty(), right);
      case Kind::kEnd:
        if (!right.edge) return Anchor("$");
        return Between(left, grammar_.Empty(), {});
      case Kind::kChoice: {
        std::vector<ExprId> parts;
        for (const std::size_t part : node.parts) {
          QUORUM_ASSIGN(const ExprId expr, Emit(part, left, right, rest));
          parts.push_back(expr);
        }
        return grammar_.Choice(std::move(parts));
      }
      case Kind::kRepeat: return looks_[id] ? Perhaps(node, left, right, rest) : Repeat(node, left, right);
      case Kind::kSequence: return Sequence(node, left, right, rest);
      case Kind::kAhead:
      case Kind::kNotAhead: return Look(node, left, rest ? *rest : Between({}, grammar_.Empty(), right));
    }
    return grammar_.Never();
  }

 private:
  Result<ExprId> Repeat(const RegexNode& node, Side left, Side right) {
    QUORUM_ASSIGN(const ExprId part, Emit(node.parts.front(), {}, {}));
    return Between(left, grammar_.Repeat(part, node.min, node.max), right);
  }

  /// A part that looks ahead, at most once.
  Result<ExprId> Perhaps(const RegexNode& node, Side left, Side right, std::optional<ExprId> rest) {
    if (node.max > 1) return NotSupported("look-ahead within what repeats is");
    std::vector<ExprId> ways;
    if (node.max == 1) {
      QUORUM_ASSIGN(const ExprId with, Emit(node.parts.front(), left, right, rest));
      ways.push_back(with);
    }
    if (node.min == 0) ways.push_back(Between(left, rest ? *rest : grammar_.Empty(), rest ? Side{} : right));
    return grammar_.Choice(std::move(ways));
  }

  Result<ExprId> Sequence(const RegexNode& node, Side left, Side right, std::optional<ExprId> rest) {
    // Anchors stand for themselves; what is between them loses the open side.
    std::size_t begin = 0;
    std::size_t end = node.parts.size();
    while (begin < end && nodes_[node.parts[begin]].kind == Kind::kBegin) {
      if (!left.edge) return Anchor("^");
      left.open = false;
      ++begin;
    }
    while (end > begin && nodes_[node.parts[end - 1]].kind == Kind::kEnd) {
      if (!right.edge || rest) return Anchor("$");
      right.open = false;
      --end;
    }
    if (begin == end) return Between(left, rest ? *rest : grammar_.Empty(), rest ? Side{} : right);
    std::vector<Side> lefts;
    for (std::size_t i = begin; i < end; ++i) {
      lefts.push_back(left);
      left = IsLook(nodes_[node.parts[i]]) ? Here(left) : Side{};
    }
    std::vector<ExprId> tail;  // what follows, the last first
    if (rest) tail.push_back(*rest);
    for (std::size_t i = end; i-- > begin;) {
      const std::size_t part = node.parts[i];
      const Side after = tail.empty() ? right : Side{};
      std::optional<ExprId> following;
      if (looks_[part] && !tail.empty()) following = grammar_.Sequence({tail.rbegin(), tail.rend()});
      QUORUM_ASSIGN(const ExprId expr, Emit(part, lefts[i - begin], after, following));
      if (following) tail.clear();
      tail.push_back(expr);
    }
    return grammar_.Sequence({tail.rbegin(), tail.rend()});
  }

  /// `after`, where it also begins as the node says (or does not).
  Result<ExprId> Look(const RegexNode& node, Side left, ExprId after) {
    QUORUM_ASSIGN(const ExprId ahead, Emit(node.parts.front(), Here(left), Side{true, true}));
    QUORUM_ASSIGN(const CharDfa seen, CharDfa::FromExpr(grammar_, ahead));
    QUORUM_ASSIGN(const CharDfa all, CharDfa::FromExpr(grammar_, after));
    grammar_.Spend(2000 + seen.states().size() + all.states().size());
    QUORUM_ASSIGN(const CharDfa both, all.Intersect(node.kind == Kind::kAhead ? seen : seen.Complement()));
    return Between(left, grammar_.Machine(both.ToAutomaton()), {});
  }

  /// The left side of what stands behind a look-ahead, or in it: the same place, with nothing before it left to say.
  static Side Here(Side left) { return {left.edge && !left.open, false}; }

  ExprId Between(Side left, ExprId expr, Side right) {
    std::vector<ExprId> parts;
    if (left.open) parts.push_back(AnyText());
    parts.push_back(expr);
    if (right.open) parts.push_back(AnyText());
    return grammar_.Sequence(std::move(parts));
  }

  ExprId AnyText() {
    if (any_text_ < 0) any_text_ = grammar_.Repeat(grammar_.Chars(CharSet::All()), 0, kUnbounded);
    return any_text_;
  }

  static Error NotSupported(const std::string& what) {
    return InvalidArgument("in the regular expression: " + what + " not supported");
  }
  static Error Anchor(const char* which) {
    return NotSupported(std::string("'") + which + "' elsewhere than at the end of the pattern that it names is");
  }

  const std::vector<RegexNode>& nodes_;
  std::vector<bool> looks_;  // whether the node or a part of it looks ahead
  Grammar& grammar_;
  ExprId any_text_ = -1;
};

}  // namespace

Result<ExprId> RegexExpr(const std::vector<RegexNode>& nodes, std::size_t root, RegexMatch match, Grammar& grammar) {
  const Side side{true, match == RegexMatch::kAnywhere};
  return Emitter(nodes, grammar).Emit(root, side, side);
}

}  // namespace quorum::grammar
