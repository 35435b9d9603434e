#include "engine/grammar/regex.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/grammar/regex_classes.h"
#include "engine/grammar/regex_expr.h"

namespace quorum::grammar {
namespace {

constexpr std::size_t kMaxPattern = 100'000;  // characters
constexpr int kMaxNesting = 200;
constexpr int kMaxLookAheads = 8;  // each costs an intersection of automata

/// From text to a tree.
class Parser {
 public:
  explicit Parser(std::vector<CodePoint> pattern) : pattern_(std::move(pattern)) {}

  Result<std::size_t> Parse() {
    QUORUM_ASSIGN(const std::size_t root, Choice(0));
    if (at_ < pattern_.size()) return Wrong("')' without '('");
    return root;
  }
  const std::vector<RegexNode>& nodes() const { return nodes_; }

 private:
  bool More() const { return at_ < pattern_.size(); }
  bool Next(CodePoint c) const { return More() && pattern_[at_] == c; }
  bool Take(CodePoint c) {
    if (!Next(c)) return false;
    ++at_;
    return true;
  }
  Error Wrong(const std::string& what) const {
    return InvalidArgument("in the regular expression at character " + std::to_string(at_) + ": " + what);
  }
  Error NotSupported(const std::string& what) const { return Wrong(what + " not supported"); }
  std::size_t Add(RegexNode node) {
    nodes_.push_back(std::move(node));
    return nodes_.size() - 1;
  }
  std::size_t AddChars(CharSet chars) {
    RegexNode node;
    node.kind = RegexNode::Kind::kChars;
    node.chars = std::move(chars);
    return Add(std::move(node));
  }

  Result<std::size_t> Choice(int depth) {
    if (depth > kMaxNesting) return Wrong("nested too deeply");
    RegexNode choice;
    choice.kind = RegexNode::Kind::kChoice;
    do {
      QUORUM_ASSIGN(const std::size_t part, Sequence(depth));
      choice.parts.push_back(part);
    } while (Take('|'));
    return choice.parts.size() == 1 ? choice.parts.front() : Add(std::move(choice));
  }

  Result<std::size_t> Sequence(int depth) {
    RegexNode sequence;
    while (More() && !Next('|') && !Next(')')) {
      QUORUM_ASSIGN(const std::size_t atom, Atom(depth));
      QUORUM_ASSIGN(const std::size_t part, Quantified(atom));
      sequence.parts.push_back(part);
    }
    return Add(std::move(sequence));
  }

  Result<std::size_t> Atom(int depth) {
    const CodePoint c = pattern_[at_];
    switch (c) {
      case '(': return Group(depth);
      case '[': return Class();
      case '\\': return Escape();
      case '.': ++at_; return AddChars(AnyButLineEnds(negated_));
      case '^':
      case '$': {
        ++at_;
        RegexNode anchor;
        anchor.kind = c == '^' ? RegexNode::Kind::kBegin : RegexNode::Kind::kEnd;
        return Add(std::move(anchor));
      }
      case '*':
      case '+':
      case '?': return Wrong("nothing to repeat");
      default: ++at_; return AddChars(CharSet::One(c));
    }
  }

  Result<std::size_t> Group(int depth) {
    ++at_;
    if (Take('?')) {
      if (Next('=') || Next('!')) return LookAhead(depth);
      if (Take('P') && !Next('<')) return NotSupported("this kind of group is");
      if (Take('<')) {
        if (Next('=') || Next('!')) return NotSupported("look-behind is");
        while (More() && !Next('>')) ++at_;  // a name, which nothing refers to
        if (!Take('>')) return Wrong("a group's name does not end");
      } else if (!Take(':')) {
        return NotSupported("this kind of group or flag is");
      }
    }
    QUORUM_ASSIGN(const std::size_t inner, Choice(depth + 1));
    if (!Take(')')) return Wrong("'(' without ')'");
    return inner;
  }

