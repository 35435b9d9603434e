#include "tokenizer/jinja/math.h"

#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/percent.h"
#include "tokenizer/jinja/text.h"

namespace quorum::tok::jinja {
namespace {

std::string_view Sign(BinaryOp op) {
  switch (op) {
    case BinaryOp::kAdd: return "+";
    case BinaryOp::kSub: return "-";
    case BinaryOp::kMul: return "*";
    case BinaryOp::kDiv: return "/";
    case BinaryOp::kFloorDiv: return "//";
    case BinaryOp::kMod: return "%";
    case BinaryOp::kPow: return "**";
  }
  return "?";
}

[[noreturn]] void FailTypes(BinaryOp op, const Value& a, const Value& b) {
  if (a.is_undefined()) FailUndefined(a);
  if (b.is_undefined()) FailUndefined(b);
  if (op == BinaryOp::kAdd && a.is_string()) {
    Fail("can only concatenate str (not \"" + std::string(TypeName(b)) + "\") to str");
  }
  Fail("unsupported operand type(s) for " + std::string(Sign(op)) + ": '" + std::string(TypeName(a)) + "' and '" +
       std::string(TypeName(b)) + "'");
}

[[noreturn]] void FailOverflow() { Fail("integer out of range: only 64 bits are supported"); }
[[noreturn]] void FailZero() { Fail("division by zero"); }

std::int64_t FloorDiv(std::int64_t a, std::int64_t b) {
  if (b == 0) FailZero();
  if (b == -1) {
    std::int64_t result = 0;
    if (__builtin_sub_overflow(std::int64_t{0}, a, &result)) FailOverflow();
    return result;
  }
  const std::int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

std::int64_t Modulo(std::int64_t a, std::int64_t b) {
  if (b == 0) FailZero();
  if (b == -1) return 0;
  const std::int64_t remainder = a % b;
  return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

Value IntPower(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) FailZero();
    return Value::Float(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  std::int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) FailOverflow();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) FailOverflow();
  }
  return Value::Int(result);
}

double FloatModulo(double a, double b) {
  if (b == 0) FailZero();
  double remainder = std::fmod(a, b);
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) remainder += b;
  } else {
    remainder = std::copysign(0.0, b);
  }
  return remainder;
}

// As CPython computes it: from the remainder, so that a == b * (a // b) + a % b holds as well as it can.
double FloatFloorDiv(double a, double b) {
  if (b == 0) FailZero();
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0 && (b < 0) != (remainder < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double floor = std::floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}

double FloatPower(double a, double b) {
  if (a == 0 && b < 0) FailZero();
  if (a < 0 && std::isfinite(a) && std::isfinite(b) && std::nearbyint(b) != b)
    Fail("complex numbers are not supported");
  const double result = std::pow(a, b);
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) Fail("numerical result out of range");
  return result;
}

double TrueDivide(const Value& a, const Value& b) {
  if (b.number() == 0) FailZero();
  if (!a.is_integral() || !b.is_integral()) return a.number() / b.number();
  return static_cast<double>(static_cast<long double>(a.integer()) / static_cast<long double>(b.integer()));
}

Value ApplyInts(BinaryOp op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case BinaryOp::kAdd: overflow = __builtin_add_overflow(a, b, &result); break;
    case BinaryOp::kSub: overflow = __builtin_sub_overflow(a, b, &result); break;
    case BinaryOp::kMul: overflow = __builtin_mul_overflow(a, b, &result); break;
    case BinaryOp::kFloorDiv: result = FloorDiv(a, b); break;
    case BinaryOp::kMod: result = Modulo(a, b); break;
    default: return IntPower(a, b);
  }
  if (overflow) FailOverflow();
  return Value::Int(result);
}

Value ApplyFloats(BinaryOp op, double a, double b) {
  switch (op) {
    case BinaryOp::kAdd: return Value::Float(a + b);
    case BinaryOp::kSub: return Value::Float(a - b);
    case BinaryOp::kMul: return Value::Float(a * b);
    case BinaryOp::kFloorDiv: return Value::Float(FloatFloorDiv(a, b));
    case BinaryOp::kMod: return Value::Float(FloatModulo(a, b));
    default: return Value::Float(FloatPower(a, b));
  }
}

