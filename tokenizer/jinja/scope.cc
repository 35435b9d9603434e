#include "tokenizer/jinja/scope.h"

#include <unordered_map>
#include <utility>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/special.h"
#include "tokenizer/jinja/visit.h"

namespace quorum::tok::jinja {
namespace {

// A function at run time: it has one activation, with the slots of all its scopes.
struct Function {
  Function* outer = nullptr;
  int level = 0;
  int slots = 0;
};

// A target with the same names, to be bound elsewhere.
ExprPtr CloneTarget(const Expr& target) {
  if (target.kind == ExprKind::kName) {
    return std::make_unique<NameExpr>(target.line, static_cast<const NameExpr&>(target).name);
  }
  auto copy = std::make_unique<SequenceExpr>(ExprKind::kTuple, target.line);
  copy->depth = target.depth;
  for (const ExprPtr& item : static_cast<const SequenceExpr&>(target).items) copy->items.push_back(CloneTarget(*item));
  return copy;
}

// One scope while it is being resolved.
class Frame {
 public:
  Frame(Frame* outer, Function* function, Scope* scope, std::vector<std::string>* context_names,
        std::unordered_map<std::string, int>* context_index)
      : outer_(outer),
        function_(function),
        scope_(scope),
        context_names_(context_names),
        context_index_(context_index) {}

  Frame Inner(Function* function, Scope* scope) { return Frame(this, function, scope, context_names_, context_index_); }

  Function* function() const { return function_; }

  void DeclareParameter(const std::string& name) { Define(name); }

  void Load(const std::string& name) {
    if (Find(name).frame == nullptr) LoadFromContext(name);
  }

  // An assignment; `conditional` if it stands in an if.
  void Store(const std::string& name, bool conditional) {
    if (variables_.count(name) != 0) return;
    const Found found = Find(name);
    if (found.frame != nullptr) {
      ScopeLoad load{Define(name), ScopeLoad::From::kOuter};
      load.outer_hops = function_->level - found.frame->function_->level;
      load.outer_slot = found.slot;
      scope_->loads.push_back(load);
    } else if (conditional) {
      LoadFromContext(name);
    } else {
      scope_->loads.push_back({Define(name), ScopeLoad::From::kUndefined});
    }
  }

  void Bind(NameExpr* expr) {
    Found found = Find(expr->name);
    if (found.frame == nullptr) {
      LoadFromContext(expr->name);
      found = Find(expr->name);
    }
    expr->hops = function_->level - found.frame->function_->level;
    expr->slot = found.slot;
  }

  int SlotOf(const std::string& name) const { return variables_.at(name); }

 private:
  struct Found {
    const Frame* frame = nullptr;
    int slot = -1;
  };

  Found Find(const std::string& name) const {
    for (const Frame* frame = this; frame != nullptr; frame = frame->outer_) {
      if (const auto it = frame->variables_.find(name); it != frame->variables_.end()) return {frame, it->second};
    }
    return {};
  }

  int Define(const std::string& name) {
    const int slot = function_->slots++;
    variables_[name] = slot;
    scope_->slots.push_back(slot);
    return slot;
  }

  void LoadFromContext(const std::string& name) {
    const auto [it, added] = context_index_->try_emplace(name, static_cast<int>(context_names_->size()));
    if (added) context_names_->push_back(name);
    ScopeLoad load{Define(name), ScopeLoad::From::kContext};
    load.name = it->second;
    scope_->loads.push_back(load);
  }

  Frame* const outer_;
  Function* const function_;
  Scope* const scope_;
  std::vector<std::string>* const context_names_;
  std::unordered_map<std::string, int>* const context_index_;
  std::unordered_map<std::string, int> variables_;
};

// First walk over a scope: which names does it load and store, in which order? Does not enter inner scopes.
class Analysis {
 public:
  explicit Analysis(Frame& frame) : frame_(frame) {}

  void Loads(Expr* expr) {
    VisitExpressions(expr, false, [this](Expr& node, bool) {
      if (node.kind == ExprKind::kName) frame_.Load(static_cast<NameExpr&>(node).name);
    });
  }

  void Parameters(Expr* target) {
    VisitExpressions(target, false, [this](Expr& node, bool) {
      if (node.kind == ExprKind::kName) frame_.DeclareParameter(static_cast<NameExpr&>(node).name);
    });
  }

  void Statements(const Block& block, bool conditional = false) {
    for (const StmtPtr& statement : block) Statement(*statement, conditional);
  }

 private:
  void Target(const Expr& target, bool conditional) {
    if (target.kind == ExprKind::kNamespaceRef) {
      frame_.Load(static_cast<const NamespaceRefExpr&>(target).object->name);
    } else if (target.kind == ExprKind::kName) {
      frame_.Store(static_cast<const NameExpr&>(target).name, conditional);
    } else {
      for (const ExprPtr& item : static_cast<const SequenceExpr&>(target).items) Target(*item, conditional);
    }
  }