  Result<std::size_t> LookAhead(int depth) {
    if (++look_aheads_ > kMaxLookAheads) {
      return NotSupported("more than " + std::to_string(kMaxLookAheads) + " look-aheads are");
    }
    RegexNode look;
    look.kind = Take('!') ? RegexNode::Kind::kNotAhead : RegexNode::Kind::kAhead;
    if (look.kind == RegexNode::Kind::kAhead) ++at_;
    const bool outside = negated_;
    negated_ = outside != (look.kind == RegexNode::Kind::kNotAhead);
    QUORUM_ASSIGN(const std::size_t inner, Choice(depth + 1));
    negated_ = outside;
    if (!Take(')')) return Wrong("'(' without ')'");
    look.parts = {inner};
    return Add(std::move(look));
  }

  std::optional<std::uint32_t> Number() {
    std::uint64_t value = 0;
    const std::size_t begin = at_;
    for (; More() && pattern_[at_] >= '0' && pattern_[at_] <= '9'; ++at_) {
      value = std::min<std::uint64_t>(value * 10 + (pattern_[at_] - '0'), kUnbounded - 1);
    }
    if (at_ == begin) return std::nullopt;
    return static_cast<std::uint32_t>(value);
  }

  /// {n}, {n,} or {n,m}. Anything else that begins with a brace is plain text.
  bool Counts(std::uint32_t& min, std::uint32_t& max) {
    const std::size_t begin = at_;
    const bool taken = [&] {
      if (!Take('{')) return false;
      const auto low = Number();
      if (!low) return false;
      min = max = *low;
      if (Take(',')) max = Number().value_or(kUnbounded);
      return Take('}');
    }();
    if (!taken) at_ = begin;
    return taken;
  }

  Result<std::size_t> Quantified(std::size_t atom) {
    for (bool first = true;; first = false) {
      std::uint32_t min = 0;
      std::uint32_t max = kUnbounded;
      if (Take('*')) {
      } else if (Take('+')) {
        min = 1;
      } else if (Take('?')) {
        max = 1;
      } else if (!Counts(min, max)) {
        return atom;
      }
      if (!first) return Wrong("a quantifier follows a quantifier");
      if (max < min) return Wrong("the numbers of a quantifier are out of order");
      Take('?');  // whether a match is the longest does not change what matches
      if (Next('+')) return NotSupported("a possessive quantifier is");
      RegexNode repeat;
      repeat.kind = RegexNode::Kind::kRepeat;
      repeat.parts = {atom};
      repeat.min = min;
      repeat.max = max;
      atom = Add(std::move(repeat));
    }
  }

  Result<CodePoint> Hex(int digits) {
    CodePoint value = 0;
    for (int i = 0; i < digits; ++i) {
      const CodePoint c = More() ? pattern_[at_] : 0;
      const CodePoint lower = c | 0x20U;
      if (c >= '0' && c <= '9') {
        value = value * 16 + (c - '0');
      } else if (lower >= 'a' && lower <= 'f') {
        value = value * 16 + (lower - 'a' + 10);
      } else {
        return Wrong("a hexadecimal digit is missing");
      }
      ++at_;
    }
    return value;
  }

  Result<CodePoint> UnicodeEscape() {
    if (Take('{')) {
      CodePoint value = 0;
      while (!Take('}')) {
        QUORUM_ASSIGN(const CodePoint digit, Hex(1));
        value = value * 16 + digit;
        if (value > kMaxCodePoint) return Wrong("no such code point");
      }
      return value;
    }
    QUORUM_ASSIGN(const CodePoint high, Hex(4));
    if (high < 0xD800 || high > 0xDBFF) return high;
    if (!Take('\\') || !Take('u')) return Wrong("half of a surrogate pair");
    QUORUM_ASSIGN(const CodePoint low, Hex(4));
    if (low < 0xDC00 || low > 0xDFFF) return Wrong("half of a surrogate pair");
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
  }

