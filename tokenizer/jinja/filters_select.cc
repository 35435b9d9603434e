// Filters that apply another filter or a test to every item: map, select, reject and their attribute forms.
#include <algorithm>
#include <string>
#include <utility>

#include "tokenizer/jinja/access.h"
#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/iter.h"
#include "tokenizer/jinja/ops.h"

namespace quorum::tok::jinja {
namespace {

// A call by name of a filter or test, with the arguments after the first.
struct NamedCall {
  Value name;
  CallArgs args;

  Value operator()(Runtime& rt, const char* what, const Builtin* (*find)(std::string_view),
                   const Value& subject) const {
    const Builtin* builtin = name.is_string() ? find(TextOf(name)) : nullptr;
    if (builtin == nullptr) {
      Fail(std::string("no ") + what + " named " + (name.is_string() ? "'" + TextOf(name) + "'" : "so (not a string)"));
    }
    CallArgs call = args;
    call.positional.insert(call.positional.begin(), subject);
    return Invoke(rt, *builtin, std::move(call));
  }
};

Value TakeKeyword(std::vector<std::pair<std::string, Value>>& keyword, std::string_view name) {
  for (auto it = keyword.begin(); it != keyword.end(); ++it) {
    if (it->first != name) continue;
    Value value = std::move(it->second);
    keyword.erase(it);
    return value;
  }
  return {};
}

// Splits what follows the subject into a name and its arguments, from `begin` on; no name if there is nothing.
NamedCall MakeNamedCall(Args& args, std::size_t begin) {
  NamedCall call;
  if (args.rest.size() > begin) call.name = args.rest[begin];
  for (std::size_t i = begin + 1; i < args.rest.size(); ++i) call.args.positional.push_back(std::move(args.rest[i]));
  call.args.keyword = std::move(args.keyword);
  return call;
}

Value MapAttribute(Runtime& rt, Args& args) {
  const Value attribute = TakeKeyword(args.keyword, "attribute");
  const Value fallback = TakeKeyword(args.keyword, "default");
  const std::string unexpected = args.keyword.empty() ? "" : args.keyword.front().first;
  return MakeIterator(MakeLazy(rt.heap(), [&rt, items = DeferredItems(args[0]), path = AttributePath(rt, attribute),
                                           fallback, unexpected](Value* item) mutable {
    if (!Truthy(items.source())) return false;
    if (!unexpected.empty()) Fail("Unexpected keyword argument '" + unexpected + "'");
    Value source;
    if (!items.Next(rt.heap(), &source)) return false;
    *item = FollowPath(rt, source, path, fallback);
    return true;
  }));
}

Value Map(Runtime& rt, Args& args) {
  const bool by_attribute = args.rest.empty() && !args.keyword.empty() &&
                            std::any_of(args.keyword.begin(), args.keyword.end(),
                                        [](const auto& keyword) { return keyword.first == "attribute"; });
  if (by_attribute) return MapAttribute(rt, args);
  return MakeIterator(
      MakeLazy(rt.heap(), [&rt, items = DeferredItems(args[0]), call = MakeNamedCall(args, 0)](Value* item) mutable {
        if (!Truthy(items.source())) return false;
        if (call.name.is_missing()) Fail("map requires a filter argument");
        Value source;
        if (!items.Next(rt.heap(), &source)) return false;
        *item = call(rt, "filter", FindFilter, source);
        return true;
      }));
}

Value SelectOrReject(Runtime& rt, Args& args, bool select, bool by_attribute) {
  const bool no_attribute = by_attribute && args.rest.empty();
  std::vector<Value> path;
  if (by_attribute && !no_attribute) path = AttributePath(rt, args.rest[0]);
  return MakeIterator(
      MakeLazy(rt.heap(), [&rt, items = DeferredItems(args[0]), call = MakeNamedCall(args, by_attribute ? 1 : 0),
                           path = std::move(path), select, no_attribute](Value* item) mutable {
        if (!Truthy(items.source())) return false;
        if (no_attribute) Fail("Missing parameter for attribute name");
        while (items.Next(rt.heap(), item)) {
          const Value subject = FollowPath(rt, *item, path);
          const bool holds = Truthy(call.name.is_missing() ? subject : call(rt, "test", FindTest, subject));
          if (holds == select) return true;
        }
        return false;
      }));
}

Value Select(Runtime& rt, Args& args) { return SelectOrReject(rt, args, true, false); }
Value Reject(Runtime& rt, Args& args) { return SelectOrReject(rt, args, false, false); }
Value SelectAttr(Runtime& rt, Args& args) { return SelectOrReject(rt, args, true, true); }
Value RejectAttr(Runtime& rt, Args& args) { return SelectOrReject(rt, args, false, true); }

}  // namespace

const BuiltinTable& SelectFilters() {
  static const BuiltinTable table({
      {"map", Map, {"value"}, 1, Builtin::kVariadic},
      {"reject", Reject, {"value"}, 1, Builtin::kVariadic},
      {"rejectattr", RejectAttr, {"value"}, 1, Builtin::kVariadic},
      {"select", Select, {"value"}, 1, Builtin::kVariadic},
      {"selectattr", SelectAttr, {"value"}, 1, Builtin::kVariadic},
  });
  return table;
}

}  // namespace quorum::tok::jinja
