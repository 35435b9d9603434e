#include <algorithm>
#include <utility>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/parser.h"

namespace quorum::tok::jinja {
namespace {

int DepthOf(const ExprPtr& expr) { return expr == nullptr ? 0 : expr->depth; }

int DepthOf(const ArgList& args) {
  int depth = std::max(DepthOf(args.more_positional), DepthOf(args.more_keyword));
  for (const ExprPtr& arg : args.positional) depth = std::max(depth, DepthOf(arg));
  for (const auto& [name, arg] : args.keyword) depth = std::max(depth, DepthOf(arg));
  return depth;
}

// `expr` over children of these depths. The tree is walked recursively, so its depth is limited, also where the parser
// itself does not recurse (x|f|f|f...).
template <typename T, typename... Depths>
std::unique_ptr<T> Over(std::unique_ptr<T> expr, Depths... depths) {
  expr->depth = 1 + std::max({0, depths...});
  if (expr->depth > kMaxSyntaxDepth) FailAt(expr->line, "expression nested too deeply");
  return expr;
}

}  // namespace

ExpressionParser::Level::Level(ExpressionParser& parser) : parser_(parser) {
  if (parser.depth_ >= kMaxSyntaxDepth) FailAt(parser.current().line, "nested too deeply");
  ++parser.depth_;
}

bool ExpressionParser::SkipOperator(std::string_view op) {
  if (!current().IsOperator(op)) return false;
  Next();
  return true;
}

bool ExpressionParser::SkipName(std::string_view name) {
  if (!current().IsName(name)) return false;
  Next();
  return true;
}

void ExpressionParser::FailExpected(std::string_view what) {
  FailAt(current().line, "expected " + std::string(what) + ", got " + current().Describe());
}

void ExpressionParser::ExpectOperator(std::string_view op) {
  if (!SkipOperator(op)) FailExpected("'" + std::string(op) + "'");
}

void ExpressionParser::ExpectName(std::string_view name) {
  if (!SkipName(name)) FailExpected("'" + std::string(name) + "'");
}

void ExpressionParser::Expect(TokenKind kind, std::string_view what) {
  if (current().kind != kind) FailExpected(what);
  Next();
}

std::string ExpressionParser::ExpectIdentifier() {
  if (current().kind != TokenKind::kName) FailExpected("a name");
  return Next().text;
}

ExprPtr ExpressionParser::ParseExpression(bool conditional) {
  return conditional ? ParseConditional() : ParseLogic(false);
}

ExprPtr ExpressionParser::ParseConditional() {
  const int line = current().line;
  ExprPtr expr = ParseLogic(false);
  while (SkipName("if")) {
    auto cond = std::make_unique<CondExpr>(line);
    cond->then = std::move(expr);
    cond->condition = ParseLogic(false);
    if (SkipName("else")) {
      const Level level(*this);
      cond->otherwise = ParseConditional();
    }
    const int depth = std::max({DepthOf(cond->then), DepthOf(cond->condition), DepthOf(cond->otherwise)});
    expr = Over(std::move(cond), depth);
  }
  return expr;
}

ExprPtr ExpressionParser::ParseLogic(bool is_and) {
  const int line = current().line;
  const auto operand = [&] { return is_and ? ParseNot() : ParseLogic(true); };
  ExprPtr first = operand();
  const std::string_view word = is_and ? "and" : "or";
  if (!current().IsName(word)) return first;
  auto logic = std::make_unique<LogicExpr>(line, is_and);
  int depth = first->depth;
  logic->operands.push_back(std::move(first));
  while (SkipName(word)) {
    logic->operands.push_back(operand());
    depth = std::max(depth, logic->operands.back()->depth);
  }
  return Over(std::move(logic), depth);
}

ExprPtr ExpressionParser::ParseNot() {
  if (!current().IsName("not")) return ParseCompare();
  const Level level(*this);
  const int line = Next().line;
  ExprPtr operand = ParseNot();
  const int depth = operand->depth;
  return Over(std::make_unique<UnaryExpr>(line, UnaryOp::kNot, std::move(operand)), depth);
}

ExprPtr ExpressionParser::ParseCompare() {
  static constexpr std::pair<std::string_view, CompareOp> kSigns[] = {{"==", CompareOp::kEq}, {"!=", CompareOp::kNe},
                                                                      {"<", CompareOp::kLt},  {"<=", CompareOp::kLe},
                                                                      {">", CompareOp::kGt},  {">=", CompareOp::kGe}};
  const int line = current().line;
  ExprPtr first = ParseSum();
  auto compare = std::make_unique<CompareExpr>(line);
  int depth = first->depth;
  while (true) {
    const auto* sign = std::find_if(std::begin(kSigns), std::end(kSigns),
                                    [this](const auto& candidate) { return current().IsOperator(candidate.first); });
    CompareOp op = CompareOp::kIn;
    if (sign != std::end(kSigns)) {
      op = sign->second;
      Next();
    } else if (current().IsName("not") && ahead().IsName("in")) {
      op = CompareOp::kNotIn;
      Next();
      Next();
    } else if (!SkipName("in")) {
      break;
    }
    compare->rest.emplace_back(op, ParseSum());
    depth = std::max(depth, compare->rest.back().second->depth);
  }
  if (compare->rest.empty()) return first;
  compare->first = std::move(first);
  return Over(std::move(compare), depth);
}

ExprPtr ExpressionParser::ParseBinary(std::initializer_list<std::pair<std::string_view, BinaryOp>> operators,
                                      ExprPtr (ExpressionParser::*operand)()) {
  const int line = current().line;
  ExprPtr first = (this->*operand)();
  const auto find = [&] {
    return std::find_if(operators.begin(), operators.end(),
                        [this](const auto& candidate) { return current().IsOperator(candidate.first); });
  };
  const auto* op = find();
  if (op == operators.end()) return first;
  auto binary = std::make_unique<BinaryExpr>(line);
  int depth = first->depth;
  binary->first = std::move(first);
  for (; op != operators.end(); op = find()) {
    Next();
    binary->rest.emplace_back(op->second, (this->*operand)());
    depth = std::max(depth, binary->rest.back().second->depth);
  }
  return Over(std::move(binary), depth);
}

ExprPtr ExpressionParser::ParseSum() {
  return ParseBinary({{"+", BinaryOp::kAdd}, {"-", BinaryOp::kSub}}, &ExpressionParser::ParseConcat);
}

ExprPtr ExpressionParser::ParseConcat() {
  const int line = current().line;
  ExprPtr first = ParseProduct();
  if (!current().IsOperator("~")) return first;
  auto concat = std::make_unique<ConcatExpr>(line);
  int depth = first->depth;
  concat->operands.push_back(std::move(first));
  while (SkipOperator("~")) {
    concat->operands.push_back(ParseProduct());
    depth = std::max(depth, concat->operands.back()->depth);
  }
  return Over(std::move(concat), depth);
}

ExprPtr ExpressionParser::ParseProduct() {
  return ParseBinary({{"*", BinaryOp::kMul}, {"/", BinaryOp::kDiv}, {"//", BinaryOp::kFloorDiv}, {"%", BinaryOp::kMod}},
                     &ExpressionParser::ParsePower);
}

ExprPtr ExpressionParser::ParsePower() {
  return ParseBinary({{"**", BinaryOp::kPow}}, &ExpressionParser::ParsePowerOperand);
}

ExprPtr ExpressionParser::ParseUnary(bool with_filters) {
  const Level level(*this);
  const int line = current().line;
  ExprPtr expr;
  if (current().IsOperator("-") || current().IsOperator("+")) {
    const UnaryOp op = Next().text == "-" ? UnaryOp::kNegate : UnaryOp::kPlus;
    ExprPtr operand = ParseUnary(false);
    const int depth = operand->depth;
    expr = Over(std::make_unique<UnaryExpr>(line, op, std::move(operand)), depth);
  } else {
    expr = ParsePrimary();
  }
  expr = ParsePostfix(std::move(expr));
  return with_filters ? ParseFilterSuffixes(std::move(expr)) : std::move(expr);
}

ExprPtr ExpressionParser::ParsePrimary(bool namespaces) {
  const Token& token = current();
  const auto constant = [&](ConstExpr::Type type, std::int64_t integer) {
    auto expr = std::make_unique<ConstExpr>(token.line);
    expr->type = type;
    expr->integer = integer;
    expr->number = token.number;
    return expr;
  };
  switch (token.kind) {
    case TokenKind::kName:
      Next();
      if (token.text == "true" || token.text == "True") return constant(ConstExpr::Type::kBool, 1);
      if (token.text == "false" || token.text == "False") return constant(ConstExpr::Type::kBool, 0);
      if (token.text == "none" || token.text == "None") return constant(ConstExpr::Type::kNone, 0);
      if (namespaces && SkipOperator(".")) {
        return std::make_unique<NamespaceRefExpr>(token.line, std::make_unique<NameExpr>(token.line, token.text),
                                                  ExpectIdentifier());
      }
      return std::make_unique<NameExpr>(token.line, token.text);
    case TokenKind::kString: return ParseString();
    case TokenKind::kInteger: Next(); return constant(ConstExpr::Type::kInt, token.integer);
    case TokenKind::kFloat: Next(); return constant(ConstExpr::Type::kFloat, 0);
    default: break;
  }
  if (token.IsOperator("[")) return ParseList();
  if (token.IsOperator("{")) return ParseDict();
  if (!SkipOperator("(")) FailExpected("an expression");
  TupleOptions options;
  options.explicit_parens = true;
  ExprPtr expr = ParseTuple(options);
  ExpectOperator(")");
  return expr;
}

ExprPtr ExpressionParser::ParseString() {
  auto expr = std::make_unique<ConstExpr>(current().line);
  expr->type = ConstExpr::Type::kString;
  expr->index = string_count_++;
  while (current().kind == TokenKind::kString) expr->text += Next().text;  // adjacent strings are one
  return expr;
}

ExprPtr ExpressionParser::ParseTuple(const TupleOptions& options) {
  auto tuple = std::make_unique<SequenceExpr>(ExprKind::kTuple, current().line);
  bool is_tuple = false;
  int depth = 0;
  const auto at_end = [&] {
    const Token& token = current();
    return token.kind == TokenKind::kVariableEnd || token.kind == TokenKind::kBlockEnd || token.IsOperator(")");
  };
  while (!at_end()) {
    tuple->items.push_back(options.names_only ? ParsePrimary(options.namespaces)
                                              : ParseExpression(options.conditional));
    depth = std::max(depth, tuple->items.back()->depth);
    if (!SkipOperator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!tuple->items.empty()) return std::move(tuple->items.front());
    if (!options.explicit_parens) FailExpected("an expression");
  }
  return Over(std::move(tuple), depth);
}

ExprPtr ExpressionParser::ParseList() {
  auto list = std::make_unique<SequenceExpr>(ExprKind::kList, current().line);
  ExpectOperator("[");
  int depth = 0;
  while (!current().IsOperator("]")) {
    list->items.push_back(ParseExpression());
    depth = std::max(depth, list->items.back()->depth);
    if (!current().IsOperator("]")) ExpectOperator(",");
  }
  ExpectOperator("]");
  return Over(std::move(list), depth);
}

ExprPtr ExpressionParser::ParseDict() {
  auto dict = std::make_unique<DictExpr>(current().line);
  ExpectOperator("{");
  int depth = 0;
  while (!current().IsOperator("}")) {
    ExprPtr key = ParseExpression();
    ExpectOperator(":");
    ExprPtr value = ParseExpression();
    depth = std::max({depth, key->depth, value->depth});
    dict->items.emplace_back(std::move(key), std::move(value));
    if (!current().IsOperator("}")) ExpectOperator(",");
  }
  ExpectOperator("}");
  return Over(std::move(dict), depth);
}

ExprPtr ExpressionParser::ParsePostfix(ExprPtr expr) {
  while (true) {
    if (current().IsOperator(".") || current().IsOperator("[")) {
      expr = ParseSubscript(std::move(expr));
    } else if (current().IsOperator("(")) {
      expr = ParseCall(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr ExpressionParser::ParseFilterSuffixes(ExprPtr expr) {
  while (true) {
    if (current().IsOperator("|")) {
      expr = ParseFilters(std::move(expr), false);
    } else if (current().IsName("is")) {
      expr = ParseTest(std::move(expr));
    } else if (current().IsOperator("(")) {
      expr = ParseCall(std::move(expr));
    } else {
      return expr;
    }
  }
}

ExprPtr ExpressionParser::ParseSubscript(ExprPtr object) {
  const int line = current().line;
  const int depth = object->depth;
  if (SkipOperator(".")) {
    if (current().kind == TokenKind::kName) {
      return Over(std::make_unique<GetAttrExpr>(line, std::move(object), Next().text), depth);
    }
    if (current().kind != TokenKind::kInteger) FailExpected("a name or a number");
    auto key = std::make_unique<ConstExpr>(line);
    key->type = ConstExpr::Type::kInt;
    key->integer = Next().integer;
    return Over(std::make_unique<GetItemExpr>(line, std::move(object), std::move(key)), depth);
  }
  ExpectOperator("[");
  if (SkipOperator("]")) {  // x[] means x[()]
    auto nothing = std::make_unique<SequenceExpr>(ExprKind::kTuple, line);
    return Over(std::make_unique<GetItemExpr>(line, std::move(object), std::move(nothing)), depth);
  }
  ExprPtr key = ParseSubscriptKey(object);
  if (object == nullptr) {  // a slice took it
    ExpectOperator("]");
    return key;
  }
  if (current().IsOperator(",")) {
    auto tuple = std::make_unique<SequenceExpr>(ExprKind::kTuple, line);
    int deepest = key->depth;
    tuple->items.push_back(std::move(key));
    while (SkipOperator(",")) {
      tuple->items.push_back(ParseExpression());
      deepest = std::max(deepest, tuple->items.back()->depth);
    }
    key = Over(std::move(tuple), deepest);
  }
  ExpectOperator("]");
  const int key_depth = key->depth;
  return Over(std::make_unique<GetItemExpr>(line, std::move(object), std::move(key)), depth, key_depth);
}

// What stands between brackets: a key, or a slice, which then owns `object`.
ExprPtr ExpressionParser::ParseSubscriptKey(ExprPtr& object) {
  const int line = current().line;
  ExprPtr start;
  if (!current().IsOperator(":")) {
    start = ParseExpression();
    if (!current().IsOperator(":")) return start;
  }
  ExpectOperator(":");
  const auto absent = [this] { return current().IsOperator(":") || current().IsOperator("]"); };
  auto slice = std::make_unique<SliceExpr>(line);
  slice->start = std::move(start);
  if (!absent()) slice->stop = ParseExpression();
  if (SkipOperator(":") && !absent()) slice->step = ParseExpression();
  slice->object = std::move(object);
  const int depths[] = {DepthOf(slice->object), DepthOf(slice->start), DepthOf(slice->stop), DepthOf(slice->step)};
  return Over(std::move(slice), depths[0], depths[1], depths[2], depths[3]);
}

ExprPtr ExpressionParser::ParseCall(ExprPtr callee) {
  auto call = std::make_unique<CallExpr>(current().line);
  call->callee = std::move(callee);
  call->args = ParseArgs();
  const int depth = std::max(DepthOf(call->callee), DepthOf(call->args));
  return Over(std::move(call), depth);
}

ArgList ExpressionParser::ParseArgs() {
  ArgList args;
  ExpectOperator("(");
  const auto ensure = [&](bool holds) {
    if (!holds) FailAt(current().line, "invalid order of arguments in a call");
  };
  while (!current().IsOperator(")")) {
    if (SkipOperator("*")) {
      ensure(args.more_positional == nullptr && args.more_keyword == nullptr);
      args.more_positional = ParseExpression();
    } else if (SkipOperator("**")) {
      ensure(args.more_keyword == nullptr);
      args.more_keyword = ParseExpression();
    } else if (current().kind == TokenKind::kName && ahead().IsOperator("=")) {
      ensure(args.more_keyword == nullptr);
      std::string name = Next().text;
      const auto same = [&](const auto& other) { return other.first == name; };
      if (args.keyword.size() >= kMaxNames) FailAt(current().line, "too many keyword arguments");
      if (std::any_of(args.keyword.begin(), args.keyword.end(), same)) {
        FailAt(current().line, "keyword argument repeated: " + name);
      }
      Next();
      args.keyword.emplace_back(std::move(name), ParseExpression());
    } else {
      ensure(args.more_positional == nullptr && args.more_keyword == nullptr && args.keyword.empty());
      args.positional.push_back(ParseExpression());
    }
    if (!current().IsOperator(")")) ExpectOperator(",");
  }
  ExpectOperator(")");
  return args;
}

std::string ExpressionParser::ParseDottedName() {
  std::string name = ExpectIdentifier();
  while (SkipOperator(".")) name += "." + ExpectIdentifier();
  return name;
}

ExprPtr ExpressionParser::ParseFilters(ExprPtr subject, bool start_inline) {
  while (start_inline || SkipOperator("|")) {
    start_inline = false;
    auto filter = std::make_unique<FilterExpr>(ExprKind::kFilter, current().line);
    filter->subject = std::move(subject);
    filter->name = ParseDottedName();
    if (current().IsOperator("(")) filter->args = ParseArgs();
    const int depth = std::max(DepthOf(filter->subject), DepthOf(filter->args));
    subject = Over(std::move(filter), depth);
  }
  return subject;
}

ExprPtr ExpressionParser::ParseTest(ExprPtr subject) {
  const int line = Next().line;  // "is"
  const bool negated = SkipName("not");
  auto test = std::make_unique<FilterExpr>(ExprKind::kTest, line);
  test->subject = std::move(subject);
  test->name = ParseDottedName();
  const Token& token = current();
  if (token.IsOperator("(")) {
    test->args = ParseArgs();
  } else if (token.IsName("is")) {
    FailAt(token.line, "tests with 'is' cannot be chained");
  } else if ((token.kind == TokenKind::kName && token.text != "else" && token.text != "or" && token.text != "and") ||
             token.kind == TokenKind::kString || token.kind == TokenKind::kInteger || token.kind == TokenKind::kFloat ||
             token.IsOperator("[") || token.IsOperator("{")) {
    test->args.positional.push_back(ParsePostfix(ParsePrimary()));
  }
  const int depth = std::max(DepthOf(test->subject), DepthOf(test->args));
  ExprPtr expr = Over(std::move(test), depth);
  return negated ? Over(std::make_unique<UnaryExpr>(line, UnaryOp::kNot, std::move(expr)), depth + 1) : std::move(expr);
}

}  // namespace quorum::tok::jinja
