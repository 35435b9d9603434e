#include "tokenizer/jinja/number.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

std::string_view Trimmed(std::string_view text) {
  text.remove_prefix(LeadingSpace(text));
  text.remove_suffix(TrailingSpace(text));
  return text;
}

// `text` with the decimal digits of all scripts as ASCII ones.
std::string WithAsciiDigits(std::string_view text) {
  std::string out;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    const char32_t c = DecodeAt(text, &pos);
    if (c >= 0x80 && IsDecimal(c)) {
      out.push_back(static_cast<char>('0' + DecimalValue(c)));
    } else {
      out.append(text.substr(begin, pos - begin));
    }
  }
  return out;
}

int DigitValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  if (c >= 'A' && c <= 'Z') return c - 'A' + 10;
  return 99;
}

// Takes "0x", "0o" or "0b" off if it fits `*base`; base 0 becomes what the prefix says, or 10. False if base 0 meets a
// number like 010, which Python refuses.
bool TakePrefix(std::string_view* digits, int* base) {
  int prefix_base = 0;
  if (digits->size() >= 2 && (*digits)[0] == '0') {
    const char c = static_cast<char>((*digits)[1] | 0x20);
    prefix_base = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
  }
  if (prefix_base != 0 && (*base == 0 || *base == prefix_base)) {
    *base = prefix_base;
    digits->remove_prefix(2);
    if (!digits->empty() && digits->front() == '_') digits->remove_prefix(1);
    return true;
  }
  if (*base == 0) {
    *base = 10;
    const bool zero = std::all_of(digits->begin(), digits->end(), [](char c) { return c == '0' || c == '_'; });
    return zero || digits->front() != '0';
  }
  return true;
}

// "1_000" to "1000"; false if an underscore is not between digits.
bool RemoveUnderscores(std::string_view text, std::string* out) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out->push_back(text[i]);
      continue;
    }
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (i == 0 || i + 1 == text.size() || !is_digit(text[i - 1]) || !is_digit(text[i + 1])) return false;
  }
  return true;
}

bool EqualsIgnoringCase(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() && std::equal(text.begin(), text.end(), lower.begin(), [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b;
         });
}

template <typename... Args>
std::string Chars(Args... args) {
  std::string buffer(512 + kMaxPrecision, '\0');
  const std::to_chars_result result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), args...);
  buffer.resize(static_cast<std::size_t>(result.ptr - buffer.data()));
  return buffer;
}

}  // namespace

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific);
  const std::string_view text(buffer.data(), static_cast<std::size_t>(result.ptr - buffer.data()));
  const std::size_t e = text.find('e');
  int exponent = 0;
  const std::size_t exponent_at = text[e + 1] == '+' ? e + 2 : e + 1;
  std::from_chars(text.data() + exponent_at, text.data() + text.size(), exponent);
  if (exponent < -4 || exponent >= 16) return std::string(text);

  std::string sign;
  std::string digits;
  for (const char c : text.substr(0, e)) {
    if (c == '-') sign = "-";
    if (c >= '0' && c <= '9') digits.push_back(c);
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string FormatFloat(double value, char style, int precision) {
  value = std::fabs(value);
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return "inf";
  const std::chars_format format = style == 'e'   ? std::chars_format::scientific
                                   : style == 'f' ? std::chars_format::fixed
                                                  : std::chars_format::general;
  return Chars(value, format, precision);
}

std::optional<std::int64_t> ParseInt(std::string_view text, int base, bool* too_large) {
  *too_large = false;
  const std::string ascii = WithAsciiDigits(Trimmed(text));
  std::string_view digits = ascii;
  bool negative = false;
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) {
    negative = digits[0] == '-';
    digits.remove_prefix(1);
  }
  if (digits.empty() || (base != 0 && (base < 2 || base > 36))) return std::nullopt;
  if (!TakePrefix(&digits, &base) || digits.empty()) return std::nullopt;
  std::uint64_t magnitude = 0;
  bool overflow = false;
  char before = '_';
  for (const char c : digits) {
    if (c == '_') {
      if (before == '_') return std::nullopt;
    } else {
      const int digit = DigitValue(c);
      if (digit >= base) return std::nullopt;
      overflow = overflow || __builtin_mul_overflow(magnitude, static_cast<std::uint64_t>(base), &magnitude) ||
                 __builtin_add_overflow(magnitude, static_cast<std::uint64_t>(digit), &magnitude);
    }
    before = c;
  }
  if (before == '_') return std::nullopt;
  constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();
  if (overflow || magnitude > kMax + (negative ? 1 : 0)) {
    *too_large = true;
    return std::nullopt;
  }
  return static_cast<std::int64_t>(negative ? 0 - magnitude : magnitude);
}

