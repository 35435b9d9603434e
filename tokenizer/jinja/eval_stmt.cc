#include <utility>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/eval.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/text.h"

namespace quorum::tok::jinja {
namespace {

// What a call or filter block makes goes out as it is, so it must be a string.
void AppendBlockResult(TextBuilder& out, const Value& result) {
  if (!result.is_string()) Fail("expected a string from the block, not '" + std::string(TypeName(result)) + "'");
  out.Append(TextOf(result));
}

}  // namespace

Interpreter::Interpreter(const Program& program, Heap& heap, std::int64_t now_unix)
    : Runtime(heap, now_unix),
      program_(program),
      context_(program.names.size()),
      strings_(static_cast<std::size_t>(program.string_count)) {}

std::string Interpreter::Run(const std::vector<std::pair<std::string, Value>>& variables) {
  for (std::size_t i = 0; i < program_.names.size(); ++i) {
    if (const Builtin* global = FindGlobal(program_.names[i])) context_[i] = Value::Function(global);
    for (const auto& [name, value] : variables) {
      if (name == program_.names[i]) context_[i] = value;
    }
  }
  const Ref<Activation> act = heap().New<Activation>(Ref<Activation>(), static_cast<std::size_t>(program_.slot_count));
  TextBuilder out(budget());
  EnterScope(program_.scope, *act);
  Exec(program_.body, *act, out);
  return out.Take();
}

void Interpreter::EnterScope(const Scope& scope, Activation& act) {
  budget().Items(scope.slots.size());  // for leaving it, too
  for (const ScopeLoad& load : scope.loads) {
    Value& slot = act.slots[static_cast<std::size_t>(load.slot)];
    switch (load.from) {
      case ScopeLoad::From::kContext: slot = context_[static_cast<std::size_t>(load.name)]; break;
      case ScopeLoad::From::kOuter:
        slot = Outwards(act, load.outer_hops).slots[static_cast<std::size_t>(load.outer_slot)];
        break;
      case ScopeLoad::From::kUndefined: slot = Value(); break;
    }
  }
}

void Interpreter::LeaveScope(const Scope& scope, Activation& act) {
  for (const int slot : scope.slots) act.slots[static_cast<std::size_t>(slot)] = Value();
}

Interpreter::Flow Interpreter::Exec(const Block& block, Activation& act, TextBuilder& out) {
  const Budget::Nested nested(budget());
  for (const StmtPtr& statement : block) {
    budget().Step();
    line_ = statement->line;
    const Flow flow = ExecStatement(*statement, act, out);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::ExecStatement(const Stmt& statement, Activation& act, TextBuilder& out) {
  switch (statement.kind) {
    case StmtKind::kOutput: ExecOutput(static_cast<const OutputStmt&>(statement), act, out); break;
    case StmtKind::kFor: return ExecFor(static_cast<const ForStmt&>(statement), act, out);
    case StmtKind::kIf: {
      const auto& branches = static_cast<const IfStmt&>(statement);
      for (const IfStmt::Branch& branch : branches.branches) {
        if (Truthy(Eval(*branch.condition, act))) return Exec(branch.body, act, out);
      }
      return Exec(branches.otherwise, act, out);
    }
    case StmtKind::kMacro: {
      const auto& macro = static_cast<const MacroStmt&>(statement);
      SlotOf(*macro.target, act) = Value(Kind::kMacro, heap().New<MacroObject>(macro.macro, Ref<Activation>(&act)));
      break;
    }
    case StmtKind::kSet: {
      const auto& set = static_cast<const SetStmt&>(statement);
      RequireNamespaces(*set.target, act);
      Assign(*set.target, Eval(*set.value, act), act);
      break;
    }
    case StmtKind::kSetBlock: return ExecSetBlock(static_cast<const SetBlockStmt&>(statement), act);
    case StmtKind::kCallBlock: ExecCallBlock(static_cast<const CallBlockStmt&>(statement), act, out); break;
    case StmtKind::kGeneration: {
      const MacroBody& body = static_cast<const GenerationStmt&>(statement).body;
      const Ref<MacroObject> macro = heap().New<MacroObject>(body, Ref<Activation>(&act));
      AppendStr(out, CallMacro(*macro, {}));
      break;
    }
    case StmtKind::kFilterBlock: return ExecFilterBlock(static_cast<const FilterBlockStmt&>(statement), act, out);
    case StmtKind::kWith: return ExecWith(static_cast<const WithStmt&>(statement), act, out);
    case StmtKind::kBreak: return Flow::kBreak;
    case StmtKind::kContinue: return Flow::kContinue;
  }
  return Flow::kNext;
}

void Interpreter::ExecOutput(const OutputStmt& output, Activation& act, TextBuilder& out) {
  for (const OutputStmt::Part& part : output.parts) {
    if (part.expr == nullptr) {
      out.Append(part.text);
    } else {
      AppendStr(out, Eval(*part.expr, act));
    }
  }
}

Interpreter::Flow Interpreter::ExecSetBlock(const SetBlockStmt& set, Activation& act) {
  EnterScope(set.scope, act);
  TextBuilder text(budget());
  const Flow flow = Exec(set.body, act, text);
  if (flow != Flow::kNext) return flow;  // a break or continue leaves the block before it has a value
  Value value = Text(text.Take());
  if (set.filter != nullptr) value = EvalFilter(static_cast<const FilterExpr&>(*set.filter), act, &value);
  RequireNamespaces(*set.target, act);
  Assign(*set.target, std::move(value), act);
  LeaveScope(set.scope, act);
  return Flow::kNext;
}

void Interpreter::ExecCallBlock(const CallBlockStmt& block, Activation& act, TextBuilder& out) {
  const Value caller(Kind::kMacro, heap().New<MacroObject>(block.caller, Ref<Activation>(&act)));
  AppendBlockResult(out, EvalCall(*block.call, act, caller));
}

Interpreter::Flow Interpreter::ExecFilterBlock(const FilterBlockStmt& block, Activation& act, TextBuilder& out) {
  EnterScope(block.scope, act);
  TextBuilder text(budget());
  const Flow flow = Exec(block.body, act, text);
  if (flow != Flow::kNext) return flow;
  const Value value = Text(text.Take());
  AppendBlockResult(out, EvalFilter(static_cast<const FilterExpr&>(*block.filter), act, &value));
  LeaveScope(block.scope, act);
  return Flow::kNext;
}

Interpreter::Flow Interpreter::ExecWith(const WithStmt& with, Activation& act, TextBuilder& out) {
  EnterScope(with.scope, act);
  for (const auto& [target, value] : with.variables) Assign(*target, Eval(*value, act), act);
  const Flow flow = Exec(with.body, act, out);
  LeaveScope(with.scope, act);
  return flow;
}

void Interpreter::RequireNamespaces(const Expr& target, Activation& act) {
  if (target.kind == ExprKind::kNamespaceRef) {
    if (!SlotOf(*static_cast<const NamespaceRefExpr&>(target).object, act).is(Kind::kNamespace)) {
      Fail("cannot assign attribute on non-namespace object");
    }
  } else if (target.kind == ExprKind::kTuple) {
    for (const ExprPtr& item : static_cast<const SequenceExpr&>(target).items) RequireNamespaces(*item, act);
  }
}

void Interpreter::Assign(const Expr& target, Value value, Activation& act) {
  switch (target.kind) {
    case ExprKind::kName: SlotOf(static_cast<const NameExpr&>(target), act) = std::move(value); break;
    case ExprKind::kNamespaceRef: {
      const auto& ref = static_cast<const NamespaceRefExpr&>(target);
      const Value object = SlotOf(*ref.object, act);
      if (!object.is(Kind::kNamespace)) Fail("cannot assign attribute on non-namespace object");
      if (ref.attribute[0] == '_') {
        Fail("cannot store underscore-prefixed attributes on a namespace, but got '" + ref.attribute + "'");
      }
      object.as<NamespaceObject>().Set(Text(ref.attribute), std::move(value));
      break;
    }
    default: AssignTuple(static_cast<const SequenceExpr&>(target), value, act); break;
  }
}

void Interpreter::AssignTuple(const SequenceExpr& target, const Value& value, Activation& act) {
  if (!IsIterable(value)) Fail("cannot unpack non-iterable " + std::string(TypeName(value)) + " object");
  const Ref<IteratorObject> iterator = Iterate(heap(), value);
  std::vector<Value> items;
  for (Value item; items.size() <= target.items.size() && iterator->Next(&item);) items.push_back(std::move(item));
  if (items.size() != target.items.size()) {
    Fail(items.size() < target.items.size()
             ? "not enough values to unpack (expected " + std::to_string(target.items.size()) + ", got " +
                   std::to_string(items.size()) + ")"
             : "too many values to unpack (expected " + std::to_string(target.items.size()) + ")");
  }
  for (std::size_t i = 0; i < items.size(); ++i) Assign(*target.items[i], std::move(items[i]), act);
}

}  // namespace quorum::tok::jinja
