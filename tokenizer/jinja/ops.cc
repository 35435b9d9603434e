#include "tokenizer/jinja/ops.h"

#include <algorithm>
#include <string>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/iter.h"
#include "tokenizer/jinja/objects.h"
#include "tokenizer/jinja/search.h"

namespace quorum::tok::jinja {
namespace {

// Exact for both: on the hosts that Quorum runs on a long double has at least 64 bits of mantissa.
long double Exact(const Value& v) {
  if (v.is(Kind::kFloat)) return static_cast<long double>(v.number());
  if (v.is(Kind::kBigInt)) return static_cast<long double>(v.big());
  return static_cast<long double>(v.integer());
}

bool IsNumberOrBig(const Value& v) { return v.is_number() || v.is(Kind::kBigInt); }

template <typename T>
bool Holds(CompareOp op, const T& a, const T& b) {
  switch (op) {
    case CompareOp::kLt: return a < b;
    case CompareOp::kLe: return a <= b;
    case CompareOp::kGt: return a > b;
    default: return a >= b;
  }
}

std::string_view Sign(CompareOp op) {
  switch (op) {
    case CompareOp::kLt: return "<";
    case CompareOp::kLe: return "<=";
    case CompareOp::kGt: return ">";
    default: return ">=";
  }
}

bool EqualItems(Budget& budget, const std::vector<Value>& a, const std::vector<Value>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [&](const Value& x, const Value& y) {
           budget.Visit();
           return Equal(budget, x, y);
         });
}

bool EqualDicts(Budget& budget, const DictMap& a, const DictMap& b) {
  if (a.size() != b.size()) return false;
  return std::all_of(a.entries().begin(), a.entries().end(), [&](const DictMap::Entry& entry) {
    budget.Visit();
    const Value* other = b.Find(budget, entry.first);
    return other != nullptr && Equal(budget, entry.second, *other);
  });
}

bool EqualRanges(const RangeObject& a, const RangeObject& b) {
  if (a.length != b.length) return false;
  return a.length == 0 || (a.start == b.start && (a.length == 1 || a.step == b.step));
}

bool Order(Budget& budget, CompareOp op, const Value& a, const Value& b) {
  if (IsNumberOrBig(a) && IsNumberOrBig(b)) {
    if (a.is_integral() && b.is_integral()) return Holds(op, a.integer(), b.integer());
    return Holds(op, Exact(a), Exact(b));
  }
  if (a.is_string() && b.is_string()) {
    budget.Bytes(std::min(TextOf(a).size(), TextOf(b).size()));
    return Holds(op, TextOf(a), TextOf(b));  // bytes of UTF-8 sort like code points
  }
  if (a.is_sequence() && a.kind() == b.kind()) {
    const Budget::Nested nested(budget);
    const std::vector<Value>& x = ItemsOf(a);
    const std::vector<Value>& y = ItemsOf(b);
    for (std::size_t i = 0; i < x.size() && i < y.size(); ++i) {
      budget.Visit();
      if (!Equal(budget, x[i], y[i])) return Order(budget, op, x[i], y[i]);
    }
    return Holds(op, x.size(), y.size());
  }
  if (a.is_undefined()) FailUndefined(a);
  if (b.is_undefined()) FailUndefined(b);
  Fail("'" + std::string(Sign(op)) + "' not supported between instances of '" + std::string(TypeName(a)) + "' and '" +
       std::string(TypeName(b)) + "'");
}

}  // namespace

std::string_view TypeName(const Value& value) {
  switch (value.kind()) {
    case Kind::kMissing:
    case Kind::kUndefined: return "Undefined";
    case Kind::kNone: return "NoneType";
    case Kind::kBool: return "bool";
    case Kind::kInt:
    case Kind::kBigInt: return "int";
    case Kind::kFloat: return "float";
    case Kind::kFunction: return "function";
    case Kind::kString: return IsMarkup(value) ? "Markup" : "str";
    case Kind::kList: return "list";
    case Kind::kTuple: return "tuple";
    case Kind::kDict: return "dict";
    case Kind::kNamespace: return "Namespace";
    case Kind::kRange: return "range";
    case Kind::kIterator: return "generator";
    case Kind::kView:
      switch (value.as<ViewObject>().what) {
        case ViewObject::What::kKeys: return "dict_keys";
        case ViewObject::What::kValues: return "dict_values";
        default: return "dict_items";
      }
    case Kind::kMethod: return "method";
    case Kind::kMacro: return "Macro";
    case Kind::kLoop: return "LoopContext";
    case Kind::kCycler: return "Cycler";
    case Kind::kJoiner: return "Joiner";
  }
  return "object";
}

void FailUndefined(const Value& undefined) { Fail(undefined.as<UndefinedObject>().message); }

bool Truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::kMissing:
    case Kind::kUndefined:
    case Kind::kNone: return false;
    case Kind::kBool:
    case Kind::kInt: return value.integer() != 0;
    case Kind::kFloat: return value.number() != 0;
    case Kind::kString: return !TextOf(value).empty();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kRange:
    case Kind::kView:
    case Kind::kLoop: return LengthOf(value) != 0;
    default: return true;
  }
}

