// Methods of lists, tuples, dicts, ranges, loops and cyclers. Those that would change a list or dict do not exist here
// (access.cc tells their names).
#include <algorithm>
#include <string>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/iter.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/text.h"

namespace quorum::tok::jinja {
namespace {

constexpr Builtin::Style kPositional = Builtin::kPositional;

Value Count(Runtime& rt, Args& args) {
  std::int64_t count = 0;
  for (const Value& item : ItemsFrom(rt.heap(), args[0])) {
    if (Equal(rt.budget(), item, args[1])) ++count;
  }
  return Value::Int(count);
}

Value Index(Runtime& rt, Args& args) {
  const std::int64_t length = LengthOf(args[0]);
  const auto bound = [&](std::size_t i, std::int64_t fallback) {
    const std::int64_t index = args.integer_or(i, fallback);
    return index < 0 ? std::max<std::int64_t>(index + length, 0) : index;
  };
  const std::int64_t end = std::min(bound(3, length), length);
  const std::vector<Value> items = ItemsFrom(rt.heap(), args[0]);
  for (std::int64_t i = bound(2, 0); i < end; ++i) {
    rt.budget().Visit();
    if (Equal(rt.budget(), items[static_cast<std::size_t>(i)], args[1])) return Value::Int(i);
  }
  TextBuilder message(rt.budget());
  AppendRepr(message, args[1]);
  Fail(message.Take() + " is not in list");
}

Value Same(Runtime&, Args& args) { return args[0]; }

Value Get(Runtime& rt, Args& args) {
  const Value* found = args[0].as<DictObject>().map.Find(rt.budget(), args[1]);
  if (found != nullptr) return *found;
  return args.has(2) ? args[2] : Value::None();
}

template <ViewObject::What kWhat>
Value View(Runtime& rt, Args& args) {
  return Value(Kind::kView, rt.heap().New<ViewObject>(args[0], kWhat));
}

Value FromKeys(Runtime& rt, Args& args) {
  const Ref<DictObject> dict = rt.heap().New<DictObject>();
  const Ref<IteratorObject> keys = Iterate(rt.heap(), args[1]);
  for (Value key; keys->Next(&key);) dict->Set(std::move(key), args.has(2) ? args[2] : Value::None());
  return Value(Kind::kDict, dict);
}

Value Cycle(Runtime&, Args& args) {
  if (args.rest.empty()) Fail("no items for cycling given");
  const std::int64_t index = args[0].as<LoopObject>().index0;
  return args.rest[static_cast<std::size_t>(index) % args.rest.size()];
}

Value Changed(Runtime& rt, Args& args) {
  Value now = rt.Tuple(std::move(args.rest));
  auto& loop = args[0].as<LoopObject>();
  const bool changed = loop.last_changed.is_missing() || !Equal(rt.budget(), loop.last_changed, now);
  if (changed) loop.last_changed = std::move(now);
  return Value::Bool(changed);
}

Value CyclerNext(Runtime&, Args& args) {
  auto& cycler = args[0].as<CyclerObject>();
  const Value& item = cycler.items[cycler.position];
  cycler.position = (cycler.position + 1) % cycler.items.size();
  return item;
}

Value CyclerReset(Runtime&, Args& args) {
  args[0].as<CyclerObject>().position = 0;
  return Value::None();
}

}  // namespace

const BuiltinTable& ContainerMethods(Kind kind) {
  static const BuiltinTable none({});
  static const BuiltinTable list({{"copy", Same, {"self"}, 1, kPositional},
                                  {"count", Count, {"self", "value"}, 2, kPositional},
                                  {"index", Index, {"self", "value", "start", "stop"}, 2, kPositional}});
  static const BuiltinTable tuple({{"count", Count, {"self", "value"}, 2, kPositional},
                                   {"index", Index, {"self", "value", "start", "stop"}, 2, kPositional}});
  static const BuiltinTable range(
      {{"count", Count, {"self", "value"}, 2, kPositional}, {"index", Index, {"self", "value"}, 2, kPositional}});
  static const BuiltinTable dict({{"copy", Same, {"self"}, 1, kPositional},
                                  {"fromkeys", FromKeys, {"self", "iterable", "value"}, 2, kPositional},
                                  {"get", Get, {"self", "key", "default"}, 2, kPositional},
                                  {"items", View<ViewObject::What::kItems>, {"self"}, 1, kPositional},
                                  {"keys", View<ViewObject::What::kKeys>, {"self"}, 1, kPositional},
                                  {"values", View<ViewObject::What::kValues>, {"self"}, 1, kPositional}});
  static const BuiltinTable loop(
      {{"changed", Changed, {"self"}, 1, Builtin::kVariadic}, {"cycle", Cycle, {"self"}, 1, Builtin::kVariadic}});
  static const BuiltinTable cycler(
      {{"next", CyclerNext, {"self"}, 1, kPositional}, {"reset", CyclerReset, {"self"}, 1, kPositional}});
  switch (kind) {
    case Kind::kList: return list;
    case Kind::kTuple: return tuple;
    case Kind::kRange: return range;
    case Kind::kDict: return dict;
    case Kind::kLoop: return loop;
    case Kind::kCycler: return cycler;
    default: return none;
  }
}

}  // namespace quorum::tok::jinja
