#include "tokenizer/jinja/special.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/visit.h"

namespace quorum::tok::jinja {
namespace {

enum Special : std::uint8_t { kLoop, kCaller, kKwargs, kVarargs };
constexpr std::array<std::string_view, 4> kNames = {"loop", "caller", "kwargs", "varargs"};

// What a piece of template does first with each special variable.
struct FirstUse {
  enum What : std::uint8_t { kNone, kLoad, kStore };
  std::array<What, kNames.size()> uses = {};

  void Note(std::string_view name, What what) {
    for (std::size_t i = 0; i < kNames.size(); ++i) {
      if (name == kNames[i] && uses[i] == kNone) uses[i] = what;
    }
  }
  void Then(const FirstUse& later) {
    for (std::size_t i = 0; i < kNames.size(); ++i) {
      if (uses[i] == kNone) uses[i] = later.uses[i];
    }
  }
  int SlotMark(Special special) const { return uses[special] == kLoad ? 0 : -1; }
};

class Marker {
 public:
  FirstUse Statements(Block& block) {
    FirstUse use;
    for (const StmtPtr& statement : block) Statement(statement.get(), &use);
    return use;
  }

 private:
  static void Loads(Expr* expr, FirstUse* use) {
    VisitExpressions(expr, false, [use](Expr& node, bool) {
      if (node.kind == ExprKind::kName) use->Note(static_cast<NameExpr&>(node).name, FirstUse::kLoad);
    });
  }

  // The target of an assignment; `parameter` for that of a with block, which may be called loop.
  void Target(Expr* target, FirstUse* use, bool parameter = false) const {
    VisitExpressions(target, false, [&](Expr& node, bool) {
      if (node.kind != ExprKind::kName) return;
      const std::string& name = static_cast<NameExpr&>(node).name;
      if (name == "loop" && loops_ > 0 && !parameter) FailAt(node.line, "cannot assign to 'loop' inside a loop");
      use->Note(name, FirstUse::kStore);
    });
  }

  void Function(MacroBody* macro, FirstUse* use) {
    for (const MacroParam& param : macro->params) use->Note(param.name, FirstUse::kStore);
    for (const MacroParam& param : macro->params) Loads(param.fallback.get(), use);
    const FirstUse body = Statements(macro->statements);
    macro->caller_slot = body.SlotMark(kCaller);
    macro->kwargs_slot = body.SlotMark(kKwargs);
    macro->varargs_slot = body.SlotMark(kVarargs);
    use->Then(body);
  }

  void For(ForStmt* loop, FirstUse* use) {
    ++loops_;
    Target(loop->target.get(), use);
    Loads(loop->iterable.get(), use);
    const FirstUse body = Statements(loop->body);
    loop->loop_slot = loop->recursive ? 0 : body.SlotMark(kLoop);
    use->Then(body);
    use->Then(Statements(loop->otherwise));
    Loads(loop->test.get(), use);
    --loops_;
  }

  void Statement(Stmt* statement, FirstUse* use) {
    switch (statement->kind) {
      case StmtKind::kOutput:
        for (auto& part : static_cast<OutputStmt*>(statement)->parts) Loads(part.expr.get(), use);
        break;
      case StmtKind::kSet:
        Target(static_cast<SetStmt*>(statement)->target.get(), use);
        Loads(static_cast<SetStmt*>(statement)->value.get(), use);
        break;
      case StmtKind::kSetBlock: {
        auto* set = static_cast<SetBlockStmt*>(statement);
        Target(set->target.get(), use);
        Loads(set->filter.get(), use);
        use->Then(Statements(set->body));
        break;
      }
      case StmtKind::kIf: {
        auto* branches = static_cast<IfStmt*>(statement);
        for (IfStmt::Branch& branch : branches->branches) {
          Loads(branch.condition.get(), use);
          use->Then(Statements(branch.body));
        }
        use->Then(Statements(branches->otherwise));
        break;
      }
      case StmtKind::kFor: For(static_cast<ForStmt*>(statement), use); break;
      case StmtKind::kMacro: Function(&static_cast<MacroStmt*>(statement)->macro, use); break;
      case StmtKind::kCallBlock: {
        auto* block = static_cast<CallBlockStmt*>(statement);
        Loads(block->call.get(), use);
        Function(&block->caller, use);
        break;
      }
      case StmtKind::kGeneration: Function(&static_cast<GenerationStmt*>(statement)->body, use); break;
      case StmtKind::kFilterBlock: {
        auto* block = static_cast<FilterBlockStmt*>(statement);
        use->Then(Statements(block->body));
        Loads(block->filter.get(), use);
        break;
      }
      case StmtKind::kWith: {
        auto* with = static_cast<WithStmt*>(statement);
        for (const auto& [target, value] : with->variables) Target(target.get(), use, true);
        for (const auto& [target, value] : with->variables) Loads(value.get(), use);
        use->Then(Statements(with->body));
        break;
      }
      case StmtKind::kBreak:
      case StmtKind::kContinue: break;
    }
  }

  int loops_ = 0;  // around the current place
};

}  // namespace

void MarkSpecialVariables(Program* program) { Marker().Statements(program->body); }

}  // namespace quorum::tok::jinja
