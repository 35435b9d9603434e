#include "engine/grammar/gbnf.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace quorum::grammar {
namespace {

constexpr std::size_t kMaxText = 1 << 20;
constexpr int kMaxNesting = 200;

bool IsNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Grammar> Parse() {
    Skip(true);
    while (More()) {
      QUORUM_TRY(Rule());
      if (grammar_.overflowed()) return Grammar::TooLarge();
    }
    const auto root = rules_.find("root");
    if (root == rules_.end()) return InvalidArgument("the grammar has no rule 'root'");
    for (const auto& [name, rule] : rules_) {
      if (grammar_.rules()[static_cast<std::size_t>(rule)].body < 0) {
        return InvalidArgument("the grammar uses the rule '" + name.substr(0, 100) + "', which it does not define");
      }
    }
    grammar_.SetRoot(grammar_.Rule(root->second));
    return std::move(grammar_);
  }

 private:
  bool More() const { return at_ < text_.size(); }
  bool Next(char c) const { return More() && text_[at_] == c; }
  bool Take(char c) {
    if (!Next(c)) return false;
    ++at_;
    return true;
  }
  Error Wrong(const std::string& what) const {
    const auto line =
        1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(std::min(at_, text_.size())), '\n');
    return InvalidArgument("the grammar, line " + std::to_string(line) + ": " + what);
  }

  /// Spaces and comments; line ends only if `lines`.
  void Skip(bool lines) {
    while (More()) {
      const char c = text_[at_];
      if (c == '#') {
        while (More() && text_[at_] != '\n' && text_[at_] != '\r') ++at_;
      } else if (c == ' ' || c == '\t' || (lines && (c == '\n' || c == '\r'))) {
        ++at_;
      } else {
        return;
      }
    }
  }

  std::string_view Name() {
    const std::size_t begin = at_;
    while (More() && IsNameChar(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  RuleId RuleNamed(std::string_view name) {
    const auto it = rules_.find(name);
    if (it != rules_.end()) return it->second;
    const RuleId rule = grammar_.NewRule(std::string(name));
    rules_.emplace(std::string(name), rule);
    return rule;
  }

  Status Rule() {
    const std::string_view name = Name();
    if (name.empty()) return Wrong("expected a rule's name");
    Skip(false);
    if (text_.substr(at_, 3) != "::=") return Wrong("expected '::=' after '" + std::string(name.substr(0, 100)) + "'");
    at_ += 3;
    const RuleId rule = RuleNamed(name);
    if (!grammar_.overflowed() && grammar_.rules()[static_cast<std::size_t>(rule)].body >= 0) {
      return Wrong("rule '" + std::string(name.substr(0, 100)) + "' is defined twice");
    }
    Skip(true);
    QUORUM_ASSIGN(const ExprId body, Alternatives(0));
    if (More() && !Next('\n') && !Next('\r')) return Wrong("unexpected character");
    grammar_.Define(rule, body);
    Skip(true);
    return {};
  }

  Result<ExprId> Alternatives(int depth) {
    if (depth > kMaxNesting) return Wrong("groups are nested too deeply");
    std::vector<ExprId> parts;
    for (;;) {
      QUORUM_ASSIGN(const ExprId part, Sequence(depth));
      parts.push_back(part);
      // At the top a line's end may end the rule, unless the next line goes on with '|'.
      const std::size_t before = at_;
      Skip(true);
      if (!Take('|')) {
        if (depth == 0) at_ = before;
        break;
      }
      Skip(true);
    }
    return grammar_.Choice(std::move(parts));
  }

  Result<ExprId> Sequence(int depth) {
    std::vector<ExprId> parts;
    for (;; Skip(depth > 0)) {
      if (!More()) break;
      const char c = text_[at_];
      if (c == '*' || c == '+' || c == '?' || c == '{') {
        if (parts.empty()) return Wrong("nothing to repeat");
        QUORUM_ASSIGN(parts.back(), Repeated(parts.back()));
      } else if (c == '"' || c == '[' || c == '.' || c == '(' || IsNameChar(c)) {
        QUORUM_ASSIGN(const ExprId atom, Atom(depth));
        parts.push_back(atom);
      } else {
        break;
      }
      if (grammar_.overflowed()) return Grammar::TooLarge();
    }
    if (parts.empty()) return grammar_.Empty();
    return grammar_.Sequence(std::move(parts));
  }

  Result<ExprId> Atom(int depth) {
    if (Take('.')) return grammar_.Chars(CharSet::All());
    if (Take('(')) {
      Skip(true);
      QUORUM_ASSIGN(const ExprId inner, Alternatives(depth + 1));
      if (!Take(')')) return Wrong("'(' without ')'");
      return inner;
    }
    if (Take('"')) {
      std::string literal;
      while (!Take('"')) {
        QUORUM_ASSIGN(const CodePoint c, Char("a literal does not end"));
        AppendUtf8(literal, c);
      }
      return grammar_.Literal(literal);
    }
    if (Take('[')) return Class();
    return grammar_.Rule(RuleNamed(Name()));
  }

  Result<ExprId> Class() {
    const bool inverted = Take('^');
    std::vector<CharSet::Range> ranges;
    while (!Take(']')) {
      QUORUM_ASSIGN(const CodePoint first, Char("'[' without ']'"));
      CodePoint last = first;
      if (Next('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        QUORUM_ASSIGN(last, Char("'[' without ']'"));
        if (last < first) return Wrong("a range of a class is out of order");
      }
      ranges.push_back({first, last});
    }
    CharSet chars(std::move(ranges));
    return grammar_.Chars(inverted ? chars.Complement() : std::move(chars));
  }

  Result<CodePoint> Char(const char* at_end) {
    if (!More()) return Wrong(at_end);
    CodePoint c = 0;
    if (text_[at_] != '\\') {
      if (!ReadUtf8(text_, at_, c)) return Wrong("not valid UTF-8");
      return c;
    }
    ++at_;
    if (!More()) return Wrong(at_end);
    switch (const char letter = text_[at_++]; letter) {
      case 'n': return CodePoint{'\n'};
      case 'r': return CodePoint{'\r'};
      case 't': return CodePoint{'\t'};
      case 'x': return Hex(2);
      case 'u': return Hex(4);
      case 'U': return Hex(8);
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^': return static_cast<CodePoint>(letter);
      default: return Wrong("unknown escape");
    }
  }

  Result<CodePoint> Hex(std::size_t digits) {
    CodePoint value = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      const char c = More() ? text_[at_] : '\0';
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return Wrong("a hexadecimal digit is missing");
      value = value * 16 + static_cast<CodePoint>(digit);
      ++at_;
    }
    if (value > kMaxCodePoint || (value >= 0xD800 && value <= 0xDFFF)) return Wrong("no such code point");
    return value;
  }

  Result<ExprId> Repeated(ExprId part) {
    if (Take('*')) return grammar_.Repeat(part, 0, kUnbounded);
    if (Take('+')) return grammar_.Repeat(part, 1, kUnbounded);
    if (Take('?')) return grammar_.Repeat(part, 0, 1);
    ++at_;
    const auto number = [this](std::uint32_t absent) {
      Skip(false);
      std::uint64_t value = 0;
      const std::size_t begin = at_;
      for (; More() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
        value = std::min<std::uint64_t>(value * 10 + static_cast<std::uint64_t>(text_[at_] - '0'), kUnbounded - 1);
      }
      const bool given = at_ > begin;
      Skip(false);
      return std::pair(given ? static_cast<std::uint32_t>(value) : absent, given);
    };
    const auto [min, min_given] = number(0);
    std::uint32_t max = min;
    if (Take(',')) {
      max = number(kUnbounded).first;
    } else if (!min_given) {
      return Wrong("expected a number after '{'");
    }
    if (!Take('}')) return Wrong("'{' without '}'");
    if (max < min) return Wrong("the numbers of a repetition are out of order");
    return grammar_.Repeat(part, min, max);
  }

  const std::string_view text_;
  std::size_t at_ = 0;
  Grammar grammar_;
  std::map<std::string, RuleId, std::less<>> rules_;
};

}  // namespace

Result<Grammar> ParseGbnf(std::string_view text) {
  if (text.size() > kMaxText)
    return InvalidArgument("the grammar is longer than " + std::to_string(kMaxText) + " bytes");
  return Parser(text).Parse();
}

}  // namespace quorum::grammar
