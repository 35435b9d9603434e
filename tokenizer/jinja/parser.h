// Tokens to syntax tree, by Jinja's grammar.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/lexer.h"

namespace quorum::tok::jinja {

/// How deep expressions and blocks may be nested in a template's text.
inline constexpr int kMaxSyntaxDepth = 200;

/// How many keyword arguments a call, and parameters a macro, may have.
inline constexpr std::size_t kMaxNames = 1000;

/// Reads expressions. Failures carry a line and what was expected.
class ExpressionParser {
 public:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  int string_count() const { return string_count_; }

 protected:
  /// One level of nesting, for as long as it lives.
  class Level {
   public:
    explicit Level(ExpressionParser& parser);
    ~Level() { --parser_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    ExpressionParser& parser_;
  };

  struct TupleOptions {
    bool names_only = false;       // targets: only primaries
    bool conditional = true;       // allow `a if b else c` as an item
    bool explicit_parens = false;  // an empty tuple is one
    bool namespaces = false;       // allow `ns.attribute` as a target
  };

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  const Token& Next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool SkipOperator(std::string_view op);
  bool SkipName(std::string_view name);
  void ExpectOperator(std::string_view op);
  void ExpectName(std::string_view name);
  void Expect(TokenKind kind, std::string_view what);
  std::string ExpectIdentifier();
  [[noreturn]] void FailExpected(std::string_view what);

  ExprPtr ParseExpression(bool conditional = true);
  ExprPtr ParseTuple(const TupleOptions& options);
  ExprPtr ParsePrimary(bool namespaces = false);
  /// |name(args)|name ... applied to `subject`, which may be null. With `start_inline` the first bar is absent.
  ExprPtr ParseFilters(ExprPtr subject, bool start_inline);

 private:
  ExprPtr ParseConditional();
  ExprPtr ParseLogic(bool is_and);
  ExprPtr ParseNot();
  ExprPtr ParseCompare();
  ExprPtr ParseSum();
  ExprPtr ParseConcat();
  ExprPtr ParseProduct();
  ExprPtr ParsePower();
  ExprPtr ParseUnary(bool with_filters = true);
  ExprPtr ParseBinary(std::initializer_list<std::pair<std::string_view, BinaryOp>> operators,
                      ExprPtr (ExpressionParser::*operand)());
  ExprPtr ParsePowerOperand() { return ParseUnary(); }
  ExprPtr ParsePostfix(ExprPtr expr);
  ExprPtr ParseFilterSuffixes(ExprPtr expr);
  ExprPtr ParseSubscript(ExprPtr object);
  ExprPtr ParseSubscriptKey(ExprPtr& object);
  ExprPtr ParseCall(ExprPtr callee);
  ExprPtr ParseTest(ExprPtr subject);
  ExprPtr ParseList();
  ExprPtr ParseDict();
  ExprPtr ParseString();
  ArgList ParseArgs();
  std::string ParseDottedName();

  const std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
  int string_count_ = 0;
};

/// Parses a whole template. `source` must be valid UTF-8.
std::unique_ptr<Program> ParseTemplate(std::string_view source);

}  // namespace quorum::tok::jinja