Value JoinTexts(Runtime& rt, const Value& a, const Value& b) {
  if (!IsMarkup(a) && !IsMarkup(b)) {
    rt.budget().CheckSize(TextOf(a).size() + TextOf(b).size());
    std::string joined;
    joined.reserve(TextOf(a).size() + TextOf(b).size());
    joined.append(TextOf(a)).append(TextOf(b));
    return rt.Text(std::move(joined));
  }
  TextBuilder out(rt.budget());
  out.Append(TextOf(Escape(rt.heap(), a)));
  out.Append(TextOf(Escape(rt.heap(), b)));
  return rt.Text(out.Take(), true);
}

Value JoinSequences(Runtime& rt, const Value& a, const Value& b) {
  const std::size_t count = ItemsOf(a).size() + ItemsOf(b).size();
  rt.budget().Items(count);
  std::vector<Value> items;
  items.reserve(count);
  items.insert(items.end(), ItemsOf(a).begin(), ItemsOf(a).end());
  items.insert(items.end(), ItemsOf(b).begin(), ItemsOf(b).end());
  return a.is(Kind::kList) ? rt.List(std::move(items)) : rt.Tuple(std::move(items));
}

Value Repeat(Runtime& rt, const Value& value, std::int64_t times) {
  const std::size_t count = times > 0 ? static_cast<std::size_t>(times) : 0;
  if (value.is_string()) {
    TextBuilder out(rt.budget());
    out.AppendRepeated(TextOf(value), count);
    return rt.Text(out.Take(), IsMarkup(value));
  }
  const std::vector<Value>& once = ItemsOf(value);
  std::vector<Value> items;
  if (!once.empty() && count > 0) {
    if (count > SIZE_MAX / 64 / once.size()) rt.budget().Allocate(SIZE_MAX / 2);
    const std::size_t total = once.size() * count;
    rt.budget().Items(total);
    rt.budget().Allocate(total * sizeof(Value));  // asks before the memory is taken; the list charges it again
    rt.budget().Release(total * sizeof(Value));
    items.reserve(total);
    for (std::size_t i = 0; i < count; ++i) items.insert(items.end(), once.begin(), once.end());
  }
  return value.is(Kind::kList) ? rt.List(std::move(items)) : rt.Tuple(std::move(items));
}

bool CanRepeat(const Value& value) { return value.is_string() || value.is_sequence(); }

}  // namespace

Value Apply(Runtime& rt, BinaryOp op, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (op == BinaryOp::kDiv) return Value::Float(TrueDivide(a, b));
    if (a.is_integral() && b.is_integral()) return ApplyInts(op, a.integer(), b.integer());
    return ApplyFloats(op, a.number(), b.number());
  }
  if (op == BinaryOp::kAdd) {
    if (a.is_string() && b.is_string()) return JoinTexts(rt, a, b);
    if (a.is_sequence() && a.kind() == b.kind()) return JoinSequences(rt, a, b);
  } else if (op == BinaryOp::kMul) {
    if (CanRepeat(a) && b.is_integral()) return Repeat(rt, a, b.integer());
    if (a.is_integral() && CanRepeat(b)) return Repeat(rt, b, a.integer());
  } else if (op == BinaryOp::kMod && a.is_string()) {
    return PercentFormat(rt, a, b);
  }
  if (a.is(Kind::kBigInt) || b.is(Kind::kBigInt)) FailOverflow();
  FailTypes(op, a, b);
}

Value Apply(Runtime&, UnaryOp op, const Value& a) {
  if (op == UnaryOp::kNot) return Value::Bool(!Truthy(a));
  if (a.is_undefined()) FailUndefined(a);
  if (a.is(Kind::kBigInt)) FailOverflow();
  if (!a.is_number()) {
    Fail("bad operand type for unary " + std::string(op == UnaryOp::kNegate ? "-" : "+") + ": '" +
         std::string(TypeName(a)) + "'");
  }
  if (a.is(Kind::kFloat)) return Value::Float(op == UnaryOp::kNegate ? -a.number() : a.number());
  std::int64_t result = a.integer();
  if (op == UnaryOp::kNegate && __builtin_sub_overflow(std::int64_t{0}, a.integer(), &result)) FailOverflow();
  return Value::Int(result);
}

}  // namespace quorum::tok::jinja
