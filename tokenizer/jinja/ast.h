// The syntax tree of a template. Made by the parser, completed by the scope pass, then immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/jinja/macro.h"
#include "tokenizer/jinja/math.h"
#include "tokenizer/jinja/ops.h"

namespace quorum::tok::jinja {

struct Builtin;

// ---------------------------------------------------------------------------------------------------------------------
// Expressions

enum class ExprKind : std::uint8_t {
  kConst,
  kName,
  kTuple,
  kList,
  kDict,
  kUnary,
  kBinary,
  kLogic,
  kCompare,
  kConcat,
  kCond,
  kGetAttr,
  kGetItem,
  kSlice,
  kCall,
  kFilter,
  kTest,
  kNamespaceRef,
};

struct Expr {
  Expr(ExprKind kind_in, int line_in) : kind(kind_in), line(line_in) {}
  virtual ~Expr() = default;
  Expr(const Expr&) = delete;
  Expr& operator=(const Expr&) = delete;

  const ExprKind kind;
  const int line;
  int depth = 1;  // levels of this subtree
};

/// A literal: None, bool, int, float or string.
struct ConstExpr final : Expr {
  explicit ConstExpr(int line_in) : Expr(ExprKind::kConst, line_in) {}
  enum class Type : std::uint8_t { kNone, kBool, kInt, kFloat, kString } type = Type::kNone;
  std::int64_t integer = 0;  // also a bool
  double number = 0;
  std::string text;
  int index = -1;  // of a string: its number among the template's strings
};

/// A variable. Also the target of an assignment.
struct NameExpr final : Expr {
  NameExpr(int line_in, std::string name_in) : Expr(ExprKind::kName, line_in), name(std::move(name_in)) {}
  const std::string name;
  int hops = 0;  // functions outwards to the one whose activation has the variable
  int slot = -1;
};

/// `namespace.attribute` as the target of an assignment.
struct NamespaceRefExpr final : Expr {
  NamespaceRefExpr(int line_in, std::unique_ptr<NameExpr> object_in, std::string attribute_in)
      : Expr(ExprKind::kNamespaceRef, line_in), object(std::move(object_in)), attribute(std::move(attribute_in)) {}
  const std::unique_ptr<NameExpr> object;
  const std::string attribute;
};

/// A tuple or list of expressions, by `kind`.
struct SequenceExpr final : Expr {
  SequenceExpr(ExprKind kind_in, int line_in) : Expr(kind_in, line_in) {}
  std::vector<ExprPtr> items;
};

struct DictExpr final : Expr {
  explicit DictExpr(int line_in) : Expr(ExprKind::kDict, line_in) {}
  std::vector<std::pair<ExprPtr, ExprPtr>> items;
};

struct UnaryExpr final : Expr {
  UnaryExpr(int line_in, UnaryOp op_in, ExprPtr operand_in)
      : Expr(ExprKind::kUnary, line_in), op(op_in), operand(std::move(operand_in)) {}
  const UnaryOp op;
  const ExprPtr operand;
};

/// first op1 x1 op2 x2 ..., evaluated from the left. One node however long the chain is.
struct BinaryExpr final : Expr {
  explicit BinaryExpr(int line_in) : Expr(ExprKind::kBinary, line_in) {}
  ExprPtr first;
  std::vector<std::pair<BinaryOp, ExprPtr>> rest;
};

/// x1 and x2 and ..., or x1 or x2 or ...
struct LogicExpr final : Expr {
  LogicExpr(int line_in, bool is_and_in) : Expr(ExprKind::kLogic, line_in), is_and(is_and_in) {}
  const bool is_and;
  std::vector<ExprPtr> operands;
};

/// first op1 x1 op2 x2 ..., each neighbours' comparison must hold.
struct CompareExpr final : Expr {
  explicit CompareExpr(int line_in) : Expr(ExprKind::kCompare, line_in) {}
  ExprPtr first;
  std::vector<std::pair<CompareOp, ExprPtr>> rest;
};

/// x1 ~ x2 ~ ...
struct ConcatExpr final : Expr {
  explicit ConcatExpr(int line_in) : Expr(ExprKind::kConcat, line_in) {}
  std::vector<ExprPtr> operands;
};

/// then if condition else otherwise
struct CondExpr final : Expr {
  explicit CondExpr(int line_in) : Expr(ExprKind::kCond, line_in) {}
  ExprPtr condition;
  ExprPtr then;
  ExprPtr otherwise;  // null: undefined
};

struct GetAttrExpr final : Expr {
  GetAttrExpr(int line_in, ExprPtr object_in, std::string name_in)
      : Expr(ExprKind::kGetAttr, line_in), object(std::move(object_in)), name(std::move(name_in)) {}
  const ExprPtr object;
  const std::string name;
};

struct GetItemExpr final : Expr {
  GetItemExpr(int line_in, ExprPtr object_in, ExprPtr key_in)
      : Expr(ExprKind::kGetItem, line_in), object(std::move(object_in)), key(std::move(key_in)) {}
  const ExprPtr object;
  const ExprPtr key;
};

struct SliceExpr final : Expr {
  explicit SliceExpr(int line_in) : Expr(ExprKind::kSlice, line_in) {}
  ExprPtr object;
  ExprPtr start;  // null where absent, like the others
  ExprPtr stop;
  ExprPtr step;
};

/// The arguments between parentheses.
struct ArgList {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> keyword;
  ExprPtr more_positional;  // *args, or null
  ExprPtr more_keyword;     // **kwargs, or null
};

struct CallExpr final : Expr {
  explicit CallExpr(int line_in) : Expr(ExprKind::kCall, line_in) {}
  ExprPtr callee;
  ArgList args;
};

/// subject|name(args), or subject is name(args), by `kind`.
struct FilterExpr final : Expr {
  FilterExpr(ExprKind kind_in, int line_in) : Expr(kind_in, line_in) {}
  ExprPtr subject;  // null: the text of the block that the filter stands at
  std::string name;
  ArgList args;
  const Builtin* builtin = nullptr;  // null if there is none of that name: fails when evaluated
};

// ---------------------------------------------------------------------------------------------------------------------
// Statements

enum class StmtKind : std::uint8_t {
  kOutput,
  kFor,
  kIf,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kSet,
  kSetBlock,
  kWith,
  kGeneration,
  kBreak,
  kContinue,
};

struct Stmt {
  Stmt(StmtKind kind_in, int line_in) : kind(kind_in), line(line_in) {}
  virtual ~Stmt() = default;
  Stmt(const Stmt&) = delete;
  Stmt& operator=(const Stmt&) = delete;

