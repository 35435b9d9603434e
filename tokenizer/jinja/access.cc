#include "tokenizer/jinja/access.h"

#include <algorithm>
#include <array>
#include <string>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/macro.h"
#include "tokenizer/jinja/number.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/text.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

// Methods that change their object: present, but not for templates.
constexpr std::array<std::string_view, 8> kListChanges = {"append", "clear",  "extend",  "insert",
                                                          "pop",    "remove", "reverse", "sort"};
constexpr std::array<std::string_view, 5> kDictChanges = {"clear", "pop", "popitem", "setdefault", "update"};

bool IsUnsafe(const Value& value, std::string_view name) {
  if (name.size() > 4 && name.substr(0, 2) == "__" && name.substr(name.size() - 2) == "__") return true;
  const auto among = [name](const auto& names) { return std::find(names.begin(), names.end(), name) != names.end(); };
  return (value.is(Kind::kList) && among(kListChanges)) || (value.is(Kind::kDict) && among(kDictChanges));
}

Value UnsafeAttribute(Runtime& rt, const Value& value, std::string_view name) {
  return MakeUndefined(rt.heap(), "access to attribute '" + std::string(name) + "' of '" +
                                      std::string(TypeName(value)) + "' object is unsafe.");
}

// "None" or "dict object", as Jinja names the owner of what is missing.
std::string OwnerName(const Value& value) {
  return value.is_none() ? std::string("None") : std::string(TypeName(value)) + " object";
}

Value NoAttribute(Runtime& rt, const Value& value, std::string_view name) {
  return MakeUndefined(rt.heap(), "'" + OwnerName(value) + "' has no attribute '" + std::string(name) + "'");
}

Value NoElement(Runtime& rt, const Value& value, const Value& key) {
  if (key.is_string()) return NoAttribute(rt, value, TextOf(key));
  TextBuilder shown(rt.budget());
  if (key.is_number() || key.is_none()) AppendRepr(shown, key);
  return MakeUndefined(rt.heap(), OwnerName(value) + " has no element " + shown.text());
}

Value LoopAttribute(Runtime& rt, const Value& value, std::string_view name) {
  auto& loop = value.as<LoopObject>();
  if (name == "index") return Value::Int(loop.index0 + 1);
  if (name == "index0") return Value::Int(loop.index0);
  if (name == "first") return Value::Bool(loop.index0 == 0);
  if (name == "last") return Value::Bool(loop.Peek() == nullptr);
  if (name == "length") return Value::Int(loop.Length());
  if (name == "revindex") return Value::Int(loop.Length() - loop.index0);
  if (name == "revindex0") return Value::Int(loop.Length() - loop.index0 - 1);
  if (name == "depth") return Value::Int(loop.depth0 + 1);
  if (name == "depth0") return Value::Int(loop.depth0);
  if (name == "previtem") {
    return loop.index0 == 0 ? MakeUndefined(rt.heap(), "there is no previous item") : loop.previous;
  }
  if (name == "nextitem") {
    const Value* next = loop.Peek();
    return next == nullptr ? MakeUndefined(rt.heap(), "there is no next item") : *next;
  }
  return {};
}

Value MacroAttribute(Runtime& rt, const MacroObject& macro, std::string_view name) {
  const MacroBody& body = macro.body;
  if (name == "name") return body.name.empty() ? Value::None() : rt.Text(body.name);
  if (name == "catch_kwargs") return Value::Bool(body.kwargs_slot >= 0);
  if (name == "catch_varargs") return Value::Bool(body.varargs_slot >= 0);
  if (name == "caller") return Value::Bool(body.caller_slot >= 0);
  if (name == "arguments") {
    std::vector<Value> names;
    names.reserve(body.params.size());
    for (const MacroParam& param : body.params) names.push_back(rt.Text(param.name));
    return rt.Tuple(std::move(names));
  }
  return {};
}