std::optional<double> ParseFloat(std::string_view text) {
  const std::string ascii = WithAsciiDigits(Trimmed(text));
  std::string_view trimmed = ascii;
  bool negative = false;
  if (!trimmed.empty() && (trimmed[0] == '-' || trimmed[0] == '+')) {
    negative = trimmed[0] == '-';
    trimmed.remove_prefix(1);
  }
  double value = 0;
  if (EqualsIgnoringCase(trimmed, "inf") || EqualsIgnoringCase(trimmed, "infinity")) {
    value = std::numeric_limits<double>::infinity();
  } else if (EqualsIgnoringCase(trimmed, "nan")) {
    value = std::numeric_limits<double>::quiet_NaN();
  } else {
    std::string digits;
    if (trimmed.empty() || !RemoveUnderscores(trimmed, &digits)) return std::nullopt;
    // from_chars also reads "inf", "nan" and hexadecimal forms; a number begins with a digit or a point.
    if (!((digits[0] >= '0' && digits[0] <= '9') || digits[0] == '.')) return std::nullopt;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (result.ptr != digits.data() + digits.size()) return std::nullopt;
    if (result.ec == std::errc::result_out_of_range) {
      // Too large is infinity, too small is zero; only the exponent's sign tells which.
      const std::size_t e = digits.find_first_of("eE");
      const bool tiny = e != std::string::npos ? digits[e + 1] == '-' : digits[0] == '0' || digits[0] == '.';
      value = tiny ? 0.0 : std::numeric_limits<double>::infinity();
    } else if (result.ec != std::errc()) {
      return std::nullopt;
    }
  }
  return negative ? -value : value;
}

double RoundFloat(double value, std::int64_t digits) {
  if (!std::isfinite(value) || value == 0 || digits > 330) return value;
  if (digits < -310) return std::copysign(0.0, value);
  const std::string scientific = Chars(std::fabs(value), std::chars_format::scientific);
  int exponent = 0;  // of the first digit
  const std::size_t e = scientific.find('e');
  const std::size_t exponent_at = scientific[e + 1] == '+' ? e + 2 : e + 1;
  std::from_chars(scientific.data() + exponent_at, scientific.data() + scientific.size(), exponent);
  const std::int64_t keep = exponent + digits;  // digits kept after the first
  if (keep < -1) return std::copysign(0.0, value);
  double rounded = 0;
  if (keep == -1) {
    // All digits go: up to one unit of the last place kept if more than half of it (a half goes to even: zero).
    const std::string half = "5e" + std::to_string(-digits - 1);
    double limit = 0;
    std::from_chars(half.data(), half.data() + half.size(), limit);
    if (std::fabs(value) <= limit) return std::copysign(0.0, value);
    const std::string unit = "1e" + std::to_string(-digits);
    std::from_chars(unit.data(), unit.data() + unit.size(), rounded);
  } else {
    const std::string text = Chars(std::fabs(value), std::chars_format::scientific, static_cast<int>(keep));
    std::from_chars(text.data(), text.data() + text.size(), rounded);
  }
  return std::copysign(rounded, value);
}

std::optional<std::int64_t> RoundInt(std::int64_t value, std::int64_t digits) {
  if (digits >= 0) return value;
  if (digits < -18) {  // to units beyond 64 bits: only zero is left, or too much
    if (digits == -19 && Magnitude(value) > 5'000'000'000'000'000'000ULL) return std::nullopt;
    return 0;
  }
  std::int64_t unit = 1;
  for (std::int64_t i = digits; i < 0; ++i) unit *= 10;
  std::int64_t remainder = value % unit;
  if (remainder < 0) remainder += unit;
  std::int64_t rounded = 0;
  if (__builtin_sub_overflow(value, remainder, &rounded)) return std::nullopt;
  const bool odd = (rounded / unit) % 2 != 0;
  if (remainder > unit - remainder || (remainder == unit - remainder && odd)) {
    if (__builtin_add_overflow(rounded, unit, &rounded)) return std::nullopt;
  }
  return rounded;
}

std::string DigitsOf(std::uint64_t value, unsigned base) {
  std::array<char, 65> buffer{};
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, static_cast<int>(base));
  return std::string(buffer.data(), result.ptr);
}

std::uint64_t Magnitude(std::int64_t value) {
  const auto bits = static_cast<std::uint64_t>(value);
  return value < 0 ? 0 - bits : bits;
}

}  // namespace quorum::tok::jinja