  void Statement(const Stmt& statement, bool conditional) {
    switch (statement.kind) {
      case StmtKind::kOutput:
        for (const auto& part : static_cast<const OutputStmt&>(statement).parts) Loads(part.expr.get());
        break;
      case StmtKind::kSet: {
        const auto& set = static_cast<const SetStmt&>(statement);
        Loads(set.value.get());
        Target(*set.target, conditional);
        break;
      }
      case StmtKind::kSetBlock: Target(*static_cast<const SetBlockStmt&>(statement).target, conditional); break;
      case StmtKind::kIf: {
        const auto& branches = static_cast<const IfStmt&>(statement);
        for (const IfStmt::Branch& branch : branches.branches) {
          Loads(branch.condition.get());
          Statements(branch.body, true);
        }
        Statements(branches.otherwise, true);
        break;
      }
      case StmtKind::kFor: Loads(static_cast<const ForStmt&>(statement).iterable.get()); break;
      case StmtKind::kMacro: frame_.Store(static_cast<const MacroStmt&>(statement).macro.name, conditional); break;
      case StmtKind::kCallBlock: Loads(static_cast<const CallBlockStmt&>(statement).call.get()); break;
      case StmtKind::kFilterBlock: Loads(static_cast<const FilterBlockStmt&>(statement).filter.get()); break;
      case StmtKind::kWith:
        for (const auto& [target, value] : static_cast<const WithStmt&>(statement).variables) Loads(value.get());
        break;
      case StmtKind::kGeneration:
      case StmtKind::kBreak:
      case StmtKind::kContinue: break;
    }
  }

  Frame& frame_;
};

// Second walk: gives every name its slot, and resolves inner scopes.
class Binder {
 public:
  explicit Binder(Program* program) : program_(program) {}

  void Run() {
    Function function;
    std::unordered_map<std::string, int> context_index;
    Frame frame(nullptr, &function, &program_->scope, &program_->names, &context_index);
    Analysis(frame).Statements(program_->body);
    Statements(program_->body, frame, false);
    program_->slot_count = function.slots;
  }

 private:
  void Expression(Expr* expr, Frame& frame, bool soft) {
    VisitExpressions(expr, soft, [&](Expr& node, bool conditional) {
      if (node.kind == ExprKind::kName) {
        frame.Bind(static_cast<NameExpr*>(&node));
      } else if (node.kind == ExprKind::kNamespaceRef) {
        frame.Bind(static_cast<NamespaceRefExpr&>(node).object.get());
      } else if (node.kind == ExprKind::kFilter || node.kind == ExprKind::kTest) {
        FindBuiltin(static_cast<FilterExpr&>(node), conditional);
      }
    });
  }

  static void FindBuiltin(FilterExpr& expr, bool conditional) {
    const bool filter = expr.kind == ExprKind::kFilter;
    expr.builtin = filter ? FindFilter(expr.name) : FindTest(expr.name);
    if (expr.builtin == nullptr && !conditional) {
      FailAt(expr.line, std::string(filter ? "no filter" : "no test") + " named '" + expr.name + "'");
    }
  }

  void Statements(Block& block, Frame& frame, bool soft) {
    for (const StmtPtr& statement : block) Statement(statement.get(), frame, soft);
  }

  void Statement(Stmt* statement, Frame& frame, bool soft) {
    switch (statement->kind) {
      case StmtKind::kOutput:
        for (auto& part : static_cast<OutputStmt*>(statement)->parts) Expression(part.expr.get(), frame, soft);
        break;
      case StmtKind::kSet: {
        auto* set = static_cast<SetStmt*>(statement);
        Expression(set->value.get(), frame, soft);
        Expression(set->target.get(), frame, soft);
        break;
      }
      case StmtKind::kSetBlock: SetBlock(static_cast<SetBlockStmt*>(statement), frame, soft); break;
      case StmtKind::kIf: {
        auto* branches = static_cast<IfStmt*>(statement);
        for (IfStmt::Branch& branch : branches->branches) {
          Expression(branch.condition.get(), frame, true);
          Statements(branch.body, frame, true);
        }
        Statements(branches->otherwise, frame, true);
        break;
      }
      case StmtKind::kFor: For(static_cast<ForStmt*>(statement), frame, soft); break;
      case StmtKind::kMacro: {
        auto* macro = static_cast<MacroStmt*>(statement);
        FunctionBody(&macro->macro, macro->line, frame);
        frame.Bind(macro->target.get());
        break;
      }
      case StmtKind::kCallBlock: {
        auto* block = static_cast<CallBlockStmt*>(statement);
        FunctionBody(&block->caller, block->line, frame);
        Expression(block->call.get(), frame, soft);
        break;
      }
      case StmtKind::kGeneration:
        FunctionBody(&static_cast<GenerationStmt*>(statement)->body, statement->line, frame);
        break;
      case StmtKind::kFilterBlock: {
        auto* block = static_cast<FilterBlockStmt*>(statement);
        Frame inner = frame.Inner(frame.function(), &block->scope);
        Analysis analysis(inner);
        analysis.Statements(block->body);
        analysis.Loads(block->filter.get());
        Statements(block->body, inner, false);
        Expression(block->filter.get(), inner, false);
        break;
      }
      case StmtKind::kWith: {
        auto* with = static_cast<WithStmt*>(statement);
        Frame inner = frame.Inner(frame.function(), &with->scope);
        Analysis analysis(inner);
        for (const auto& [target, value] : with->variables) analysis.Parameters(target.get());
        analysis.Statements(with->body);
        for (auto& [target, value] : with->variables) {
          Expression(value.get(), frame, soft);
          Expression(target.get(), inner, false);
        }
        Statements(with->body, inner, false);
        break;
      }
      case StmtKind::kBreak:
      case StmtKind::kContinue: break;
    }
  }

