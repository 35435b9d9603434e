#include <algorithm>
#include <utility>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/eval.h"

namespace quorum::tok::jinja {
namespace {

// Takes the keyword argument `name` out of `args`; kMissing if there is none.
Value TakeKeyword(Budget& budget, CallArgs& args, const std::string& name) {
  budget.Items(args.keyword.size());
  const auto it =
      std::find_if(args.keyword.begin(), args.keyword.end(), [&](const auto& kw) { return kw.first == name; });
  if (it == args.keyword.end()) return {};
  Value value = std::move(it->second);
  args.keyword.erase(it);
  return value;
}

}  // namespace

Value Interpreter::CallMacro(const MacroObject& macro, CallArgs args) {
  const Budget::Call call(budget());
  const int line = line_;
  const MacroBody& body = macro.body;
  const Ref<Activation> act = heap().New<Activation>(macro.closure, static_cast<std::size_t>(body.slot_count));
  const auto slot = [&](int index) -> Value& { return act->slots[static_cast<std::size_t>(index)]; };
  const std::size_t params = body.params.size();
  for (std::size_t i = 0; i < params; ++i) {
    slot(body.params[i].slot) =
        i < args.positional.size() ? std::move(args.positional[i]) : TakeKeyword(budget(), args, body.params[i].name);
  }
  if (body.caller_slot >= 0) {
    Value caller = TakeKeyword(budget(), args, "caller");
    slot(body.caller_slot) =
        caller.is_missing() || caller.is_none() ? MakeUndefined(heap(), "No caller defined") : std::move(caller);
  }
  const std::string name = body.name.empty() ? "caller" : "macro '" + body.name + "'";
  if (body.kwargs_slot >= 0) {
    const Ref<DictObject> dict = heap().New<DictObject>();
    for (auto& [key, value] : args.keyword) dict->Set(Text(key), std::move(value));
    slot(body.kwargs_slot) = Value(Kind::kDict, dict);
  } else if (!args.keyword.empty()) {
    Fail(name + " takes no keyword argument '" + args.keyword.front().first + "'");
  }
  if (body.varargs_slot >= 0) {
    std::vector<Value> rest;
    for (std::size_t i = params; i < args.positional.size(); ++i) rest.push_back(std::move(args.positional[i]));
    slot(body.varargs_slot) = Tuple(std::move(rest));
  } else if (args.positional.size() > params) {
    Fail(name + " takes not more than " + std::to_string(params) + " argument(s)");
  }
  Value result = Text(RunBody(body, *act));
  line_ = line;
  return result;
}

std::string Interpreter::RunBody(const MacroBody& body, Activation& act) {
  EnterScope(body.scope, act);
  for (const MacroParam& param : body.params) {
    Value& value = act.slots[static_cast<std::size_t>(param.slot)];
    if (!value.is_missing()) continue;
    if (param.fallback == nullptr) {
      value = MakeUndefined(heap(), "parameter '" + param.name + "' was not provided");
    } else {
      Value fallback = Eval(*param.fallback, act);
      act.slots[static_cast<std::size_t>(param.slot)] = std::move(fallback);
    }
  }
  TextBuilder out(budget());
  Exec(body.statements, act, out);
  return out.Take();
}

}  // namespace quorum::tok::jinja
