// What a macro is, apart from its statements: its name, parameters and where their values go.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace quorum::tok::jinja {

struct Expr;
struct Stmt;
using ExprPtr = std::unique_ptr<Expr>;
using StmtPtr = std::unique_ptr<Stmt>;

/// How one variable gets its value when a scope is entered (scope.h).
struct ScopeLoad {
  enum class From : unsigned char {
    kContext,    // the variables that the template was given
    kOuter,      // a variable of an enclosing scope
    kUndefined,  // nothing yet
  };
  int slot;
  From from;
  int name = 0;        // kContext: index into Program::names
  int outer_hops = 0;  // kOuter: functions outwards, and the slot there
  int outer_slot = 0;
};

/// A block of statements with variables of its own.
struct Scope {
  std::vector<ScopeLoad> loads;  // to be done on entry
  std::vector<int> slots;        // to be emptied on leaving
};

struct MacroParam {
  std::string name;
  int slot = -1;
  ExprPtr fallback;  // null: undefined if not given
};

/// The function behind a macro, a call block or a generation block.
struct MacroBody {
  MacroBody();
  ~MacroBody();
  MacroBody(const MacroBody&) = delete;
  MacroBody& operator=(const MacroBody&) = delete;

  std::string name;  // empty for a call block
  std::vector<MacroParam> params;
  std::vector<StmtPtr> statements;

  // Filled by the scope pass.
  Scope scope;
  int slot_count = 0;
  // Where the special variables go if the body reads them, else -1.
  int caller_slot = -1;
  int kwargs_slot = -1;
  int varargs_slot = -1;
};

}  // namespace quorum::tok::jinja
