#include "tokenizer/jinja/spec.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/number.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/text.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

struct Spec {
  Padding padding;
  bool align_given = false;
  char sign = '-';
  bool alternate = false;
  char grouping = 0;
  std::int64_t precision = -1;
  char type = 0;
};

bool IsAlign(char c) { return c == '<' || c == '>' || c == '=' || c == '^'; }

Spec ParseSpec(std::string_view text) {
  Spec spec;
  std::size_t pos = 0;
  if (!text.empty()) {
    std::size_t after_fill = 0;
    DecodeAt(text, &after_fill);
    if (after_fill < text.size() && IsAlign(text[after_fill])) {
      spec.padding.fill = std::string(text.substr(0, after_fill));
      spec.padding.align = text[after_fill];
      spec.align_given = true;
      pos = after_fill + 1;
    } else if (IsAlign(text[0])) {
      spec.padding.align = text[0];
      spec.align_given = true;
      pos = 1;
    }
  }
  const auto take = [&](char c) {
    if (pos >= text.size() || text[pos] != c) return false;
    ++pos;
    return true;
  };
  for (const char sign : {'+', '-', ' '}) {
    if (take(sign)) {
      spec.sign = sign;
      break;
    }
  }
  spec.alternate = take('#');
  if (take('0') && !spec.align_given) {
    spec.padding.fill = "0";
    spec.padding.align = '=';
  }
  if (const std::int64_t width = ReadNumber(text, &pos); width > 0) {
    spec.padding.width = static_cast<std::size_t>(width);
  }
  if (take(',')) {
    spec.grouping = ',';
  } else if (take('_')) {
    spec.grouping = '_';
  }
  if (take('.')) {
    spec.precision = ReadNumber(text, &pos);
    if (spec.precision < 0) Fail("Format specifier missing precision");
  }
  if (pos < text.size()) spec.type = text[pos++];
  if (pos < text.size()) Fail("Invalid format specifier");
  return spec;
}

std::string SignOf(bool negative, char option) {
  if (negative) return "-";
  return option == '-' ? "" : std::string(1, option);
}

// "1234567" to "1,234,567"; what follows the leading digits (".5", "e+10") stays.
std::string Grouped(std::string_view digits, char separator, std::size_t every) {
  const std::size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  std::string out;
  for (std::size_t i = 0; i < whole; ++i) {
    if (i != 0 && (whole - i) % every == 0) out.push_back(separator);
    out.push_back(digits[i]);
  }
  return out.append(digits.substr(whole));
}

// A number whose digits are to be grouped and zero-filled at once, as in format(1234, "010,"): the zeros are grouped
// too.
std::string ZeroFilled(std::string digits, const Spec& spec, std::size_t prefix, std::size_t every) {
  std::string grouped = Grouped(digits, spec.grouping, every);
  while (grouped.size() + prefix < spec.padding.width) {
    digits.insert(digits.begin(), '0');
    grouped = Grouped(digits, spec.grouping, every);
  }
  if (grouped[0] == spec.grouping) grouped.insert(grouped.begin(), '0');
  return grouped;
}

void AppendNumber(TextBuilder& out, Spec spec, std::string_view prefix, std::string digits, std::size_t group_every) {
  if (spec.grouping != 0) {
    const bool zeros = spec.padding.align == '=' && spec.padding.fill == "0";
    out.budget().CheckSize(spec.padding.width);
    if (zeros && spec.padding.width > 4096) Fail("the field is too wide");
    digits = zeros ? ZeroFilled(std::move(digits), spec, prefix.size(), group_every)
                   : Grouped(digits, spec.grouping, group_every);
  }
  if (!spec.align_given && spec.padding.align == '<') spec.padding.align = '>';
  AppendPadded(out, spec.padding, prefix, digits);
}

void AppendFloat(TextBuilder& out, const Spec& spec, double value) {
  char type = spec.type;
  std::string suffix;
  if (type == '%') {
    value *= 100;
    type = 'f';
    suffix = "%";
  }
  if (spec.precision > kMaxPrecision) Fail("precision too big");
  const auto precision = static_cast<int>(spec.precision);
  std::string digits;
  if (type == 0 && (precision < 0 || !std::isfinite(value))) {
    digits = FloatRepr(std::fabs(value));
  } else if (type == 0) {
    // Like 'g', but with one digit after the point, and an exponent one earlier.
    const int significant = precision == 0 ? 1 : precision;
    const std::string scientific = FormatFloat(value, 'e', significant - 1);
    const int exponent = std::atoi(scientific.c_str() + scientific.find('e') + 1);
    digits = FormatFloat(value, 'g', exponent >= significant - 1 && exponent < significant ? exponent : significant);
    if (digits.find_first_of(".e") == std::string::npos) digits += ".0";
  } else {
    const char lower = type == 'n' ? 'g' : static_cast<char>(type | 0x20);
    digits = FormatFloat(value, lower, precision < 0 ? 6 : precision);
    if (type == 'E' || type == 'F' || type == 'G') digits = ToUpper(digits);
  }
  AppendNumber(out, spec, SignOf(std::signbit(value) && !std::isnan(value), spec.sign), digits + suffix, 3);
}

