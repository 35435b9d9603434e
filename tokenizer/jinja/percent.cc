#include "tokenizer/jinja/percent.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/number.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/spec.h"
#include "tokenizer/jinja/text.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

// One "%..." of a format.
struct Conversion {
  bool left = false;
  bool plus = false;
  bool blank = false;
  bool alternate = false;
  bool zero = false;
  std::int64_t width = 0;
  std::int64_t precision = -1;
  char type = 0;
};

class PercentFormatter {
 public:
  PercentFormatter(Runtime& rt, const Value& format, const Value& args)
      : rt_(rt), text_(TextOf(format)), escape_(IsMarkup(format)), args_(args), out_(rt.budget()) {}

  std::string Run() {
    while (pos_ < text_.size()) {
      const std::size_t percent = std::min(text_.find('%', pos_), text_.size());
      out_.Append(text_.substr(pos_, percent - pos_));
      pos_ = percent;
      if (pos_ < text_.size()) {
        ++pos_;
        AppendConversion();
      }
    }
    const bool mapping =
        args_.is(Kind::kDict) || args_.is(Kind::kList) || args_.is(Kind::kRange) || args_.is_undefined();
    const std::size_t given = args_.is(Kind::kTuple) ? ItemsOf(args_).size() : 1;
    if (!mapping && used_ < given) Fail("not all arguments converted during string formatting");
    return out_.Take();
  }

 private:
  char Peek() const {
    if (pos_ >= text_.size()) Fail("incomplete format");
    return text_[pos_];
  }

  Value NextArg() {
    if (args_.is(Kind::kTuple)) {
      if (used_ >= ItemsOf(args_).size()) Fail("not enough arguments for format string");
      return ItemsOf(args_)[used_++];
    }
    if (used_ != 0) Fail("not enough arguments for format string");
    ++used_;
    return args_;
  }

  // "(key)"
  Value NamedArg() {
    std::size_t depth = 1;
    const std::size_t begin = ++pos_;
    for (; depth > 0; ++pos_) {
      const char c = Peek();
      depth += c == '(' ? 1 : 0;
      depth -= c == ')' ? 1 : 0;
    }
    const std::string_view key = text_.substr(begin, pos_ - 1 - begin);
    if (args_.is_undefined()) FailUndefined(args_);
    if (!args_.is(Kind::kDict)) Fail("format requires a mapping");
    const Value* found = args_.as<DictObject>().map.Find(rt_.budget(), key);
    if (found == nullptr) Fail("key '" + std::string(key) + "' not found");
    return *found;
  }

  // A width or a precision: a number, '*' for the next argument, or nothing.
  std::optional<std::int64_t> NumberOrStar() {
    if (Peek() != '*') {
      const std::int64_t number = ReadNumber(text_, &pos_);
      return number < 0 ? std::nullopt : std::optional(number);
    }
    ++pos_;
    const Value arg = NextArg();
    if (!arg.is_integral() || arg.integer() > INT32_MAX || arg.integer() < -INT32_MAX) Fail("* wants int");
    return arg.integer();
  }

  void AppendConversion() {
    if (Peek() == '%') {
      ++pos_;
      return out_.Append('%');
    }
    rt_.budget().Step();
    Conversion conversion;
    Value arg;
    if (Peek() == '(') arg = NamedArg();
    for (bool more = true; more;) {
      switch (Peek()) {
        case '-': conversion.left = true; break;
        case '+': conversion.plus = true; break;
        case ' ': conversion.blank = true; break;
        case '#': conversion.alternate = true; break;
        case '0': conversion.zero = true; break;
        default: more = false; continue;
      }
      ++pos_;
    }
    conversion.width = NumberOrStar().value_or(0);
    if (conversion.width < 0) {
      conversion.left = true;
      conversion.width = -conversion.width;
    }
    if (Peek() == '.') {
      ++pos_;
      conversion.precision = std::max<std::int64_t>(NumberOrStar().value_or(0), 0);
    }
    if (Peek() == 'h' || Peek() == 'l' || Peek() == 'L') ++pos_;
    conversion.type = Peek();
    ++pos_;
    if (arg.is_missing()) arg = NextArg();
    AppendValue(conversion, arg);
  }

  void AppendValue(const Conversion& conversion, const Value& arg) {
    switch (conversion.type) {
      case 's': return AppendText(conversion, Str(rt_.budget(), arg), !IsMarkup(arg));
      case 'r': return AppendText(conversion, Repr(rt_.budget(), arg), true);
      case 'a': return AppendText(conversion, Ascii(arg), true);
      case 'c': return AppendText(conversion, Character(arg), false);
      case 'd':
      case 'i':
      case 'u':
      case 'o':
      case 'x':
      case 'X': return AppendInt(conversion, arg);
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G': return AppendFloat(conversion, arg);
      default: Fail("unsupported format character '" + std::string(1, conversion.type) + "'");
    }
  }

