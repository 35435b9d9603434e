#include "tokenizer/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/literal.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

// Longest first.
constexpr std::array<std::string_view, 26> kOperators = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                         "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                         ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

// \r\n and \r become \n; one newline at the end goes away.
std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out.push_back(source[i]);
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : owned_(NormalizeNewlines(source)), source_(owned_) {}

  std::vector<Token> Run() {
    while (pos_ < source_.size()) LexText();
    Add(TokenKind::kEnd, {});
    return std::move(tokens_);
  }

 private:
  void Add(TokenKind kind, std::string text) {
    Token token;
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    tokens_.push_back(std::move(token));
  }

  // Moves to `end`, counting lines and noting whether a line starts there.
  void MoveTo(std::size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(pos_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    if (end > pos_) line_starting_ = source_[end - 1] == '\n';
    pos_ = end;
  }

  bool At(std::size_t pos, std::string_view what) const { return source_.substr(pos, what.size()) == what; }
  char CharAt(std::size_t pos) const { return pos < source_.size() ? source_[pos] : '\0'; }
  std::size_t SkipSpace(std::size_t pos) const { return pos + LeadingSpace(source_.substr(pos)); }

  // The sign after "{%", "{{" or "{#" at `pos`, or 0.
  char SignAfter(std::size_t pos) const {
    const char c = CharAt(pos + 2);
    return c == '-' || c == '+' ? c : '\0';
  }

  // Text up to the next tag, and the tag.
  void LexText() {
    std::size_t tag = source_.find('{', pos_);
    while (tag != std::string_view::npos && CharAt(tag + 1) != '%' && CharAt(tag + 1) != '{' &&
           CharAt(tag + 1) != '#') {
      tag = source_.find('{', tag + 1);
    }
    if (tag == std::string_view::npos) {
      Add(TokenKind::kText, std::string(source_.substr(pos_)));
      MoveTo(source_.size());
      return;
    }
    const char kind = source_[tag + 1];
    const char sign = SignAfter(tag);
    AddTextBefore(tag, sign, kind != '{');
    MoveTo(tag);
    if (kind == '#') {
      LexComment(tag + 2 + (sign != 0 ? 1 : 0));
    } else if (kind == '{') {
      Add(TokenKind::kVariableBegin, {});
      MoveTo(tag + 2 + (sign != 0 ? 1 : 0));
      LexTag("}}", TokenKind::kVariableEnd);
    } else if (const std::size_t raw = RawTagEnd(tag + 2 + (sign != 0 ? 1 : 0)); raw != 0) {
      MoveTo(raw);
      LexRaw();
    } else {
      Add(TokenKind::kBlockBegin, {});
      MoveTo(tag + 2 + (sign != 0 ? 1 : 0));
      LexTag("%}", TokenKind::kBlockEnd);
    }
  }

  // The text from here to a tag at `end`, without the white space that the tag takes away.
  void AddTextBefore(std::size_t end, char sign, bool may_strip_line) {
    std::string_view text = source_.substr(pos_, end - pos_);
    if (sign == '-') {
      text.remove_suffix(TrailingSpace(text));
    } else if (sign != '+' && may_strip_line) {
      const std::size_t newline = text.rfind('\n');
      const std::size_t start = newline == std::string_view::npos ? 0 : newline + 1;
      const std::string_view last_line = text.substr(start);
      if ((start > 0 || line_starting_) && LeadingSpace(last_line) == last_line.size()) text = text.substr(0, start);
    }
    if (!text.empty()) Add(TokenKind::kText, std::string(text));
  }

  // Where a comment or block tag ends, `end` being where its closing mark ("#}" or "%}") begins. "-" before the mark
  // takes all white space after the tag, "+" leaves it; else one newline goes.
  std::size_t AfterMark(std::size_t mark, char sign) const {
    const std::size_t after = mark + 2;
    if (sign == '-') return SkipSpace(after);
    return sign != '+' && CharAt(after) == '\n' ? after + 1 : after;
  }

  void LexComment(std::size_t begin) {
    if (begin >= source_.size()) return MoveTo(begin);  // Jinja lets a template end so
    const std::size_t mark = source_.find("#}", begin);
    if (mark == std::string_view::npos) FailAt(line_, "missing end of comment tag, expected '#}'");
    const char before = mark > begin ? source_[mark - 1] : '\0';
    MoveTo(AfterMark(mark, before));
  }

  // If the block tag whose inside begins at `pos` is a raw tag: where the raw text begins; else 0.
  std::size_t RawTagEnd(std::size_t pos) const {
    pos = SkipSpace(pos);
    if (!At(pos, "raw")) return 0;
    pos = SkipSpace(pos + 3);
    if (At(pos, "-%}")) return SkipSpace(pos + 3);
    return At(pos, "%}") ? pos + 2 : 0;
  }

  // Text up to {% endraw %}.
  void LexRaw() {
    for (std::size_t tag = source_.find("{%", pos_); tag != std::string_view::npos; tag = source_.find("{%", tag + 1)) {
      const char sign = SignAfter(tag);
      std::size_t pos = SkipSpace(tag + 2 + (sign != 0 ? 1 : 0));
      if (!At(pos, "endraw")) continue;
      pos = SkipSpace(pos + 6);
      const char closing = CharAt(pos);
      if (closing == '-' || closing == '+') ++pos;
      if (!At(pos, "%}")) continue;
      AddTextBefore(tag, sign, true);
      MoveTo(AfterMark(pos, closing));
      return;
    }
    if (pos_ >= source_.size()) return;  // Jinja lets a template end so
    FailAt(line_, "missing end of raw directive, expected '{% endraw %}'");
  }

  // The tokens of a tag, up to and with its closing mark.
  void LexTag(std::string_view mark, TokenKind end_kind) {
    std::vector<char> open;  // brackets
    while (true) {
      if (pos_ >= source_.size()) return;  // the parser says what is missing
      if (open.empty() && LexTagEnd(mark, end_kind)) return;
      if (const std::size_t space = LeadingSpace(source_.substr(pos_)); space > 0) {
        MoveTo(pos_ + space);
        continue;
      }
      if (!LexNumber() && !LexName() && !LexString()) LexOperator(open);
    }
  }

  bool LexTagEnd(std::string_view mark, TokenKind end_kind) {
    const bool is_block = end_kind == TokenKind::kBlockEnd;
    const char sign = CharAt(pos_);
    const bool has_sign = sign == '-' || (sign == '+' && is_block);
    const std::size_t at = pos_ + (has_sign ? 1 : 0);
    if (!At(at, mark)) return false;
    Add(end_kind, {});
    MoveTo(is_block ? AfterMark(at, has_sign ? sign : '\0') : has_sign ? SkipSpace(at + 2) : at + 2);
    return true;
  }

  bool LexNumber() {
    const bool after_dot = pos_ > 0 && source_[pos_ - 1] == '.';
    Token token;
    token.line = line_;
    if (const std::size_t size = after_dot ? 0 : FloatLength(source_.substr(pos_)); size > 0) {
      token.kind = TokenKind::kFloat;
      token.number = FloatValue(source_.substr(pos_, size));
      MoveTo(pos_ + size);
    } else if (const std::size_t digits = IntegerLength(source_.substr(pos_)); digits > 0) {
      token.kind = TokenKind::kInteger;
      token.integer = IntegerValue(source_.substr(pos_, digits), line_);
      MoveTo(pos_ + digits);
    } else {
      return false;
    }
    tokens_.push_back(std::move(token));
    return true;
  }

  bool LexName() {
    std::size_t end = pos_;
    while (end < source_.size()) {
      std::size_t next = end;
      const char32_t c = DecodeAt(source_, &next);
      if (!IsWord(c) && !IsIdentifierPart(c)) break;
      end = next;
    }
    if (end == pos_) return false;
    std::size_t first_end = pos_;
    if (!IsIdentifierStart(DecodeAt(source_, &first_end))) FailAt(line_, "invalid character in identifier");
    Add(TokenKind::kName, std::string(source_.substr(pos_, end - pos_)));
    MoveTo(end);
    return true;
  }

  bool LexString() {
    const char quote = source_[pos_];
    if (quote != '"' && quote != '\'') return false;
    std::size_t end = pos_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2U : 1U;
    if (end >= source_.size()) FailAt(line_, "missing end of string, expected " + std::string(1, quote));
    Add(TokenKind::kString, Unescape(source_.substr(pos_ + 1, end - pos_ - 1), line_));
    MoveTo(end + 1);
    return true;
  }

  void LexOperator(std::vector<char>& open) {
    const auto* op = std::find_if(kOperators.begin(), kOperators.end(),
                                  [this](std::string_view candidate) { return At(pos_, candidate); });
    if (op == kOperators.end()) {
      std::size_t end = pos_;
      DecodeAt(source_, &end);
      FailAt(line_, "unexpected character '" + std::string(source_.substr(pos_, end - pos_)) + "'");
    }
    const char c = op->front();
    if (c == '(' || c == '[' || c == '{') {
      open.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    } else if (c == ')' || c == ']' || c == '}') {
      if (open.empty()) FailAt(line_, std::string("unexpected '") + c + "'");
      if (open.back() != c) FailAt(line_, std::string("unexpected '") + c + "', expected '" + open.back() + "'");
      open.pop_back();
    }
    Add(TokenKind::kOperator, std::string(*op));
    MoveTo(pos_ + op->size());
  }

  const std::string owned_;
  const std::string_view source_;
  std::size_t pos_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::string Token::Describe() const {
  switch (kind) {
    case TokenKind::kText: return "template text";
    case TokenKind::kBlockBegin: return "'{%'";
    case TokenKind::kBlockEnd: return "'%}'";
    case TokenKind::kVariableBegin: return "'{{'";
    case TokenKind::kVariableEnd: return "'}}'";
    case TokenKind::kName:
    case TokenKind::kOperator: return "'" + text + "'";
    case TokenKind::kString: return "a string";
    case TokenKind::kInteger:
    case TokenKind::kFloat: return "a number";
    case TokenKind::kEnd: return "the end of the template";
  }
  return "a token";
}

std::vector<Token> Tokenize(std::string_view source) { return Lexer(source).Run(); }

}  // namespace quorum::tok::jinja