// The attribute `name` of `value`, methods included; kMissing if there is none.
Value Attribute(Runtime& rt, const Value& value, std::string_view name) {
  if (value.is_undefined()) FailUndefined(value);
  if (IsUnsafe(value, name)) return UnsafeAttribute(rt, value, name);
  Value found;
  switch (value.kind()) {
    case Kind::kNamespace:
      if (const Value* entry = value.as<NamespaceObject>().map.Find(rt.budget(), name)) return *entry;
      return {};
    case Kind::kLoop: found = LoopAttribute(rt, value, name); break;
    case Kind::kMacro: return MacroAttribute(rt, value.as<MacroObject>(), name);
    case Kind::kRange:
      if (name == "start") return Value::Int(value.as<RangeObject>().start);
      if (name == "stop") return Value::Int(value.as<RangeObject>().stop);
      if (name == "step") return Value::Int(value.as<RangeObject>().step);
      break;
    case Kind::kTuple:
      if (value.as<SequenceObject>().group && (name == "grouper" || name == "list")) {
        return ItemsOf(value)[name == "grouper" ? 0 : 1];
      }
      break;
    case Kind::kCycler:
      if (name == "current") return value.as<CyclerObject>().items[value.as<CyclerObject>().position];
      if (name == "pos") return Value::Int(static_cast<std::int64_t>(value.as<CyclerObject>().position));
      if (name == "items") return rt.Tuple(value.as<CyclerObject>().items);
      break;
    case Kind::kJoiner:
      if (name == "sep") return value.as<JoinerObject>().separator;
      if (name == "used") return Value::Bool(value.as<JoinerObject>().used);
      return {};
    default: break;
  }
  if (!found.is_missing()) return found;
  if (const Builtin* method = FindMethod(value, name)) {
    return Value(Kind::kMethod, rt.heap().New<MethodObject>(value, method));
  }
  return {};
}

// value[key] without fallback; kMissing where Python raises a type or lookup error.
Value Item(Runtime& rt, const Value& value, const Value& key) {
  switch (value.kind()) {
    case Kind::kUndefined: FailUndefined(value);
    case Kind::kDict: {
      if (key.is(Kind::kList) || key.is(Kind::kDict)) return {};
      const Value* found = value.as<DictObject>().map.Find(rt.budget(), key);
      return found == nullptr ? Value() : *found;
    }
    case Kind::kString:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kRange: break;
    default: return {};
  }
  if (!key.is_integral()) return {};
  const std::int64_t length = LengthOf(value);
  const std::int64_t index = key.integer() < 0 ? key.integer() + length : key.integer();
  if (index < 0 || index >= length) return {};
  if (value.is(Kind::kRange)) return Value::Int(value.as<RangeObject>().at(index));
  if (!value.is_string()) return ItemsOf(value)[static_cast<std::size_t>(index)];
  const std::string& text = TextOf(value);
  std::size_t begin = static_cast<std::size_t>(index);
  if (!value.as<StringObject>().is_ascii()) {
    begin = ByteOffset(text, begin);
    rt.budget().Characters(begin);
  }
  std::size_t end = begin;
  DecodeAt(text, &end);
  return rt.Text(text.substr(begin, end - begin), IsMarkup(value));
}

std::int64_t SlicePart(const Value& part, std::int64_t fallback) {
  if (part.is_missing() || part.is_none()) return fallback;
  if (part.is_undefined()) FailUndefined(part);
  if (!part.is_integral()) Fail("slice indices must be integers or None or have an __index__ method");
  return part.integer();
}

struct SliceRange {
  std::size_t at(std::int64_t i) const { return static_cast<std::size_t>(start + i * step); }

  std::int64_t start;
  std::int64_t stop;
  std::int64_t step;
  std::int64_t count;
};

// PySlice_AdjustIndices.
SliceRange Resolve(std::int64_t length, const Value& start_value, const Value& stop_value, const Value& step_value) {
  const std::int64_t step = std::max(SlicePart(step_value, 1), -INT64_MAX);
  if (step == 0) Fail("slice step cannot be zero");
  const auto clamp = [&](std::int64_t index) {
    if (index < 0) return std::max<std::int64_t>(index + length, step < 0 ? -1 : 0);
    return std::min(index, step < 0 ? length - 1 : length);
  };
  const std::int64_t start = clamp(SlicePart(start_value, step < 0 ? INT64_MAX : 0));
  const bool no_stop = stop_value.is_missing() || stop_value.is_none();
  const std::int64_t stop = no_stop ? (step < 0 ? -1 : length) : clamp(SlicePart(stop_value, 0));
  std::int64_t count = 0;
  if (step > 0 && start < stop) count = (stop - start - 1) / step + 1;
  if (step < 0 && start > stop) count = (start - stop - 1) / -step + 1;
  return {start, stop, step, count};
}