  void SetBlock(SetBlockStmt* set, Frame& frame, bool soft) {
    Frame inner = frame.Inner(frame.function(), &set->scope);
    Analysis(inner).Statements(set->body);
    Statements(set->body, inner, false);
    if (set->filter != nullptr) Expression(set->filter.get(), inner, false);
    Expression(set->target.get(), frame, soft);
  }

  void For(ForStmt* loop, Frame& frame, bool soft) {
    if (loop->test != nullptr) {
      Function function{frame.function(), frame.function()->level + 1, 0};
      Frame inner = frame.Inner(&function, &loop->test_scope);
      loop->test_target = CloneTarget(*loop->target);
      Analysis analysis(inner);
      analysis.Parameters(loop->test_target.get());
      analysis.Loads(loop->test.get());
      Expression(loop->test_target.get(), inner, false);
      Expression(loop->test.get(), inner, false);
      loop->test_slot_count = function.slots;
    }
    Expression(loop->iterable.get(), frame, soft);

    Function own{frame.function(), frame.function()->level + 1, 0};
    Function* function = loop->recursive ? &own : frame.function();
    Frame body = frame.Inner(function, &loop->body_scope);
    Analysis analysis(body);
    if (loop->loop_slot >= 0) body.DeclareParameter("loop");
    analysis.Parameters(loop->target.get());
    if (loop->loop_slot >= 0) loop->loop_slot = body.SlotOf("loop");
    analysis.Statements(loop->body);
    Expression(loop->target.get(), body, false);
    Statements(loop->body, body, false);

    Frame otherwise = frame.Inner(function, &loop->otherwise_scope);
    Analysis(otherwise).Statements(loop->otherwise);
    Statements(loop->otherwise, otherwise, false);
    loop->slot_count = own.slots;
  }

  void FunctionBody(MacroBody* macro, int line, Frame& frame) {
    Function function{frame.function(), frame.function()->level + 1, 0};
    Frame inner = frame.Inner(&function, &macro->scope);
    const MacroParam* explicit_caller = nullptr;
    bool explicit_kwargs = false;
    bool explicit_varargs = false;
    for (MacroParam& param : macro->params) {
      inner.DeclareParameter(param.name);
      param.slot = inner.SlotOf(param.name);
      if (param.name == "caller") explicit_caller = &param;
      explicit_kwargs = explicit_kwargs || param.name == "kwargs";
      explicit_varargs = explicit_varargs || param.name == "varargs";
    }
    // The slots say so far (special.h) whether the body reads the variable.
    if (macro->caller_slot >= 0 && explicit_caller != nullptr && explicit_caller->fallback == nullptr) {
      FailAt(line, "expected a default for the special parameter 'caller'");
    }
    const auto declare = [&](int* slot, bool is_explicit, const char* name) {
      if (is_explicit) *slot = -1;
      if (*slot < 0) return;
      inner.DeclareParameter(name);
      *slot = inner.SlotOf(name);
    };
    declare(&macro->caller_slot, explicit_caller != nullptr, "caller");
    declare(&macro->kwargs_slot, explicit_kwargs, "kwargs");
    declare(&macro->varargs_slot, explicit_varargs, "varargs");
    Analysis analysis(inner);
    for (const MacroParam& param : macro->params) analysis.Loads(param.fallback.get());
    analysis.Statements(macro->statements);
    for (MacroParam& param : macro->params) Expression(param.fallback.get(), inner, false);
    Statements(macro->statements, inner, false);
    macro->slot_count = function.slots;
  }

  Program* const program_;
};

}  // namespace

void ResolveScopes(Program* program) {
  MarkSpecialVariables(program);
  Binder(program).Run();
}

}  // namespace quorum::tok::jinja
