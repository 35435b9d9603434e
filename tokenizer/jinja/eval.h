// Runs a template: walks its syntax tree.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/iter.h"

namespace quorum::tok::jinja {

/// One rendering of one template. Not thread-safe; the program is only read.
class Interpreter final : public Runtime {
 public:
  Interpreter(const Program& program, Heap& heap, std::int64_t now_unix);

  /// Renders with these variables (and the builtin functions). Once only.
  std::string Run(const std::vector<std::pair<std::string, Value>>& variables);

  /// The line of what ran last, for failures that do not know theirs.
  int line() const { return line_; }

  Value CallMacro(const MacroObject& macro, CallArgs args) override;
  Value CallLoop(LoopObject& loop, const Value& iterable) override;

 private:
  enum class Flow : std::uint8_t { kNext, kBreak, kContinue };

  // eval_expr.cc
  Value Eval(const Expr& expr, Activation& act);
  Value EvalConst(const ConstExpr& expr);
  Value EvalName(const NameExpr& expr, Activation& act);
  Value EvalSequence(const SequenceExpr& expr, Activation& act);
  Value EvalDict(const DictExpr& expr, Activation& act);
  Value EvalBinary(const BinaryExpr& expr, Activation& act);
  Value EvalLogic(const LogicExpr& expr, Activation& act);
  Value EvalCompare(const CompareExpr& expr, Activation& act);
  Value EvalConcat(const ConcatExpr& expr, Activation& act);
  Value EvalCond(const CondExpr& expr, Activation& act);
  Value EvalSlice(const SliceExpr& expr, Activation& act);
  Value EvalCall(const CallExpr& expr, Activation& act, const Value& caller);
  Value EvalFilter(const FilterExpr& expr, Activation& act, const Value* block_text);
  CallArgs EvalArgs(const ArgList& args, Activation& act, std::vector<Value> first);
  static Value& SlotOf(const NameExpr& expr, Activation& act);

  // eval_stmt.cc
  Flow Exec(const Block& block, Activation& act, TextBuilder& out);
  Flow ExecStatement(const Stmt& statement, Activation& act, TextBuilder& out);
  void ExecOutput(const OutputStmt& output, Activation& act, TextBuilder& out);
  Flow ExecSetBlock(const SetBlockStmt& set, Activation& act);
  void ExecCallBlock(const CallBlockStmt& block, Activation& act, TextBuilder& out);
  Flow ExecFilterBlock(const FilterBlockStmt& block, Activation& act, TextBuilder& out);
  Flow ExecWith(const WithStmt& with, Activation& act, TextBuilder& out);
  void Assign(const Expr& target, Value value, Activation& act);
  void AssignTuple(const SequenceExpr& target, const Value& value, Activation& act);
  void RequireNamespaces(const Expr& target, Activation& act);
  void EnterScope(const Scope& scope, Activation& act);
  static void LeaveScope(const Scope& scope, Activation& act);

  // eval_loop.cc
  Flow ExecFor(const ForStmt& loop, Activation& act, TextBuilder& out);
  std::string RunRecursive(const ForStmt& loop, const Ref<Activation>& outer, const Value& iterable,
                           std::int64_t depth0);
  /// The iterations. `outer` is where the test's function belongs; `own` has the loop's variables.
  Flow Iterations(const ForStmt& loop, Activation& outer, Activation& own, const Value& iterable, std::int64_t depth0,
                  TextBuilder& out);
  Ref<IteratorObject> Tested(const ForStmt& loop, Activation& outer, Ref<IteratorObject> items);
  Value Collect(const Expr& target, Activation& act);

  // eval_macro.cc
  std::string RunBody(const MacroBody& body, Activation& act);

  static Activation& Outwards(Activation& act, int hops);

  const Program& program_;
  std::vector<Value> context_;  // by index into Program::names
  std::vector<Value> strings_;  // string literals, made at first use
  int line_ = 0;
};

}  // namespace quorum::tok::jinja