  const StmtKind kind;
  const int line;
};

using Block = std::vector<StmtPtr>;

/// Text and printed expressions in a row.
struct OutputStmt final : Stmt {
  explicit OutputStmt(int line_in) : Stmt(StmtKind::kOutput, line_in) {}
  struct Part {
    std::string text;  // if `expr` is null
    ExprPtr expr;
  };
  std::vector<Part> parts;
};

struct ForStmt final : Stmt {
  explicit ForStmt(int line_in) : Stmt(StmtKind::kFor, line_in) {}
  ExprPtr target;
  ExprPtr iterable;
  ExprPtr test;  // null if there is none
  bool recursive = false;
  Block body;
  Block otherwise;
  bool has_otherwise = false;

  // Filled by the scope pass.
  ExprPtr test_target;  // the target again, with the variables of the test's own function
  int loop_slot = -1;   // of the `loop` variable; -1 if the body does not read it
  Scope body_scope;
  Scope otherwise_scope;
  Scope test_scope;
  int test_slot_count = 0;
  int slot_count = 0;  // of the function that the body of a recursive loop is
};

struct IfStmt final : Stmt {
  explicit IfStmt(int line_in) : Stmt(StmtKind::kIf, line_in) {}
  struct Branch {
    ExprPtr condition;
    Block body;
  };
  std::vector<Branch> branches;  // if, elif, ...
  Block otherwise;
};

struct MacroStmt final : Stmt {
  explicit MacroStmt(int line_in) : Stmt(StmtKind::kMacro, line_in) {}
  std::unique_ptr<NameExpr> target;
  MacroBody macro;
};

/// {% call(args) callee(...) %}
struct CallBlockStmt final : Stmt {
  explicit CallBlockStmt(int line_in) : Stmt(StmtKind::kCallBlock, line_in) {}
  std::unique_ptr<CallExpr> call;
  MacroBody caller;
};

/// {% generation %}: marks what the assistant says; renders as its body.
struct GenerationStmt final : Stmt {
  explicit GenerationStmt(int line_in) : Stmt(StmtKind::kGeneration, line_in) {}
  MacroBody body;
};

struct FilterBlockStmt final : Stmt {
  explicit FilterBlockStmt(int line_in) : Stmt(StmtKind::kFilterBlock, line_in) {}
  ExprPtr filter;  // a chain of FilterExpr whose innermost subject is null
  Block body;
  Scope scope;
};

struct SetStmt final : Stmt {
  explicit SetStmt(int line_in) : Stmt(StmtKind::kSet, line_in) {}
  ExprPtr target;
  ExprPtr value;
};

struct SetBlockStmt final : Stmt {
  explicit SetBlockStmt(int line_in) : Stmt(StmtKind::kSetBlock, line_in) {}
  ExprPtr target;
  ExprPtr filter;  // as in FilterBlockStmt, or null
  Block body;
  Scope scope;
};

struct WithStmt final : Stmt {
  explicit WithStmt(int line_in) : Stmt(StmtKind::kWith, line_in) {}
  std::vector<std::pair<ExprPtr, ExprPtr>> variables;  // target, value
  Block body;
  Scope scope;
};

/// {% break %} or {% continue %}, by `kind`.
struct JumpStmt final : Stmt {
  JumpStmt(StmtKind kind_in, int line_in) : Stmt(kind_in, line_in) {}
};

/// A whole template.
struct Program {
  Block body;
  int string_count = 0;  // string literals

  // Filled by the scope pass.
  std::vector<std::string> names;  // of the variables that the template may be given
  Scope scope;
  int slot_count = 0;
};

}  // namespace quorum::tok::jinja