Value SliceText(Runtime& rt, const Value& value, const SliceRange& slice) {
  const std::string& text = TextOf(value);
  const auto start = static_cast<std::size_t>(slice.start);
  const auto count = static_cast<std::size_t>(slice.count);
  const bool ascii = value.as<StringObject>().is_ascii();
  if (!ascii) rt.budget().Characters(text.size());
  if (slice.step == 1) {
    const std::size_t begin = ascii ? start : ByteOffset(text, start);
    const std::size_t size = ascii ? count : ByteOffset(std::string_view(text).substr(begin), count);
    return rt.Text(text.substr(begin, size), IsMarkup(value));
  }
  rt.budget().Characters(count);
  std::string out;
  if (ascii) {
    out.reserve(count);
    for (std::int64_t i = 0; i < slice.count; ++i) out.push_back(text[slice.at(i)]);
    return rt.Text(std::move(out), IsMarkup(value));
  }
  rt.budget().CheckSize(text.size());
  rt.budget().Allocate(value.as<StringObject>().length() * sizeof(char32_t));
  std::u32string decoded;
  decoded.reserve(value.as<StringObject>().length());
  for (std::size_t pos = 0; pos < text.size();) decoded.push_back(DecodeAt(text, &pos));
  for (std::int64_t i = 0; i < slice.count; ++i) AppendUtf8(&out, decoded[slice.at(i)]);
  rt.budget().Release(value.as<StringObject>().length() * sizeof(char32_t));
  return rt.Text(std::move(out), IsMarkup(value));
}

Value SliceRangeObject(Runtime& rt, const RangeObject& range, const Value& start, const Value& stop,
                       const Value& step) {
  const SliceRange slice = Resolve(range.length, start, stop, step);
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::int64_t stride = 0;
  if (__builtin_mul_overflow(slice.start, range.step, &first) || __builtin_add_overflow(first, range.start, &first) ||
      __builtin_mul_overflow(slice.stop, range.step, &last) || __builtin_add_overflow(last, range.start, &last) ||
      __builtin_mul_overflow(slice.step, range.step, &stride)) {
    Fail("range slice out of bounds");
  }
  return Value(Kind::kRange, rt.heap().New<RangeObject>(first, last, stride));
}

}  // namespace

Value GetAttr(Runtime& rt, const Value& value, std::string_view name) {
  Value found = Attribute(rt, value, name);
  if (!found.is_missing()) return found;
  if (value.is(Kind::kDict)) {
    if (const Value* entry = value.as<DictObject>().map.Find(rt.budget(), name)) return *entry;
  }
  return NoAttribute(rt, value, name);
}

Value GetItem(Runtime& rt, const Value& value, const Value& key) {
  Value found = Item(rt, value, key);
  if (found.is_missing() && key.is_string()) found = Attribute(rt, value, TextOf(key));
  return found.is_missing() ? NoElement(rt, value, key) : found;
}

Value GetSlice(Runtime& rt, const Value& value, const Value& start, const Value& stop, const Value& step) {
  switch (value.kind()) {
    case Kind::kString: return SliceText(rt, value, Resolve(LengthOf(value), start, stop, step));
    case Kind::kList:
    case Kind::kTuple: {
      const SliceRange slice = Resolve(LengthOf(value), start, stop, step);
      rt.budget().Items(static_cast<std::size_t>(slice.count));
      std::vector<Value> items;
      items.reserve(static_cast<std::size_t>(slice.count));
      for (std::int64_t i = 0; i < slice.count; ++i) items.push_back(ItemsOf(value)[slice.at(i)]);
      return value.is(Kind::kList) ? rt.List(std::move(items)) : rt.Tuple(std::move(items));
    }
    case Kind::kRange: return SliceRangeObject(rt, value.as<RangeObject>(), start, stop, step);
    case Kind::kUndefined: FailUndefined(value);
    default: Fail("'" + std::string(TypeName(value)) + "' object is not subscriptable");
  }
}

std::vector<Value> AttributePath(Runtime& rt, const Value& attribute) {
  if (attribute.is_missing() || attribute.is_none()) return {};
  if (!attribute.is_string()) return {attribute};
  std::vector<Value> path;
  const std::string_view text = TextOf(attribute);
  for (std::size_t begin = 0; begin <= text.size();) {
    rt.budget().Step();
    const std::size_t end = std::min(text.find('.', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    bool too_large = false;
    const bool digits = !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    const auto index = digits ? ParseInt(part, 10, &too_large) : std::nullopt;
    path.push_back(index ? Value::Int(*index) : rt.Text(std::string(part)));
    begin = end + 1;
  }
  return path;
}

Value FollowPath(Runtime& rt, Value value, const std::vector<Value>& path, const Value& fallback) {
  const bool has_fallback = !fallback.is_missing() && !fallback.is_none();
  for (const Value& key : path) {
    rt.budget().Step();
    value = GetItem(rt, value, key);
    if (has_fallback && value.is_undefined()) value = fallback;
  }
  return value;
}

bool HasAttribute(Runtime& rt, const Value& value, std::string_view name) {
  return !Attribute(rt, value, name).is_missing();
}

}  // namespace quorum::tok::jinja