bool Equal(Budget& budget, const Value& a, const Value& b) {
  if (IsNumberOrBig(a) && IsNumberOrBig(b)) {
    if (a.is_integral() && b.is_integral()) return a.integer() == b.integer();
    return Exact(a) == Exact(b);
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kNone:
    case Kind::kUndefined: return true;
    case Kind::kString:
      if (TextOf(a).size() != TextOf(b).size()) return false;
      budget.Bytes(TextOf(a).size());
      return TextOf(a) == TextOf(b);
    case Kind::kList:
    case Kind::kTuple: {
      const Budget::Nested nested(budget);
      return EqualItems(budget, ItemsOf(a), ItemsOf(b));
    }
    case Kind::kDict: {
      const Budget::Nested nested(budget);
      return EqualDicts(budget, a.as<DictObject>().map, b.as<DictObject>().map);
    }
    case Kind::kRange: return EqualRanges(a.as<RangeObject>(), b.as<RangeObject>());
    case Kind::kFunction: return a.function() == b.function();
    case Kind::kMethod:
      return a.as<MethodObject>().function == b.as<MethodObject>().function &&
             Same(a.as<MethodObject>().self, b.as<MethodObject>().self);
    default: return a.object() == b.object();
  }
}

bool Compare(Budget& budget, CompareOp op, const Value& a, const Value& b) {
  switch (op) {
    case CompareOp::kEq: return Equal(budget, a, b);
    case CompareOp::kNe: return !Equal(budget, a, b);
    case CompareOp::kIn: return Contains(budget, b, a);
    case CompareOp::kNotIn: return !Contains(budget, b, a);
    default: return Order(budget, op, a, b);
  }
}

bool Same(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  if (a.is_object()) return a.object() == b.object();
  switch (a.kind()) {
    case Kind::kBool: return a.integer() == b.integer();
    case Kind::kInt: return a.integer() == b.integer() && a.integer() >= -5 && a.integer() <= 256;  // CPython's cache
    case Kind::kFunction: return a.function() == b.function();
    case Kind::kNone:
    case Kind::kMissing: return true;
    default: return false;
  }
}

std::int64_t LengthOf(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined: return 0;
    case Kind::kString: return static_cast<std::int64_t>(value.as<StringObject>().length());
    case Kind::kList:
    case Kind::kTuple: return static_cast<std::int64_t>(ItemsOf(value).size());
    case Kind::kDict: return static_cast<std::int64_t>(value.as<DictObject>().map.size());
    case Kind::kRange: return value.as<RangeObject>().length;
    case Kind::kView: return static_cast<std::int64_t>(value.as<ViewObject>().map().size());
    case Kind::kLoop: return value.as<LoopObject>().Length();
    default: return -1;
  }
}

std::int64_t RequireLength(const Value& value) {
  const std::int64_t length = LengthOf(value);
  if (length < 0) Fail("object of type '" + std::string(TypeName(value)) + "' has no len()");
  return length;
}

bool Contains(Budget& budget, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kString:
      if (!item.is_string()) {
        Fail("'in <string>' requires string as left operand, not " + std::string(TypeName(item)));
      }
      return FindBytes(budget, TextOf(container), TextOf(item), 0) != kNotFound;
    case Kind::kDict: return container.as<DictObject>().map.Find(budget, item) != nullptr;
    case Kind::kRange: {
      const auto& range = container.as<RangeObject>();
      if (range.length == 0 || !item.is_number()) return false;
      const long double steps =
          (Exact(item) - static_cast<long double>(range.start)) / static_cast<long double>(range.step);
      if (!(steps >= 0) || steps >= static_cast<long double>(range.length)) return false;
      return Equal(budget, item, Value::Int(range.at(static_cast<std::int64_t>(steps))));
    }
    case Kind::kView:
      if (container.as<ViewObject>().what == ViewObject::What::kKeys) {
        return container.as<ViewObject>().map().Find(budget, item) != nullptr;
      }
      break;
    case Kind::kList:
    case Kind::kTuple:
      return std::any_of(ItemsOf(container).begin(), ItemsOf(container).end(), [&](const Value& other) {
        budget.Visit();
        return Equal(budget, other, item);
      });
    case Kind::kUndefined: return false;
    default: break;
  }
  if (!IsIterable(container)) {
    Fail("argument of type '" + std::string(TypeName(container)) + "' is not iterable");
  }
  const Ref<IteratorObject> iterator = Iterate(container.as<Object>().heap(), container);
  for (Value other; iterator->Next(&other);) {
    budget.Visit();
    if (Equal(budget, other, item)) return true;
  }
  return false;
}

bool IsIterable(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kRange:
    case Kind::kIterator:
    case Kind::kView:
    case Kind::kLoop: return true;
    default: return false;
  }
}

bool IsCallable(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:  // has a __call__ that fails
    case Kind::kFunction:
    case Kind::kMethod:
    case Kind::kMacro:
    case Kind::kLoop:
    case Kind::kJoiner: return true;
    default: return false;
  }
}

bool IsSequenceLike(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kRange: return true;
    default: return false;
  }
}

}  // namespace quorum::tok::jinja
