#include "tokenizer/jinja/builtin.h"

#include <algorithm>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/ops.h"

namespace quorum::tok::jinja {
namespace {

std::string Quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

std::size_t ParamCount(const Builtin& builtin) {
  const auto end = std::find(builtin.params.begin(), builtin.params.end(), std::string_view());
  return static_cast<std::size_t>(end - builtin.params.begin());
}

void BindKeyword(const Builtin& builtin, std::size_t params, std::string name, Value value, Args& args) {
  const auto end = builtin.params.begin() + static_cast<std::ptrdiff_t>(params);
  const auto found = builtin.style == Builtin::kPositional ? end : std::find(builtin.params.begin(), end, name);
  if (found != end) {
    const auto i = static_cast<std::size_t>(found - builtin.params.begin());
    if (args.has(i)) Fail(std::string(builtin.name) + "() got multiple values for argument " + Quoted(name));
    args[i] = std::move(value);
  } else if (builtin.style == Builtin::kVariadic) {
    args.keyword.emplace_back(std::move(name), std::move(value));
  } else {
    Fail(std::string(builtin.name) + "() got an unexpected keyword argument " + Quoted(name));
  }
}

Value CallLoopObject(Runtime& rt, LoopObject& loop, CallArgs args) {
  if (args.positional.size() != 1 || !args.keyword.empty()) Fail("loop() takes exactly one argument");
  if (loop.recursive == nullptr) Fail("The loop must have the 'recursive' marker to be called recursively.");
  return rt.CallLoop(loop, args.positional[0]);
}

Value CallJoiner(Runtime& rt, JoinerObject& joiner, const CallArgs& args) {
  if (!args.positional.empty() || !args.keyword.empty()) Fail("a joiner takes no arguments");
  if (joiner.used) return joiner.separator;
  joiner.used = true;
  return rt.Text("");
}

}  // namespace

const std::string& Args::text(std::size_t i) const {
  const Value& value = values_[i];
  if (value.is_undefined()) FailUndefined(value);
  if (!value.is_string()) Fail("expected a string, not '" + std::string(TypeName(value)) + "'");
  return TextOf(value);
}

std::int64_t Args::integer(std::size_t i) const {
  const Value& value = values_[i];
  if (value.is_undefined()) FailUndefined(value);
  if (!value.is_integral()) {
    Fail("'" + std::string(TypeName(value)) + "' object cannot be interpreted as an integer");
  }
  return value.integer();
}

bool Args::truth_or(std::size_t i, bool fallback) const { return has(i) ? Truthy(values_[i]) : fallback; }

Value Invoke(Runtime& rt, const Builtin& builtin, CallArgs call) {
  rt.budget().Step();
  const std::size_t params = ParamCount(builtin);
  Args args;
  for (std::size_t i = 0; i < call.positional.size(); ++i) {
    if (i < params) {
      args[i] = std::move(call.positional[i]);
    } else if (builtin.style == Builtin::kVariadic) {
      args.rest.push_back(std::move(call.positional[i]));
    } else {
      Fail(std::string(builtin.name) + "() takes at most " + std::to_string(params) + " arguments (" +
           std::to_string(call.positional.size()) + " given)");
    }
  }
  for (auto& [name, value] : call.keyword) BindKeyword(builtin, params, std::move(name), std::move(value), args);
  for (std::size_t i = 0; i < builtin.required; ++i) {
    if (!args.has(i)) {
      Fail(std::string(builtin.name) + "() missing required argument " + Quoted(builtin.params[i]));
    }
  }
  return builtin.run(rt, args);
}

Value Call(Runtime& rt, const Value& callee, CallArgs args) {
  switch (callee.kind()) {
    case Kind::kFunction: return Invoke(rt, *callee.function(), std::move(args));
    case Kind::kMethod: {
      const auto& method = callee.as<MethodObject>();
      args.positional.insert(args.positional.begin(), method.self);
      return Invoke(rt, *method.function, std::move(args));
    }
    case Kind::kMacro: {
      const Ref<MacroObject> macro(&callee.as<MacroObject>());  // kept alive: its variable may be set while it runs
      return rt.CallMacro(*macro, std::move(args));
    }
    case Kind::kLoop: {
      const Ref<LoopObject> loop(&callee.as<LoopObject>());
      return CallLoopObject(rt, *loop, std::move(args));
    }
    case Kind::kJoiner: return CallJoiner(rt, callee.as<JoinerObject>(), args);
    case Kind::kUndefined: FailUndefined(callee);
    default: Fail("'" + std::string(TypeName(callee)) + "' object is not callable");
  }
}

BuiltinTable::BuiltinTable(std::vector<Builtin> builtins) : builtins_(std::move(builtins)) {
  std::sort(builtins_.begin(), builtins_.end(), [](const Builtin& a, const Builtin& b) { return a.name < b.name; });
}

const Builtin* BuiltinTable::Find(std::string_view name) const {
  const auto it = std::lower_bound(builtins_.begin(), builtins_.end(), name,
                                   [](const Builtin& builtin, std::string_view n) { return builtin.name < n; });
  return it != builtins_.end() && it->name == name ? &*it : nullptr;
}

const Builtin* FindFilter(std::string_view name) {
  for (const BuiltinTable* table : {&TextFilters(), &ListFilters(), &SelectFilters(), &NumberFilters()}) {
    if (const Builtin* found = table->Find(name)) return found;
  }
  return nullptr;
}

const Builtin* FindTest(std::string_view name) { return Tests().Find(name); }
const Builtin* FindGlobal(std::string_view name) { return Globals().Find(name); }

const Builtin* FindMethod(const Value& value, std::string_view name) {
  if (!value.is_string()) return ContainerMethods(value.kind()).Find(name);
  if (const Builtin* found = TextMethods().Find(name)) return found;
  return TextTestMethods().Find(name);
}

}  // namespace quorum::tok::jinja
