#include <utility>

#include "tokenizer/jinja/access.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/eval.h"
#include "tokenizer/jinja/math.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/text.h"

namespace quorum::tok::jinja {

Activation& Interpreter::Outwards(Activation& act, int hops) {
  Activation* at = &act;
  for (int i = 0; i < hops; ++i) at = at->parent.get();
  return *at;
}

Value& Interpreter::SlotOf(const NameExpr& expr, Activation& act) {
  return Outwards(act, expr.hops).slots[static_cast<std::size_t>(expr.slot)];
}

Value Interpreter::Eval(const Expr& expr, Activation& act) {
  budget().Step();
  switch (expr.kind) {
    case ExprKind::kConst: return EvalConst(static_cast<const ConstExpr&>(expr));
    case ExprKind::kName: return EvalName(static_cast<const NameExpr&>(expr), act);
    default: break;
  }
  const Budget::Nested nested(budget());
  line_ = expr.line;
  switch (expr.kind) {
    case ExprKind::kTuple:
    case ExprKind::kList: return EvalSequence(static_cast<const SequenceExpr&>(expr), act);
    case ExprKind::kDict: return EvalDict(static_cast<const DictExpr&>(expr), act);
    case ExprKind::kUnary: {
      const auto& unary = static_cast<const UnaryExpr&>(expr);
      return Apply(*this, unary.op, Eval(*unary.operand, act));
    }
    case ExprKind::kBinary: return EvalBinary(static_cast<const BinaryExpr&>(expr), act);
    case ExprKind::kLogic: return EvalLogic(static_cast<const LogicExpr&>(expr), act);
    case ExprKind::kCompare: return EvalCompare(static_cast<const CompareExpr&>(expr), act);
    case ExprKind::kConcat: return EvalConcat(static_cast<const ConcatExpr&>(expr), act);
    case ExprKind::kCond: return EvalCond(static_cast<const CondExpr&>(expr), act);
    case ExprKind::kGetAttr: {
      const auto& get = static_cast<const GetAttrExpr&>(expr);
      return GetAttr(*this, Eval(*get.object, act), get.name);
    }
    case ExprKind::kGetItem: {
      const auto& get = static_cast<const GetItemExpr&>(expr);
      const Value object = Eval(*get.object, act);
      return GetItem(*this, object, Eval(*get.key, act));
    }
    case ExprKind::kSlice: return EvalSlice(static_cast<const SliceExpr&>(expr), act);
    case ExprKind::kCall: return EvalCall(static_cast<const CallExpr&>(expr), act, {});
    default: return EvalFilter(static_cast<const FilterExpr&>(expr), act, nullptr);
  }
}

Value Interpreter::EvalConst(const ConstExpr& expr) {
  switch (expr.type) {
    case ConstExpr::Type::kNone: return Value::None();
    case ConstExpr::Type::kBool: return Value::Bool(expr.integer != 0);
    case ConstExpr::Type::kInt: return Value::Int(expr.integer);
    case ConstExpr::Type::kFloat: return Value::Float(expr.number);
    case ConstExpr::Type::kString: break;
  }
  Value& made = strings_[static_cast<std::size_t>(expr.index)];
  if (made.is_missing()) made = Text(expr.text);
  return made;
}

Value Interpreter::EvalName(const NameExpr& expr, Activation& act) {
  const Value& value = SlotOf(expr, act);
  if (!value.is_missing()) return value;
  return MakeUndefined(heap(), "'" + expr.name + "' is undefined");
}

Value Interpreter::EvalSequence(const SequenceExpr& expr, Activation& act) {
  std::vector<Value> items;
  items.reserve(expr.items.size());
  for (const ExprPtr& item : expr.items) items.push_back(Eval(*item, act));
  return expr.kind == ExprKind::kList ? List(std::move(items)) : Tuple(std::move(items));
}

Value Interpreter::EvalDict(const DictExpr& expr, Activation& act) {
  const Ref<DictObject> dict = heap().New<DictObject>();
  for (const auto& [key_expr, value_expr] : expr.items) {
    Value key = Eval(*key_expr, act);
    dict->Set(std::move(key), Eval(*value_expr, act));
  }
  return Value(Kind::kDict, dict);
}

Value Interpreter::EvalBinary(const BinaryExpr& expr, Activation& act) {
  Value left = Eval(*expr.first, act);
  for (const auto& [op, operand] : expr.rest) {
    const Value right = Eval(*operand, act);
    budget().Step();
    line_ = operand->line;
    left = Apply(*this, op, left, right);
  }
  return left;
}

Value Interpreter::EvalLogic(const LogicExpr& expr, Activation& act) {
  Value value;
  for (const ExprPtr& operand : expr.operands) {
    value = Eval(*operand, act);
    if (Truthy(value) != expr.is_and) break;
  }
  return value;
}

Value Interpreter::EvalCompare(const CompareExpr& expr, Activation& act) {
  Value left = Eval(*expr.first, act);
  for (const auto& [op, operand] : expr.rest) {
    Value right = Eval(*operand, act);
    if (!Compare(budget(), op, left, right)) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

Value Interpreter::EvalConcat(const ConcatExpr& expr, Activation& act) {
  TextBuilder out(budget());
  for (const ExprPtr& operand : expr.operands) AppendStr(out, Eval(*operand, act));
  return Text(out.Take());
}

Value Interpreter::EvalCond(const CondExpr& expr, Activation& act) {
  if (Truthy(Eval(*expr.condition, act))) return Eval(*expr.then, act);
  if (expr.otherwise != nullptr) return Eval(*expr.otherwise, act);
  return MakeUndefined(heap(), "the inline if-expression on line " + std::to_string(expr.line) +
                                   " evaluated to false and no else section was defined.");
}

Value Interpreter::EvalSlice(const SliceExpr& expr, Activation& act) {
  const auto part = [&](const ExprPtr& bound) { return bound == nullptr ? Value() : Eval(*bound, act); };
  const Value object = Eval(*expr.object, act);
  const Value start = part(expr.start);
  const Value stop = part(expr.stop);
  const Value step = part(expr.step);
  return GetSlice(*this, object, start, stop, step);
}

CallArgs Interpreter::EvalArgs(const ArgList& list, Activation& act, std::vector<Value> first) {
  CallArgs args;
  args.positional = std::move(first);
  for (const ExprPtr& arg : list.positional) args.positional.push_back(Eval(*arg, act));
  for (const auto& [name, arg] : list.keyword) args.keyword.emplace_back(name, Eval(*arg, act));
  if (list.more_positional != nullptr) {
    for (Value& item : ItemsFrom(heap(), Eval(*list.more_positional, act))) args.positional.push_back(std::move(item));
  }
  if (list.more_keyword == nullptr) return args;
  const Value more = Eval(*list.more_keyword, act);
  if (!more.is(Kind::kDict)) Fail("argument after ** must be a mapping, not " + std::string(TypeName(more)));
  budget().Items(more.as<DictObject>().map.size() * (1 + list.keyword.size()));
  for (const auto& [name, value] : more.as<DictObject>().map.entries()) {
    if (!name.is_string()) Fail("keywords must be strings");
    for (const auto& given : list.keyword) {
      if (given.first == TextOf(name)) Fail("got multiple values for keyword argument '" + TextOf(name) + "'");
    }
    args.keyword.emplace_back(TextOf(name), value);
  }
  return args;
}

Value Interpreter::EvalCall(const CallExpr& expr, Activation& act, const Value& caller) {
  const Value callee = Eval(*expr.callee, act);
  CallArgs args = EvalArgs(expr.args, act, {});
  if (!caller.is_missing()) args.keyword.emplace_back("caller", caller);
  line_ = expr.line;
  Value result = Call(*this, callee, std::move(args));
  line_ = expr.line;
  return result;
}

Value Interpreter::EvalFilter(const FilterExpr& expr, Activation& act, const Value* block_text) {
  std::vector<Value> subject(1);
  if (expr.subject == nullptr) {
    subject[0] = *block_text;
  } else if (expr.subject->kind == ExprKind::kFilter && block_text != nullptr) {
    subject[0] = EvalFilter(static_cast<const FilterExpr&>(*expr.subject), act, block_text);
  } else {
    subject[0] = Eval(*expr.subject, act);
  }
  CallArgs args = EvalArgs(expr.args, act, std::move(subject));
  line_ = expr.line;
  if (expr.builtin == nullptr) {
    Fail(std::string(expr.kind == ExprKind::kFilter ? "no filter" : "no test") + " named '" + expr.name + "'");
  }
  return Invoke(*this, *expr.builtin, std::move(args));
}

}  // namespace quorum::tok::jinja