  /// One character behind a backslash; `at_` is behind both.
  Result<CodePoint> EscapedChar(CodePoint c) {
    switch (c) {
      case 't': return CodePoint{'\t'};
      case 'n': return CodePoint{'\n'};
      case 'v': return CodePoint{'\v'};
      case 'f': return CodePoint{'\f'};
      case 'r': return CodePoint{'\r'};
      case 'x': return Hex(2);
      case 'u': return UnicodeEscape();
      case '0':
        if (More() && pattern_[at_] >= '0' && pattern_[at_] <= '9') return NotSupported("an octal escape is");
        return CodePoint{0};
      case 'c': {
        const CodePoint letter = More() ? pattern_[at_++] | 0x20U : 0;
        if (letter < 'a' || letter > 'z') return Wrong("\\c needs a letter");
        return letter - 'a' + 1;
      }
      case 'b':
      case 'B': return NotSupported("a word boundary is");
      case 'p':
      case 'P': return NotSupported("a Unicode property is");
      case 'k': return NotSupported("a back-reference is");
      default: break;
    }
    if (c >= '1' && c <= '9') return NotSupported("a back-reference is");
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return NotSupported("this escape is");
    return c;
  }

  Result<std::size_t> Escape() {
    ++at_;
    if (!More()) return Wrong("a backslash at the end");
    const CodePoint c = pattern_[at_++];
    if (auto set = ClassEscape(c, negated_)) return AddChars(std::move(*set));
    QUORUM_ASSIGN(const CodePoint value, EscapedChar(c));
    return AddChars(CharSet::One(value));
  }

  struct ClassPart {
    CharSet chars;
    std::optional<CodePoint> one;  // a single character, which may begin or end a range
  };
  Result<ClassPart> NextClassPart(bool wide) {
    const CodePoint c = pattern_[at_++];
    if (c != '\\') return ClassPart{CharSet::One(c), c};
    if (!More()) return Wrong("a backslash at the end");
    const CodePoint letter = pattern_[at_++];
    if (auto set = ClassEscape(letter, wide)) return ClassPart{std::move(*set), std::nullopt};
    if (letter == 'b') return ClassPart{CharSet::One('\b'), CodePoint{'\b'}};
    QUORUM_ASSIGN(const CodePoint value, EscapedChar(letter));
    return ClassPart{CharSet::One(value), value};
  }

  Result<std::size_t> Class() {
    ++at_;
    const bool inverted = Take('^');
    const bool wide = inverted != negated_;
    std::vector<CharSet::Range> ranges;
    while (!Take(']')) {
      if (!More()) return Wrong("'[' without ']'");
      QUORUM_ASSIGN(ClassPart part, NextClassPart(wide));
      if (part.one && Next('-') && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']') {
        const std::size_t dash = at_++;
        QUORUM_ASSIGN(const ClassPart end, NextClassPart(wide));
        if (end.one) {
          if (*end.one < *part.one) return Wrong("a range of a class is out of order");
          ranges.push_back({*part.one, *end.one});
          continue;
        }
        at_ = dash;  // "a-\d": the dash stands for itself
      }
      ranges.insert(ranges.end(), part.chars.ranges().begin(), part.chars.ranges().end());
    }
    CharSet chars(std::move(ranges));
    return AddChars(inverted ? chars.Complement() : std::move(chars));
  }

  const std::vector<CodePoint> pattern_;
  std::size_t at_ = 0;
  std::vector<RegexNode> nodes_;
  int look_aheads_ = 0;
  bool negated_ = false;  // what is read is what must not match: classes are then as wide as either dialect has them
};

}  // namespace

Result<ExprId> ParseRegex(std::string_view pattern, RegexMatch match, Grammar& grammar) {
  if (pattern.size() > kMaxPattern) {
    return InvalidArgument("the regular expression is longer than " + std::to_string(kMaxPattern) + " bytes");
  }
  std::vector<CodePoint> points;
  CodePoint c = 0;
  for (std::size_t at = 0; at < pattern.size();) {
    if (!ReadUtf8(pattern, at, c)) return InvalidArgument("the regular expression is not valid UTF-8");
    points.push_back(c);
  }
  Parser parser(std::move(points));
  QUORUM_ASSIGN(const std::size_t root, parser.Parse());
  return RegexExpr(parser.nodes(), root, match, grammar);
}

bool MayLookAhead(std::string_view pattern) {
  return pattern.find("(?=") != std::string_view::npos || pattern.find("(?!") != std::string_view::npos;
}

}  // namespace quorum::grammar
