// Filters on numbers.
#include <array>
#include <cmath>
#include <string>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/math.h"
#include "tokenizer/jinja/number.h"
#include "tokenizer/jinja/ops.h"

namespace quorum::tok::jinja {
namespace {

[[noreturn]] void FailOverflow() { Fail("integer out of range: only 64 bits are supported"); }

// int(d) of a finite number.
Value Truncated(double d) {
  const double whole = std::trunc(d);
  if (!(whole >= -0x1p63 && whole < 0x1p63)) FailOverflow();
  return Value::Int(static_cast<std::int64_t>(whole));
}

Value Abs(Runtime& rt, Args& args) {
  const Value& value = args[0];
  if (value.is_undefined() || !value.is_number()) {
    Fail("bad operand type for abs(): '" + std::string(TypeName(value)) + "'");
  }
  if (value.is(Kind::kFloat)) return Value::Float(std::fabs(value.number()));
  return value.integer() < 0 ? Apply(rt, UnaryOp::kNegate, value) : Value::Int(value.integer());
}

Value Int(Runtime& rt, Args& args) {
  const Value& value = args[0];
  Value fallback = args.has(1) ? args[1] : Value::Int(0);
  if (value.is_undefined()) FailUndefined(value);
  if (value.is_integral()) return Value::Int(value.integer());
  if (value.is(Kind::kBigInt)) return value;
  if (value.is(Kind::kFloat)) {
    if (std::isnan(value.number())) return fallback;
    if (std::isinf(value.number())) Fail("cannot convert float infinity to integer");
    return Truncated(value.number());
  }
  if (!value.is_string()) return fallback;
  const std::string& text = TextOf(value);
  rt.budget().Characters(text.size());
  bool too_large = false;
  const std::int64_t base = args.integer_or(2, 10);
  if (const auto number = ParseInt(text, base < 0 || base > 36 ? 1 : static_cast<int>(base), &too_large)) {
    return Value::Int(*number);
  }
  if (too_large) FailOverflow();
  const auto number = ParseFloat(text);  // "42.23" gives 42
  return number && std::isfinite(*number) ? Truncated(*number) : fallback;
}

Value Float(Runtime& rt, Args& args) {
  const Value& value = args[0];
  Value fallback = args.has(1) ? args[1] : Value::Float(0);
  if (value.is_undefined()) FailUndefined(value);
  if (value.is_number()) return Value::Float(value.number());
  if (value.is(Kind::kBigInt)) return Value::Float(static_cast<double>(value.big()));
  if (!value.is_string()) return fallback;
  rt.budget().Characters(TextOf(value).size());
  const auto number = ParseFloat(TextOf(value));
  return number ? Value::Float(*number) : fallback;
}

Value Round(Runtime&, Args& args) {
  const Value& value = args[0];
  const std::int64_t precision = args.integer_or(1, 0);
  const std::string method = args.has(2) && args[2].is_string() ? TextOf(args[2]) : args.has(2) ? "" : "common";
  if (method != "common" && method != "ceil" && method != "floor") Fail("method must be common, ceil or floor");
  if (!value.is_number()) Fail("type " + std::string(TypeName(value)) + " doesn't define __round__ method");
  if (method == "common") {
    if (value.is(Kind::kFloat)) return Value::Float(RoundFloat(value.number(), precision));
    const auto rounded = RoundInt(value.integer(), precision);
    if (!rounded) FailOverflow();
    return Value::Int(*rounded);
  }
  const double unit = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.number() * unit;
  if (!std::isfinite(scaled) || unit == 0) Fail("cannot convert float infinity or nan to integer");
  return Value::Float((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit + 0.0);
}

Value FileSizeFormat(Runtime& rt, Args& args) {
  double bytes = 0;
  if (args[0].is_number()) {
    bytes = args[0].number();
  } else {
    rt.budget().Characters(args.text(0).size());
    const auto parsed = ParseFloat(args.text(0));
    if (!parsed) Fail("could not convert string to float");
    bytes = *parsed;
  }
  const bool binary = args.truth_or(1, false);
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return rt.Text("1 Byte");
  if (std::isnan(bytes)) Fail("cannot format nan");
  if (bytes < base) return rt.Text(std::to_string(Truncated(bytes).integer()) + " Bytes");
  static constexpr std::array<const char*, 8> kDecimal = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
  static constexpr std::array<const char*, 8> kBinary = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
  double unit = base * base;
  std::size_t i = 0;
  for (; i + 1 < kDecimal.size() && bytes >= unit; ++i) unit *= base;
  return rt.Text(FormatFloat(base * bytes / unit, 'f', 1) + " " + (binary ? kBinary : kDecimal)[i]);
}

}  // namespace

const BuiltinTable& NumberFilters() {
  static const BuiltinTable table({
      {"abs", Abs, {"x"}, 1, Builtin::kPositional},
      {"filesizeformat", FileSizeFormat, {"value", "binary"}, 1},
      {"float", Float, {"value", "default"}, 1},
      {"int", Int, {"value", "default", "base"}, 1},
      {"round", Round, {"value", "precision", "method"}, 1},
  });
  return table;
}

}  // namespace quorum::tok::jinja
