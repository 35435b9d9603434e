#include <utility>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/eval.h"
#include "tokenizer/jinja/ops.h"

namespace quorum::tok::jinja {

Interpreter::Flow Interpreter::ExecFor(const ForStmt& loop, Activation& act, TextBuilder& out) {
  const Value iterable = Eval(*loop.iterable, act);
  if (loop.recursive) {
    out.Append(RunRecursive(loop, Ref<Activation>(&act), iterable, 0));
    return Flow::kNext;
  }
  return Iterations(loop, act, act, iterable, 0, out);
}

Value Interpreter::CallLoop(LoopObject& loop, const Value& iterable) {
  const int line = line_;
  Value result = Text(RunRecursive(*loop.recursive, loop.closure, iterable, loop.depth0 + 1));
  line_ = line;
  return result;
}

std::string Interpreter::RunRecursive(const ForStmt& loop, const Ref<Activation>& outer, const Value& iterable,
                                      std::int64_t depth0) {
  const Budget::Call call(budget());
  const Ref<Activation> own = heap().New<Activation>(outer, static_cast<std::size_t>(loop.slot_count));
  TextBuilder out(budget());
  Iterations(loop, *outer, *own, iterable, depth0, out);
  return out.Take();
}

Interpreter::Flow Interpreter::Iterations(const ForStmt& loop, Activation& outer, Activation& own,
                                          const Value& iterable, std::int64_t depth0, TextBuilder& out) {
  Ref<IteratorObject> items = Iterate(heap(), iterable);
  Value countable = iterable;  // what loop.length asks first
  if (loop.test != nullptr) {
    items = Tested(loop, outer, std::move(items));
    countable = MakeIterator(items);
  }
  Ref<LoopObject> variable;
  if (loop.loop_slot >= 0) {
    variable = heap().New<LoopObject>(countable, items, depth0);
    if (loop.recursive) {
      variable->recursive = &loop;
      variable->closure = Ref<Activation>(&outer);
    }
  }
  bool completed = false;  // some iteration came to its end: as in Jinja, the else part looks at nothing else
  for (Value item;;) {
    budget().Step();
    if (variable ? !variable->Advance(&item) : !items->Next(&item)) break;
    Assign(*loop.target, std::move(item), own);
    if (variable) own.slots[static_cast<std::size_t>(loop.loop_slot)] = Value(Kind::kLoop, variable);
    EnterScope(loop.body_scope, own);
    const Flow flow = Exec(loop.body, own, out);
    if (flow == Flow::kBreak) break;
    if (flow == Flow::kNext) completed = true;
    line_ = loop.line;
  }
  LeaveScope(loop.body_scope, own);
  if (!loop.has_otherwise || completed) return Flow::kNext;
  EnterScope(loop.otherwise_scope, own);
  const Flow flow = Exec(loop.otherwise, own, out);
  LeaveScope(loop.otherwise_scope, own);
  return flow;
}

// The items that pass the loop's test. The test is a function of its own, run when the loop asks for its next item.
Ref<IteratorObject> Interpreter::Tested(const ForStmt& loop, Activation& outer, Ref<IteratorObject> items) {
  const Ref<Activation> act =
      heap().New<Activation>(Ref<Activation>(&outer), static_cast<std::size_t>(loop.test_slot_count));
  EnterScope(loop.test_scope, *act);
  return MakeLazy(heap(), [this, &loop, act, items = std::move(items)](Value* item) {
    for (Value candidate; items->Next(&candidate);) {
      Assign(*loop.test_target, std::move(candidate), *act);
      if (Truthy(Eval(*loop.test, *act))) {
        *item = Collect(*loop.test_target, *act);
        return true;
      }
    }
    return false;
  });
}

// What was assigned to `target`, a tuple where it is a tuple.
Value Interpreter::Collect(const Expr& target, Activation& act) {
  if (target.kind == ExprKind::kName) return SlotOf(static_cast<const NameExpr&>(target), act);
  const std::vector<ExprPtr>& targets = static_cast<const SequenceExpr&>(target).items;
  std::vector<Value> items;
  items.reserve(targets.size());
  for (const ExprPtr& item : targets) items.push_back(Collect(*item, act));
  return Tuple(std::move(items));
}

}  // namespace quorum::tok::jinja