  std::string Ascii(const Value& arg) {
    const std::string repr = Repr(rt_.budget(), arg);
    TextBuilder out(rt_.budget());
    for (std::size_t pos = 0; pos < repr.size();) {
      const std::size_t begin = pos;
      if (DecodeAt(repr, &pos) < 0x80) {
        out.Append(repr[begin]);
        continue;
      }
      TextBuilder quoted(rt_.budget());
      AppendQuoted(quoted, std::string_view(repr).substr(begin, pos - begin), true);
      out.Append(std::string_view(quoted.text()).substr(1, quoted.size() - 2));
    }
    return out.Take();
  }

  static std::string Character(const Value& arg) {
    if (arg.is_string() && arg.as<StringObject>().length() == 1) return TextOf(arg);
    if (!arg.is_integral()) Fail("%c requires int or char");
    const std::int64_t c = arg.integer();
    if (c < 0 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) Fail("%c arg not in range(0x110000)");
    std::string text;
    AppendUtf8(&text, static_cast<char32_t>(c));
    return text;
  }

  void AppendText(const Conversion& conversion, const std::string& value, bool may_escape) {
    const std::string text = escape_ && may_escape ? EscapeHtml(rt_.budget(), value) : value;
    std::string_view shown = text;
    if (conversion.precision >= 0) {
      shown = shown.substr(0, ByteOffset(shown, static_cast<std::size_t>(conversion.precision)));
    }
    Padding padding;
    padding.align = conversion.left ? '<' : '>';
    padding.width = static_cast<std::size_t>(conversion.width);
    AppendPadded(out_, padding, "", shown);
  }

  void AppendNumber(const Conversion& conversion, const std::string& prefix, bool negative, const std::string& digits) {
    const std::string sign = negative ? "-" : conversion.plus ? "+" : conversion.blank ? " " : "";
    Padding padding;
    padding.align = conversion.left ? '<' : conversion.zero ? '=' : '>';
    if (conversion.zero && !conversion.left) padding.fill = "0";
    padding.width = static_cast<std::size_t>(conversion.width);
    AppendPadded(out_, padding, sign + prefix, digits);
  }

  void AppendInt(const Conversion& conversion, const Value& arg) {
    const bool decimal = conversion.type == 'd' || conversion.type == 'i' || conversion.type == 'u';
    Value number = arg;
    if (arg.is(Kind::kFloat) && decimal) {
      const double truncated = std::trunc(arg.number());
      if (!(truncated >= -0x1p63 && truncated < 0x1p63)) Fail("cannot convert float to a 64-bit integer");
      number = Value::Int(static_cast<std::int64_t>(truncated));
    }
    if (arg.is_undefined()) FailUndefined(arg);
    if (!number.is_integral() && !number.is(Kind::kBigInt)) {
      Fail("%" + std::string(1, conversion.type) + " format: a number is required, not " + std::string(TypeName(arg)));
    }
    const bool negative = !number.is(Kind::kBigInt) && number.integer() < 0;
    const std::uint64_t magnitude = number.is(Kind::kBigInt) ? number.big() : Magnitude(number.integer());
    std::string digits = DigitsOf(magnitude, decimal ? 10 : conversion.type == 'o' ? 8 : 16);
    if (conversion.type == 'X') digits = ToUpper(digits);
    if (conversion.precision > kMaxPrecision) Fail("precision too large");
    if (conversion.precision > static_cast<std::int64_t>(digits.size())) {
      digits.insert(0, static_cast<std::size_t>(conversion.precision) - digits.size(), '0');
    }
    AppendNumber(conversion, conversion.alternate && !decimal ? std::string("0") + conversion.type : "", negative,
                 digits);
  }

  void AppendFloat(const Conversion& conversion, const Value& arg) {
    if (arg.is_undefined()) FailUndefined(arg);
    if (!arg.is_number() && !arg.is(Kind::kBigInt)) Fail("must be real number, not " + std::string(TypeName(arg)));
    const double value = arg.is(Kind::kBigInt) ? static_cast<double>(arg.big()) : arg.number();
    if (conversion.precision > kMaxPrecision) Fail("precision too large");
    const auto lower = static_cast<char>(conversion.type | 0x20);
    std::string digits =
        FormatFloat(value, lower, conversion.precision < 0 ? 6 : static_cast<int>(conversion.precision));
    if (lower != conversion.type) digits = ToUpper(digits);
    AppendNumber(conversion, "", std::signbit(value) && !std::isnan(value), digits);
  }

  Runtime& rt_;
  const std::string_view text_;
  const bool escape_;
  const Value args_;
  TextBuilder out_;
  std::size_t pos_ = 0;
  std::size_t used_ = 0;  // arguments, by position
};

}  // namespace

Value PercentFormat(Runtime& rt, const Value& format, const Value& args) {
  return rt.Text(PercentFormatter(rt, format, args).Run(), IsMarkup(format));
}

}  // namespace quorum::tok::jinja
