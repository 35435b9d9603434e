// Tests: what may stand after `is`.
#include <string>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/math.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/strings.h"
#include "tokenizer/jinja/text.h"

namespace quorum::tok::jinja {
namespace {

template <CompareOp kOp>
Value Compared(Runtime& rt, Args& args) {
  return Value::Bool(Compare(rt.budget(), kOp, args[0], args[1]));
}

template <Kind... kKinds>
Value IsOfKind(Runtime&, Args& args) {
  return Value::Bool((args[0].is(kKinds) || ...));
}

template <bool (*kTest)(const Value&)>
Value Tested(Runtime&, Args& args) {
  return Value::Bool(kTest(args[0]));
}

bool IsDefined(const Value& value) { return !value.is_undefined(); }
bool IsTrue(const Value& value) { return value.is(Kind::kBool) && value.boolean(); }
bool IsFalse(const Value& value) { return value.is(Kind::kBool) && !value.boolean(); }

Value Remainder(Runtime& rt, const Value& value, const Value& divisor) {
  return Apply(rt, BinaryOp::kMod, value, divisor);
}

bool Equals(Runtime& rt, const Value& value, std::int64_t number) {
  return Equal(rt.budget(), value, Value::Int(number));
}

Value Odd(Runtime& rt, Args& args) { return Value::Bool(Equals(rt, Remainder(rt, args[0], Value::Int(2)), 1)); }
Value Even(Runtime& rt, Args& args) { return Value::Bool(Equals(rt, Remainder(rt, args[0], Value::Int(2)), 0)); }
Value DivisibleBy(Runtime& rt, Args& args) { return Value::Bool(Equals(rt, Remainder(rt, args[0], args[1]), 0)); }

Value SameAs(Runtime&, Args& args) { return Value::Bool(Same(args[0], args[1])); }
Value Lower(Runtime& rt, Args& args) { return Value::Bool(IsLowerText(rt.budget(), Str(rt.budget(), args[0]))); }
Value Upper(Runtime& rt, Args& args) { return Value::Bool(IsUpperText(rt.budget(), Str(rt.budget(), args[0]))); }

Value Named(Runtime& rt, Args& args, const Builtin* (*find)(std::string_view)) {
  HashOf(rt.budget(), args[0]);  // fails for what cannot be a key
  return Value::Bool(args[0].is_string() && find(TextOf(args[0])) != nullptr);
}
Value IsFilter(Runtime& rt, Args& args) { return Named(rt, args, FindFilter); }
Value IsTest(Runtime& rt, Args& args) { return Named(rt, args, FindTest); }

}  // namespace

const BuiltinTable& Tests() {
  constexpr Builtin::Style kPositional = Builtin::kPositional;
  static const BuiltinTable table({
      {"!=", Compared<CompareOp::kNe>, {"a", "b"}, 2, kPositional},
      {"<", Compared<CompareOp::kLt>, {"a", "b"}, 2, kPositional},
      {"<=", Compared<CompareOp::kLe>, {"a", "b"}, 2, kPositional},
      {"==", Compared<CompareOp::kEq>, {"a", "b"}, 2, kPositional},
      {">", Compared<CompareOp::kGt>, {"a", "b"}, 2, kPositional},
      {">=", Compared<CompareOp::kGe>, {"a", "b"}, 2, kPositional},
      {"boolean", IsOfKind<Kind::kBool>, {"value"}, 1},
      {"callable", Tested<IsCallable>, {"obj"}, 1, kPositional},
      {"defined", Tested<IsDefined>, {"value"}, 1},
      {"divisibleby", DivisibleBy, {"value", "num"}, 2},
      {"eq", Compared<CompareOp::kEq>, {"a", "b"}, 2, kPositional},
      {"equalto", Compared<CompareOp::kEq>, {"a", "b"}, 2, kPositional},
      {"escaped", Tested<IsMarkup>, {"value"}, 1},
      {"even", Even, {"value"}, 1},
      {"false", Tested<IsFalse>, {"value"}, 1},
      {"filter", IsFilter, {"value"}, 1},
      {"float", IsOfKind<Kind::kFloat>, {"value"}, 1},
      {"ge", Compared<CompareOp::kGe>, {"a", "b"}, 2, kPositional},
      {"greaterthan", Compared<CompareOp::kGt>, {"a", "b"}, 2, kPositional},
      {"gt", Compared<CompareOp::kGt>, {"a", "b"}, 2, kPositional},
      {"in", Compared<CompareOp::kIn>, {"value", "seq"}, 2},
      {"integer", IsOfKind<Kind::kInt, Kind::kBigInt>, {"value"}, 1},
      {"iterable", Tested<IsIterable>, {"value"}, 1},
      {"le", Compared<CompareOp::kLe>, {"a", "b"}, 2, kPositional},
      {"lessthan", Compared<CompareOp::kLt>, {"a", "b"}, 2, kPositional},
      {"lower", Lower, {"value"}, 1},
      {"lt", Compared<CompareOp::kLt>, {"a", "b"}, 2, kPositional},
      {"mapping", IsOfKind<Kind::kDict>, {"value"}, 1},
      {"ne", Compared<CompareOp::kNe>, {"a", "b"}, 2, kPositional},
      {"none", IsOfKind<Kind::kNone>, {"value"}, 1},
      {"number", IsOfKind<Kind::kInt, Kind::kBigInt, Kind::kFloat, Kind::kBool>, {"value"}, 1},
      {"odd", Odd, {"value"}, 1},
      {"sameas", SameAs, {"value", "other"}, 2},
      {"sequence", Tested<IsSequenceLike>, {"value"}, 1},
      {"string", IsOfKind<Kind::kString>, {"value"}, 1},
      {"test", IsTest, {"value"}, 1},
      {"true", Tested<IsTrue>, {"value"}, 1},
      {"undefined", IsOfKind<Kind::kUndefined>, {"value"}, 1},
      {"upper", Upper, {"value"}, 1},
  });
  return table;
}

}  // namespace quorum::tok::jinja