void AppendInt(TextBuilder& out, const Spec& spec, const Value& value) {
  if (spec.precision >= 0) Fail("Precision not allowed in integer format specifier");
  if (spec.type == 'c') {
    const std::int64_t c = value.integer();
    if (c < 0 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) Fail("%c arg not in range(0x110000)");
    std::string text;
    AppendUtf8(&text, static_cast<char32_t>(c));
    AppendNumber(out, spec, "", text, 3);
    return;
  }
  const unsigned base = spec.type == 'b' ? 2 : spec.type == 'o' ? 8 : spec.type == 'x' || spec.type == 'X' ? 16 : 10;
  const bool negative = !value.is(Kind::kBigInt) && value.integer() < 0;
  const std::uint64_t magnitude = value.is(Kind::kBigInt) ? value.big() : Magnitude(value.integer());
  std::string digits = DigitsOf(magnitude, base);
  if (spec.type == 'X') digits = ToUpper(digits);
  std::string prefix = SignOf(negative, spec.sign);
  if (spec.alternate && base != 10) prefix += std::string("0") + spec.type;
  if (spec.grouping == ',' && base != 10) Fail("Cannot specify ',' with this format code");
  AppendNumber(out, spec, prefix, std::move(digits), base == 10 ? 3 : 4);
}

void AppendText(TextBuilder& out, Spec spec, std::string_view text) {
  if (spec.type != 0 && spec.type != 's') Fail("Unknown format code for object of type 'str'");
  if (spec.sign != '-' || spec.alternate || spec.grouping != 0) Fail("not allowed in string format specifier");
  if (spec.padding.align == '=') {
    if (spec.align_given) Fail("'=' alignment not allowed in string format specifier");
    spec.padding.align = '<';
  }
  if (spec.precision >= 0) text = text.substr(0, ByteOffset(text, static_cast<std::size_t>(spec.precision)));
  AppendPadded(out, spec.padding, "", text);
}

}  // namespace

std::int64_t ReadNumber(std::string_view text, std::size_t* pos) {
  std::int64_t number = -1;
  for (; *pos < text.size() && text[*pos] >= '0' && text[*pos] <= '9'; ++*pos) {
    number = (number < 0 ? 0 : number * 10) + (text[*pos] - '0');
    if (number > INT32_MAX) Fail("too many decimal digits in format string");
  }
  return number;
}

void AppendPadded(TextBuilder& out, const Padding& padding, std::string_view prefix, std::string_view body) {
  const std::size_t length = CodepointCount(prefix) + CodepointCount(body);
  const std::size_t missing = padding.width > length ? padding.width - length : 0;
  std::size_t left = 0;
  if (padding.align == '>') left = missing;
  if (padding.align == '^') left = missing / 2;
  if (padding.align == '=') {
    out.Append(prefix);
    out.AppendRepeated(padding.fill, missing);
    out.Append(body);
    return;
  }
  out.AppendRepeated(padding.fill, left);
  out.Append(prefix);
  out.Append(body);
  out.AppendRepeated(padding.fill, missing - left);
}

void AppendFormatted(TextBuilder& out, const Value& value, std::string_view text) {
  if (text.empty()) {
    AppendStr(out, value);
    return;
  }
  if (value.is_string()) {
    AppendText(out, ParseSpec(text), TextOf(value));
    return;
  }
  if (!value.is_number() && !value.is(Kind::kBigInt)) {
    Fail("unsupported format string passed to " + std::string(TypeName(value)) + ".__format__");
  }
  const Spec spec = ParseSpec(text);
  constexpr std::string_view kFloatTypes = "eEfFgG%";
  constexpr std::string_view kIntTypes = "bcdnoxX";
  const bool float_type = spec.type != 0 && kFloatTypes.find(spec.type) != std::string_view::npos;
  const bool int_type = spec.type == 0 || kIntTypes.find(spec.type) != std::string_view::npos;
  if (value.is(Kind::kFloat) ? float_type || spec.type == 0 || spec.type == 'n' : float_type) {
    AppendFloat(out, spec, value.is(Kind::kBigInt) ? static_cast<double>(value.big()) : value.number());
  } else if (!value.is(Kind::kFloat) && int_type) {
    AppendInt(out, spec, value);
  } else {
    Fail(std::string("Unknown format code '") + spec.type + "' for object of type '" + std::string(TypeName(value)) +
         "'");
  }
}

}  // namespace quorum::tok::jinja
