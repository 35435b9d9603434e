#include "engine/grammar/json_text.h"

#include <utility>
#include <vector>

#include "engine/grammar/vocabulary.h"

namespace quorum::grammar {
namespace {

/// The escape of a character that JSON does not hold as it is.
std::string EscapeOf(CodePoint c) {
  switch (c) {
    case '"': return "\\\"";
    case '\\': return "\\\\";
    case '\b': return "\\b";
    case '\f': return "\\f";
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: {
      constexpr const char* kHex = "0123456789abcdef";
      std::string escape = "\\u00";
      escape.push_back(kHex[(c >> 4) & 0xFU]);
      escape.push_back(kHex[c & 0xFU]);
      return escape;
    }
  }
}

bool NeedsEscape(CodePoint c) { return c < 0x20 || c == '"' || c == '\\'; }

}  // namespace

std::string JsonEscape(std::string_view text) {
  std::string out;
  for (const CodePoint c : CodePointsOf(text)) {
    if (NeedsEscape(c)) {
      out += EscapeOf(c);
    } else {
      AppendUtf8(out, c);
    }
  }
  return out;
}

ExprId JsonText::Break() {
  if (space_ == JsonSpace::kCompact) return grammar_.Empty();
  if (break_ < 0) {
    const ExprId indent =
        grammar_.Choice({grammar_.Repeat(grammar_.Literal(" "), 0, 40), grammar_.Repeat(grammar_.Literal("\t"), 1, 8)});
    break_ = grammar_.Share("break", grammar_.Optional(grammar_.Sequence({grammar_.Literal("\n"), indent})));
  }
  return break_;
}

ExprId JsonText::AfterComma() {
  if (space_ == JsonSpace::kCompact) return grammar_.Empty();
  return grammar_.Choice({grammar_.Literal(" "), Break()});
}

ExprId JsonText::AfterColon() {
  if (space_ == JsonSpace::kCompact) return grammar_.Empty();
  return grammar_.Optional(grammar_.Literal(" "));
}

ExprId JsonText::AnyChar() {
  if (any_char_ >= 0) return any_char_;
  Grammar& g = grammar_;
  const ExprId hex = g.Chars({{'0', '9'}, {'A', 'F'}, {'a', 'f'}});
  const auto d = [&] { return g.Chars({{'D', 'D'}, {'d', 'd'}}); };
  // \u and four digits: no half of a surrogate pair alone, and not 0000.
  const ExprId not_zero = g.Choice({
      g.Sequence({g.Chars({{'1', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}}), g.Repeat(hex, 3, 3)}),
      g.Sequence({d(), g.Chars({{'0', '7'}}), g.Repeat(hex, 2, 2)}),
      g.Sequence({g.Literal("0"), g.Chars({{'1', '9'}, {'A', 'F'}, {'a', 'f'}}), g.Repeat(hex, 2, 2)}),
      g.Sequence({g.Literal("00"), g.Chars({{'1', '9'}, {'A', 'F'}, {'a', 'f'}}), hex}),
      g.Sequence({g.Literal("000"), g.Chars({{'1', '9'}, {'A', 'F'}, {'a', 'f'}})}),
      g.Sequence({d(), g.Chars({{'8', '9'}, {'A', 'B'}, {'a', 'b'}}), g.Repeat(hex, 2, 2), g.Literal("\\u"), d(),
                  g.Chars({{'C', 'F'}, {'c', 'f'}}), g.Repeat(hex, 2, 2)}),
  });
  const ExprId short_escape =
      g.Chars({{'"', '"'}, {'/', '/'}, {'\\', '\\'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}});
  const ExprId escape = g.Sequence({g.Literal("\\"), g.Choice({short_escape, g.Sequence({g.Literal("u"), not_zero})})});
  any_char_ = g.Choice({g.Chars(JsonPlainChars()), g.Share("escape", escape)});
  return any_char_;
}

ExprId JsonText::Char(const CharSet& chars) {
  std::vector<ExprId> spellings;
  CharSet plain = chars.Intersect(JsonPlainChars());
  if (!plain.empty()) spellings.push_back(grammar_.Chars(std::move(plain)));
  std::vector<std::string> escapes;
  for (CodePoint c = 1; c <= '\\'; ++c) {
    if (NeedsEscape(c) && chars.Contains(c)) escapes.push_back(EscapeOf(c));
  }
  if (!escapes.empty()) spellings.push_back(grammar_.OneOf(std::move(escapes)));
  return grammar_.Choice(std::move(spellings));
}

ExprId JsonText::String(std::uint32_t min_chars, std::uint32_t max_chars) {
  const ExprId quote = grammar_.Literal("\"");
  return grammar_.Sequence({quote, grammar_.Repeat(AnyChar(), min_chars, max_chars), quote});
}

ExprId JsonText::String(const CharDfa& dfa) {
  const ExprId quote = grammar_.Literal("\"");
  return grammar_.Sequence({quote, grammar_.Machine(JsonAutomaton(dfa)), quote});
}

ExprId JsonText::StringOf(ExprId text) {
  const ExprId quote = grammar_.Literal("\"");
  return grammar_.Sequence({quote, Spelled(text), quote});
}

ExprId JsonText::String(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return grammar_.Never();
  return grammar_.Literal("\"" + JsonEscape(text) + "\"");
}

ExprId JsonText::Spelled(ExprId text) {
  const Expr expr = grammar_.exprs()[static_cast<std::size_t>(text)];  // a copy: the grammar grows
  const auto all = [&] {
    std::vector<ExprId> parts;
    for (const ExprId part : expr.parts) parts.push_back(Spelled(part));
    return parts;
  };
  switch (expr.kind) {
    case Expr::Kind::kChars: return Char(expr.chars);
    case Expr::Kind::kLiteral: return grammar_.Literal(JsonEscape(expr.text));
    case Expr::Kind::kSequence: return grammar_.Sequence(all());
    case Expr::Kind::kChoice: return grammar_.Choice(all());
    case Expr::Kind::kRepeat: return grammar_.Repeat(Spelled(expr.parts.front()), expr.min, expr.max);
    default: return grammar_.Never();
  }
}

ExprId JsonText::Integer() {
  if (integer_ < 0) {
    Grammar& g = grammar_;
    const ExprId digits = g.Repeat(g.Chars({{'0', '9'}}), 0, 15);
    integer_ = g.Share(
        "integer", g.Choice({g.Literal("0"), g.Sequence({g.Optional(g.Literal("-")), g.Chars({{'1', '9'}}), digits})}));
  }
  return integer_;
}

ExprId JsonText::Number() {
  if (number_ < 0) {
    Grammar& g = grammar_;
    const ExprId digit = g.Chars({{'0', '9'}});
    const ExprId whole = g.Choice({g.Literal("0"), g.Sequence({g.Chars({{'1', '9'}}), g.Repeat(digit, 0, 15)})});
    const ExprId fraction = g.Sequence({g.Literal("."), g.Repeat(digit, 1, 16)});
    const ExprId exponent = g.Sequence(
        {g.Chars({{'E', 'E'}, {'e', 'e'}}), g.Optional(g.Chars({{'+', '+'}, {'-', '-'}})), g.Repeat(digit, 1, 2)});
    number_ =
        g.Share("number", g.Sequence({g.Optional(g.Literal("-")), whole, g.Optional(fraction), g.Optional(exponent)}));
  }
  return number_;
}

ExprId JsonText::Object() {
  if (object_ >= 0) return object_;
  Grammar& g = grammar_;
  const RuleId rule = g.NewRule("object");
  object_ = g.Rule(rule);
  const ExprId member = g.Sequence({String(0, kUnbounded), g.Literal(":"), AfterColon(), Value()});
  const ExprId more = g.Repeat(g.Sequence({g.Literal(","), AfterComma(), member}), 0, kUnbounded);
  g.Define(rule,
           g.Sequence({g.Literal("{"), Break(), g.Optional(g.Sequence({member, more, Break()})), g.Literal("}")}));
  return object_;
}

ExprId JsonText::Array() {
  Grammar& g = grammar_;
  const ExprId more = g.Repeat(g.Sequence({g.Literal(","), AfterComma(), Value()}), 0, kUnbounded);
  return g.Share(
      "array", g.Sequence({g.Literal("["), Break(), g.Optional(g.Sequence({Value(), more, Break()})), g.Literal("]")}));
}

ExprId JsonText::Value() {
  if (value_ >= 0) return value_;
  Grammar& g = grammar_;
  const RuleId rule = g.NewRule("value");
  value_ = g.Rule(rule);
  const ExprId string = g.Share("string", String(0, kUnbounded));
  g.Define(rule, g.Choice({string, Number(), Object(), Array(), g.OneOf({"true", "false", "null"})}));
  return value_;
}

Automaton JsonAutomaton(const CharDfa& dfa) {
  Automaton out;
  const auto& states = dfa.states();
  out.states.resize(states.size());
  const auto add_state = [&out] {
    out.states.emplace_back();
    return static_cast<std::int32_t>(out.states.size()) - 1;
  };
  const auto link = [&out](std::int32_t from, char letter, std::int32_t to) {
    out.states[static_cast<std::size_t>(from)].edges.emplace_back(CharSet::One(static_cast<unsigned char>(letter)), to);
  };
  for (std::size_t i = 0; i < states.size(); ++i) {
    out.states[i].accepts = states[i].accepts;
    std::int32_t backslash = -1;  // the state behind it
    for (const auto& [chars, target] : states[i].edges) {
      bool spelled = false;
      if (CharSet plain = chars.Intersect(JsonPlainChars()); !plain.empty()) {
        spelled = true;
        out.states[i].edges.emplace_back(std::move(plain), target);
      }
      std::vector<std::string> long_escapes;
      for (CodePoint c = 1; c <= '\\'; ++c) {
        if (!NeedsEscape(c) || !chars.Contains(c)) continue;
        const std::string escape = EscapeOf(c);
        if (escape.size() > 2) {
          long_escapes.push_back(escape);
          continue;
        }
        spelled = true;
        if (backslash < 0) {
          backslash = add_state();
          link(static_cast<std::int32_t>(i), '\\', backslash);
        }
        link(backslash, escape[1], target);
      }
      if (spelled) continue;
      for (const std::string& escape : long_escapes) {
        auto at = static_cast<std::int32_t>(i);
        for (std::size_t k = 0; k < escape.size(); ++k) {
          const std::int32_t next = k + 1 == escape.size() ? target : add_state();
          link(at, escape[k], next);
          at = next;
        }
      }
    }
  }
  return out;
}

}  // namespace quorum::grammar
