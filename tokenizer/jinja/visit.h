// Walking over expressions.
#pragma once

#include "tokenizer/jinja/ast.h"

namespace quorum::tok::jinja {

template <typename F>
void VisitExpressions(Expr* expr, bool conditional, F&& visit);

template <typename F>
void VisitArgs(const ArgList& args, bool conditional, F&& visit) {
  for (const ExprPtr& arg : args.positional) VisitExpressions(arg.get(), conditional, visit);
  for (const auto& [name, arg] : args.keyword) VisitExpressions(arg.get(), conditional, visit);
  VisitExpressions(args.more_positional.get(), conditional, visit);
  VisitExpressions(args.more_keyword.get(), conditional, visit);
}

/// Calls visit(node, conditional) for `expr` and all that it is made of, in the order of the text; null is nothing.
/// `conditional` is true inside an inline if, and where the caller says so.
template <typename F>
void VisitExpressions(Expr* expr, bool conditional, F&& visit) {
  if (expr == nullptr) return;
  visit(*expr, conditional);
  const auto go = [&](const ExprPtr& child) { VisitExpressions(child.get(), conditional, visit); };
  switch (expr->kind) {
    case ExprKind::kConst:
    case ExprKind::kName:
    case ExprKind::kNamespaceRef: break;
    case ExprKind::kTuple:
    case ExprKind::kList:
      for (const ExprPtr& item : static_cast<SequenceExpr*>(expr)->items) go(item);
      break;
    case ExprKind::kDict:
      for (const auto& [key, value] : static_cast<DictExpr*>(expr)->items) {
        go(key);
        go(value);
      }
      break;
    case ExprKind::kUnary: go(static_cast<UnaryExpr*>(expr)->operand); break;
    case ExprKind::kBinary:
      go(static_cast<BinaryExpr*>(expr)->first);
      for (const auto& [op, operand] : static_cast<BinaryExpr*>(expr)->rest) go(operand);
      break;
    case ExprKind::kLogic:
      for (const ExprPtr& operand : static_cast<LogicExpr*>(expr)->operands) go(operand);
      break;
    case ExprKind::kCompare:
      go(static_cast<CompareExpr*>(expr)->first);
      for (const auto& [op, operand] : static_cast<CompareExpr*>(expr)->rest) go(operand);
      break;
    case ExprKind::kConcat:
      for (const ExprPtr& operand : static_cast<ConcatExpr*>(expr)->operands) go(operand);
      break;
    case ExprKind::kCond: {
      auto* cond = static_cast<CondExpr*>(expr);
      for (const ExprPtr* child : {&cond->condition, &cond->then, &cond->otherwise}) {
        VisitExpressions(child->get(), true, visit);
      }
      break;
    }
    case ExprKind::kGetAttr: go(static_cast<GetAttrExpr*>(expr)->object); break;
    case ExprKind::kGetItem:
      go(static_cast<GetItemExpr*>(expr)->object);
      go(static_cast<GetItemExpr*>(expr)->key);
      break;
    case ExprKind::kSlice: {
      auto* slice = static_cast<SliceExpr*>(expr);
      for (const ExprPtr* child : {&slice->object, &slice->start, &slice->stop, &slice->step}) go(*child);
      break;
    }
    case ExprKind::kCall:
      go(static_cast<CallExpr*>(expr)->callee);
      VisitArgs(static_cast<CallExpr*>(expr)->args, conditional, visit);
      break;
    case ExprKind::kFilter:
    case ExprKind::kTest:
      go(static_cast<FilterExpr*>(expr)->subject);
      VisitArgs(static_cast<FilterExpr*>(expr)->args, conditional, visit);
      break;
  }
}

}  // namespace quorum::tok::jinja
