// Filters on lists, dicts and whatever else can be walked over.
#include <algorithm>
#include <string>

#include "tokenizer/jinja/access.h"
#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/iter.h"
#include "tokenizer/jinja/math.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/sort.h"
#include "tokenizer/jinja/text.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

// Strings in lower case, others as they are: what sorting compares unless case matters.
Value IgnoreCase(Runtime& rt, const Value& value) {
  if (!value.is_string()) return value;
  rt.budget().Characters(TextOf(value).size());
  return rt.Text(ToLower(TextOf(value)));
}

struct Keyed {
  Value key;
  Value item;
};

// Each item with what `path` leads to in it.
std::vector<Keyed> WithKeys(Runtime& rt, const Value& items, const std::vector<Value>& path, const Value& fallback,
                            bool case_sensitive) {
  std::vector<Keyed> keyed;
  const Ref<IteratorObject> iterator = Iterate(rt.heap(), items);
  for (Value item; iterator->Next(&item);) {
    Value key = FollowPath(rt, item, path, fallback);
    if (!case_sensitive) key = IgnoreCase(rt, key);
    PushWithin(rt.budget(), keyed, Keyed{std::move(key), std::move(item)});
  }
  return keyed;
}

// Stable; like Python, asks only which of two keys is less.
void SortByKey(Runtime& rt, std::vector<Keyed>& keyed, bool reverse) {
  StableSort(keyed, [&](const Keyed& a, const Keyed& b) {
    rt.budget().Visit();
    return Compare(rt.budget(), CompareOp::kLt, reverse ? b.key : a.key, reverse ? a.key : b.key);
  });
}

Value ListOfItems(Runtime& rt, std::vector<Keyed> keyed) {
  std::vector<Value> items;
  items.reserve(keyed.size());
  for (Keyed& entry : keyed) items.push_back(std::move(entry.item));
  return rt.List(std::move(items));
}

Value Length(Runtime&, Args& args) { return Value::Int(RequireLength(args[0])); }

Value First(Runtime& rt, Args& args) {
  Value item;
  if (Iterate(rt.heap(), args[0])->Next(&item)) return item;
  return MakeUndefined(rt.heap(), "No first item, sequence was empty.");
}

Value Last(Runtime& rt, Args& args) {
  Value item;
  if (IterateReversed(rt.heap(), args[0])->Next(&item)) return item;
  return MakeUndefined(rt.heap(), "No last item, sequence was empty.");
}

Value Join(Runtime& rt, Args& args) {
  const std::string separator = args.has(1) ? Str(rt.budget(), args[1]) : "";
  const std::vector<Value> path = AttributePath(rt, args[2]);
  TextBuilder out(rt.budget());
  const Ref<IteratorObject> iterator = Iterate(rt.heap(), args[0]);
  bool first = true;
  for (Value item; iterator->Next(&item);) {
    if (!first) out.Append(separator);
    first = false;
    AppendStr(out, FollowPath(rt, item, path));
  }
  return rt.Text(out.Take());
}

Value ListFilter(Runtime& rt, Args& args) { return rt.List(ItemsFrom(rt.heap(), args[0])); }

Value Sort(Runtime& rt, Args& args) {
  const bool reverse = args.integer_or(1, 0) != 0;
  const bool case_sensitive = args.truth_or(2, false);
  std::vector<std::vector<Value>> paths;  // "age,name" sorts by both
  if (args.has(3) && args[3].is_string()) {
    const std::string& attribute = TextOf(args[3]);
    for (std::size_t begin = 0; begin <= attribute.size();) {
      const std::size_t end = std::min(attribute.find(',', begin), attribute.size());
      paths.push_back(AttributePath(rt, rt.Text(attribute.substr(begin, end - begin))));
      begin = end + 1;
    }
  } else {
    paths.push_back(AttributePath(rt, args[3]));
  }
  std::vector<Keyed> keyed;
  const Ref<IteratorObject> iterator = Iterate(rt.heap(), args[0]);
  for (Value item; iterator->Next(&item);) {
    std::vector<Value> key;
    for (const std::vector<Value>& path : paths) {
      const Value part = FollowPath(rt, item, path);
      key.push_back(case_sensitive ? part : IgnoreCase(rt, part));
    }
    PushWithin(rt.budget(), keyed, Keyed{rt.List(std::move(key)), std::move(item)});
  }
  SortByKey(rt, keyed, reverse);
  return ListOfItems(rt, std::move(keyed));
}

