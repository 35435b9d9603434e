#include "tokenizer/jinja/literal.h"

#include <utility>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/number.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

bool IsDecimalDigit(char c) { return c >= '0' && c <= '9'; }

int HexValue(char c) {
  if (IsDecimalDigit(c)) return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// (\d+_)*\d+ at `pos`: its length.
std::size_t DigitsLength(std::string_view text, std::size_t pos) {
  std::size_t end = pos;
  while (end < text.size() && (IsDecimalDigit(text[end]) || (text[end] == '_' && end > pos && text[end - 1] != '_'))) {
    ++end;
  }
  if (end > pos && text[end - 1] == '_') --end;
  return end - pos;
}

// (_?digit)+ at `pos`, of digits in `base`: its length.
std::size_t BasedLength(std::string_view text, std::size_t pos, int base) {
  std::size_t end = pos;
  while (end < text.size()) {
    const std::size_t digit = text[end] == '_' ? end + 1 : end;
    if (digit >= text.size()) break;
    const int value = HexValue(text[digit]);
    if (value < 0 || value >= base) break;
    end = digit + 1;
  }
  return end - pos;
}

class Unescaper {
 public:
  Unescaper(std::string_view text, int line) : text_(text), line_(line) {}

  std::string Run() {
    while (pos_ < text_.size()) {
      if (text_[pos_] != '\\') {
        out_.push_back(text_[pos_++]);
      } else {
        ++pos_;
        Escape();
      }
    }
    return std::move(out_);
  }

 private:
  void Escape() {
    const std::size_t begin = pos_;
    const char32_t c = DecodeAt(text_, &pos_);
    switch (c) {
      case '\n': return;
      case '\\':
      case '\'':
      case '"': out_.push_back(static_cast<char>(c)); return;
      case 'a': out_.push_back('\a'); return;
      case 'b': out_.push_back('\b'); return;
      case 'f': out_.push_back('\f'); return;
      case 'n': out_.push_back('\n'); return;
      case 'r': out_.push_back('\r'); return;
      case 't': out_.push_back('\t'); return;
      case 'v': out_.push_back('\v'); return;
      case 'x': Hex(2); return;
      case 'u': Hex(4); return;
      case 'U': Hex(8); return;
      case 'N': FailAt(line_, "character names (\\N) in strings are not supported");
      default: break;
    }
    if (c >= '0' && c <= '7') {
      Octal(begin);
    } else if (c >= 0x80) {
      Foreign(c);
    } else {
      out_.push_back('\\');
      out_.push_back(static_cast<char>(c));
    }
  }

  void Hex(int digits) {
    char32_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const int digit = pos_ < text_.size() ? HexValue(text_[pos_]) : -1;
      if (digit < 0) FailAt(line_, "truncated \\x, \\u or \\U escape in a string, expected a hexadecimal digit");
      value = value * 16 + static_cast<char32_t>(digit);
      ++pos_;
    }
    Append(value);
  }

  void Octal(std::size_t begin) {
    char32_t value = 0;
    for (pos_ = begin; pos_ < begin + 3 && pos_ < text_.size() && text_[pos_] >= '0' && text_[pos_] <= '7'; ++pos_) {
      value = value * 8 + static_cast<char32_t>(text_[pos_] - '0');
    }
    Append(value);
  }

  // Jinja turns characters beyond ASCII into escapes before it resolves escapes; after a backslash theirs is taken
  // literally.
  void Foreign(char32_t c) { AppendEscape(&out_, c); }

  void Append(char32_t c) {
    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) {
      FailAt(line_, "an escape in a string names no Unicode character (surrogates are not characters)");
    }
    AppendUtf8(&out_, c);
  }

  const std::string_view text_;
  const int line_;
  std::size_t pos_ = 0;
  std::string out_;
};

}  // namespace

std::size_t FloatLength(std::string_view text) {
  std::size_t end = DigitsLength(text, 0);
  if (end == 0) return 0;
  bool is_float = false;
  if (end < text.size() && text[end] == '.') {
    if (const std::size_t fraction = DigitsLength(text, end + 1); fraction > 0) {
      end += 1 + fraction;
      is_float = true;
    }
  }
  if (end < text.size() && (text[end] | 0x20) == 'e') {
    std::size_t exponent = end + 1;
    if (exponent < text.size() && (text[exponent] == '+' || text[exponent] == '-')) ++exponent;
    if (const std::size_t digits = DigitsLength(text, exponent); digits > 0) {
      end = exponent + digits;
      is_float = true;
    }
  }
  return is_float ? end : 0;
}

std::size_t IntegerLength(std::string_view text) {
  if (text.empty() || !IsDecimalDigit(text[0])) return 0;
  if (text[0] != '0') return DigitsLength(text, 0);
  if (text.size() > 1) {
    const char c = static_cast<char>(text[1] | 0x20);
    const int base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
    if (base != 0) {
      if (const std::size_t digits = BasedLength(text, 2, base); digits > 0) return 2 + digits;
    }
  }
  return 1 + BasedLength(text, 1, 1);
}

double FloatValue(std::string_view literal) { return ParseFloat(literal).value_or(0); }

std::int64_t IntegerValue(std::string_view literal, int line) {
  bool too_large = false;
  const auto value = ParseInt(literal, 0, &too_large);
  if (!value) FailAt(line, "integer out of range: only 64 bits are supported");
  return *value;
}

std::string Unescape(std::string_view literal, int line) { return Unescaper(literal, line).Run(); }

}  // namespace quorum::tok::jinja
