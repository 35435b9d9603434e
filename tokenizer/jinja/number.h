// Numbers as text, and rounding, exactly as Python does them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quorum::tok::jinja {

/// repr() of a float: the shortest text that reads back as the same number, with an exponent below 1e-4 and from 1e16.
std::string FloatRepr(double value);

/// `value` in C's %e, %f or %g style (`style` is 'e', 'f' or 'g') with `precision` digits; no sign, "inf", "nan".
/// `precision` must be in [0, kMaxPrecision].
std::string FormatFloat(double value, char style, int precision);
inline constexpr int kMaxPrecision = 4096;

/// Python's int(text, base): white space around, a sign, underscores between digits, a prefix that fits the base (base
/// 0 takes it from the prefix). Not set if `text` is not a number; `*too_large` is set if it is one but not of 64 bits.
std::optional<std::int64_t> ParseInt(std::string_view text, int base, bool* too_large);

/// Python's float(text).
std::optional<double> ParseFloat(std::string_view text);

/// round(value, digits), half to even on the exact binary value.
double RoundFloat(double value, std::int64_t digits);

/// round(value, digits) of an int for negative `digits`; not set if the result is out of range.
std::optional<std::int64_t> RoundInt(std::int64_t value, std::int64_t digits);

/// The digits of `value` in `base` 2, 8, 10 or 16, lower case, without sign and prefix.
std::string DigitsOf(std::uint64_t value, unsigned base);

/// |value| without overflow.
std::uint64_t Magnitude(std::int64_t value);

}  // namespace quorum::tok::jinja