Value Unique(Runtime& rt, Args& args) {
  const bool case_sensitive = args.truth_or(1, false);
  const std::vector<Value> path = AttributePath(rt, args[2]);
  const Ref<DictObject> seen = rt.heap().New<DictObject>();
  return MakeIterator(
      MakeLazy(rt.heap(), [&rt, items = DeferredItems(args[0]), seen, path, case_sensitive](Value* item) mutable {
        while (items.Next(rt.heap(), item)) {
          Value key = FollowPath(rt, *item, path);
          if (!case_sensitive) key = IgnoreCase(rt, key);
          if (seen->map.Find(rt.budget(), key) != nullptr) continue;
          seen->Set(std::move(key), Value::None());
          return true;
        }
        return false;
      }));
}

Value Extreme(Runtime& rt, Args& args, CompareOp better) {
  const bool case_sensitive = args.truth_or(1, false);
  std::vector<Keyed> keyed = WithKeys(rt, args[0], AttributePath(rt, args[2]), {}, case_sensitive);
  if (keyed.empty()) return MakeUndefined(rt.heap(), "No aggregated item, sequence was empty.");
  std::size_t best = 0;
  for (std::size_t i = 1; i < keyed.size(); ++i) {
    if (Compare(rt.budget(), better, keyed[i].key, keyed[best].key)) best = i;
  }
  return keyed[best].item;
}

Value Min(Runtime& rt, Args& args) { return Extreme(rt, args, CompareOp::kLt); }
Value Max(Runtime& rt, Args& args) { return Extreme(rt, args, CompareOp::kGt); }

Value Sum(Runtime& rt, Args& args) {
  const std::vector<Value> path = AttributePath(rt, args[1]);
  Value total = args.has(2) ? args[2] : Value::Int(0);
  if (total.is_string()) Fail("sum() can't sum strings [use ''.join(seq) instead]");
  const Ref<IteratorObject> iterator = Iterate(rt.heap(), args[0]);
  for (Value item; iterator->Next(&item);) total = Apply(rt, BinaryOp::kAdd, total, FollowPath(rt, item, path));
  return total;
}

Value Reverse(Runtime& rt, Args& args) {
  if (args[0].is_string()) return GetSlice(rt, args[0], {}, {}, Value::Int(-1));
  if (args[0].is(Kind::kIterator) || args[0].is(Kind::kLoop)) {  // has no end to begin at: Jinja makes a list
    std::vector<Value> items = ItemsFrom(rt.heap(), args[0]);
    std::reverse(items.begin(), items.end());
    return rt.List(std::move(items));
  }
  if (!IsIterable(args[0])) Fail("argument must be iterable");
  return MakeIterator(IterateReversed(rt.heap(), args[0]));
}

Value DictSort(Runtime& rt, Args& args) {
  const bool case_sensitive = args.truth_or(1, false);
  const std::string by = args.has(2) && args[2].is_string() ? TextOf(args[2]) : args.has(2) ? "" : "key";
  if (by != "key" && by != "value") Fail("You can only sort by either \"key\" or \"value\"");
  if (args[0].is_undefined()) FailUndefined(args[0]);
  if (!args[0].is(Kind::kDict)) Fail("'" + std::string(TypeName(args[0])) + "' object has no attribute 'items'");
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : args[0].as<DictObject>().map.entries()) {
    rt.budget().Visit();
    const Value& part = by == "key" ? key : value;
    PushWithin(rt.budget(), keyed, Keyed{case_sensitive ? part : IgnoreCase(rt, part), rt.Tuple({key, value})});
  }
  SortByKey(rt, keyed, args.integer_or(3, 0) != 0);
  return ListOfItems(rt, std::move(keyed));
}

Value Items(Runtime& rt, Args& args) {
  return MakeIterator(MakeLazy(rt.heap(), [dict = args[0], i = std::size_t{0}](Value* item) mutable {
    if (dict.is_undefined()) return false;
    if (!dict.is(Kind::kDict)) Fail("Can only get item pairs from a mapping.");
    const DictMap& map = dict.as<DictObject>().map;
    if (i >= map.size()) return false;
    *item = MakeTuple(dict.object()->heap(), {map.entries()[i].first, map.entries()[i].second});
    ++i;
    return true;
  }));
}

Value Batch(Runtime& rt, Args& args) {
  // `held` is the item that the next batch begins with.
  return MakeIterator(MakeLazy(rt.heap(), [&rt, items = DeferredItems(args[0]), size = args[1], fill = args[2],
                                           held = Value()](Value* batch) mutable {
    const auto is_full = [&](const std::vector<Value>& row) {
      return Equal(rt.budget(), Value::Int(static_cast<std::int64_t>(row.size())), size);
    };
    std::vector<Value> row;
    if (!held.is_missing()) row.push_back(std::exchange(held, Value()));
    for (Value item; items.Next(rt.heap(), &item);) {
      if (is_full(row)) {
        held = std::move(item);
        *batch = rt.List(std::move(row));
        return true;
      }
      PushWithin(rt.budget(), row, std::move(item));
    }
    if (row.empty()) return false;
    if (!fill.is_missing() && !fill.is_none()) {
      if (!size.is_integral()) Fail("batch() needs an integer");
      while (static_cast<std::int64_t>(row.size()) < size.integer()) PushWithin(rt.budget(), row, Value(fill));
    }
    *batch = rt.List(std::move(row));
    return true;
  }));
}

