// Functions that every template has.
#include <string>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/iter.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/strftime.h"
#include "tokenizer/jinja/text.h"

namespace quorum::tok::jinja {
namespace {

// Jinja's sandbox makes no longer ranges.
constexpr std::int64_t kMaxRange = 100000;

Value Range(Runtime& rt, Args& args) {
  const bool from_zero = !args.has(1);
  const std::int64_t start = from_zero ? 0 : args.integer(0);
  const std::int64_t stop = args.integer(from_zero ? 0 : 1);
  const std::int64_t step = args.integer_or(2, 1);
  if (step == 0) Fail("range() arg 3 must not be zero");
  const Ref<RangeObject> range = rt.heap().New<RangeObject>(start, stop, step);
  if (range->length > kMaxRange) Fail("range too big: more than " + std::to_string(kMaxRange) + " items");
  return Value(Kind::kRange, range);
}

// dict(mapping_or_pairs, **more): what dict() and namespace() are made from.
template <typename Target>
void FillFrom(Runtime& rt, Args& args, Target& target) {
  if (args.has(0)) {
    if (args[0].is_undefined()) FailUndefined(args[0]);
    if (args[0].is(Kind::kDict)) {
      for (const auto& [key, value] : args[0].as<DictObject>().map.entries()) target.Set(key, value);
    } else {
      const Ref<IteratorObject> pairs = Iterate(rt.heap(), args[0]);
      for (Value pair; pairs->Next(&pair);) {
        std::vector<Value> parts = ItemsFrom(rt.heap(), pair);
        if (parts.size() != 2)
          Fail("dictionary update sequence element has length " + std::to_string(parts.size()) + "; 2 is required");
        target.Set(std::move(parts[0]), std::move(parts[1]));
      }
    }
  }
  for (auto& [name, value] : args.keyword) target.Set(rt.Text(name), std::move(value));
}

Value Dict(Runtime& rt, Args& args) {
  if (!args.rest.empty()) Fail("dict expected at most 1 argument");
  const Ref<DictObject> dict = rt.heap().New<DictObject>();
  FillFrom(rt, args, *dict);
  return Value(Kind::kDict, dict);
}

Value NamespaceFunction(Runtime& rt, Args& args) {
  if (!args.rest.empty()) Fail("namespace expected at most 1 argument");
  const Ref<NamespaceObject> made = rt.heap().New<NamespaceObject>();
  FillFrom(rt, args, *made);
  for (const auto& [name, value] : made->map.entries()) {
    if (name.is_string() && !TextOf(name).empty() && TextOf(name)[0] == '_') {
      Fail("cannot store underscore-prefixed attributes on a namespace, but got '" + TextOf(name) + "'");
    }
  }
  return Value(Kind::kNamespace, made);
}

Value Cycler(Runtime& rt, Args& args) {
  if (args.rest.empty()) Fail("at least one item has to be provided");
  if (!args.keyword.empty()) Fail("cycler() takes no keyword arguments");
  return Value(Kind::kCycler, rt.heap().New<CyclerObject>(std::move(args.rest)));
}

Value Joiner(Runtime& rt, Args& args) {
  return Value(Kind::kJoiner, rt.heap().New<JoinerObject>(args.has(0) ? args[0] : rt.Text(", ")));
}

Value RaiseException(Runtime& rt, Args& args) { Fail(Str(rt.budget(), args[0])); }

Value StrftimeNow(Runtime& rt, Args& args) { return rt.Text(FormatTime(rt.budget(), args.text(0), rt.now_unix())); }

}  // namespace

const BuiltinTable& Globals() {
  static const BuiltinTable table({
      {"cycler", Cycler, {}, 0, Builtin::kVariadic},
      {"dict", Dict, {"mapping"}, 0, Builtin::kVariadic},
      {"joiner", Joiner, {"sep"}, 0},
      {"namespace", NamespaceFunction, {"mapping"}, 0, Builtin::kVariadic},
      {"raise_exception", RaiseException, {"message"}, 1},
      {"range", Range, {"start", "stop", "step"}, 1, Builtin::kPositional},
      {"strftime_now", StrftimeNow, {"format"}, 1},
  });
  return table;
}

}  // namespace quorum::tok::jinja