Value Slice(Runtime& rt, Args& args) {
  const Value source = args[0];
  const Value slices_value = args[1];
  const Value fill = args[2];
  return MakeIterator(MakeLazy(rt.heap(), [&rt, source, slices_value, fill, all = Value(), number = std::int64_t{0},
                                           offset = std::int64_t{0}](Value* slice) mutable {
    if (all.is_missing()) {
      all = rt.List(ItemsFrom(rt.heap(), source));
      if (!slices_value.is_integral()) Fail("slice() needs an integer");
      if (slices_value.integer() == 0) Fail("division by zero");
    }
    const std::int64_t slices = slices_value.integer();
    if (number >= slices) return false;
    const auto length = static_cast<std::int64_t>(ItemsOf(all).size());
    const std::int64_t per_slice = length / slices;
    const std::int64_t with_extra = length % slices;
    const std::int64_t start = offset + number * per_slice;
    if (number < with_extra) ++offset;
    const std::int64_t end = offset + (number + 1) * per_slice;
    std::vector<Value> part(ItemsOf(all).begin() + start, ItemsOf(all).begin() + end);
    if (!fill.is_missing() && !fill.is_none() && number >= with_extra) part.push_back(fill);
    ++number;
    *slice = rt.List(std::move(part));
    return true;
  }));
}

Value GroupBy(Runtime& rt, Args& args) {
  const std::vector<Value> path = AttributePath(rt, args[1]);
  const Value fallback = args[2];
  const bool case_sensitive = args.truth_or(3, false);
  std::vector<Keyed> keyed = WithKeys(rt, args[0], path, fallback, case_sensitive);
  SortByKey(rt, keyed, false);
  std::vector<Value> groups;
  for (std::size_t i = 0; i < keyed.size();) {
    const Value key = keyed[i].key;
    const Value grouper = case_sensitive ? key : FollowPath(rt, keyed[i].item, path, fallback);
    std::vector<Value> members;
    do {
      members.push_back(std::move(keyed[i].item));
      ++i;
    } while (i < keyed.size() && Equal(rt.budget(), keyed[i].key, key));
    std::vector<Value> pair = {grouper, rt.List(std::move(members))};
    groups.push_back(Value(Kind::kTuple, rt.heap().New<SequenceObject>(std::move(pair), true)));
  }
  return rt.List(std::move(groups));
}

Value Default(Runtime& rt, Args& args) {
  const bool replace = args[0].is_undefined() || (args.truth_or(2, false) && !Truthy(args[0]));
  if (!replace) return args[0];
  return args.has(1) ? args[1] : rt.Text("");
}

Value Attr(Runtime& rt, Args& args) {
  const std::string& name = args.text(1);
  if (!HasAttribute(rt, args[0], name)) {
    return MakeUndefined(rt.heap(), "'" + std::string(TypeName(args[0])) + " object' has no attribute '" + name + "'");
  }
  return GetAttr(rt, args[0], name);
}

}  // namespace

const BuiltinTable& ListFilters() {
  static const BuiltinTable table({
      {"attr", Attr, {"obj", "name"}, 2},
      {"batch", Batch, {"value", "linecount", "fill_with"}, 2},
      {"count", Length, {"obj"}, 1, Builtin::kPositional},
      {"d", Default, {"value", "default_value", "boolean"}, 1},
      {"default", Default, {"value", "default_value", "boolean"}, 1},
      {"dictsort", DictSort, {"value", "case_sensitive", "by", "reverse"}, 1},
      {"first", First, {"seq"}, 1},
      {"groupby", GroupBy, {"value", "attribute", "default", "case_sensitive"}, 2},
      {"items", Items, {"value"}, 1},
      {"join", Join, {"value", "d", "attribute"}, 1},
      {"last", Last, {"seq"}, 1},
      {"length", Length, {"obj"}, 1, Builtin::kPositional},
      {"list", ListFilter, {"value"}, 1},
      {"max", Max, {"value", "case_sensitive", "attribute"}, 1},
      {"min", Min, {"value", "case_sensitive", "attribute"}, 1},
      {"reverse", Reverse, {"value"}, 1},
      {"slice", Slice, {"value", "slices", "fill_with"}, 2},
      {"sort", Sort, {"value", "reverse", "case_sensitive", "attribute"}, 1},
      {"sum", Sum, {"iterable", "attribute", "start"}, 1},
      {"unique", Unique, {"value", "case_sensitive", "attribute"}, 1},
  });
  return table;
}

}  // namespace quorum::tok::jinja
