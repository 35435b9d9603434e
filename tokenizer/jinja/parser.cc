#include "tokenizer/jinja/parser.h"

#include <algorithm>
#include <span>
#include <utility>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/scope.h"

namespace quorum::tok::jinja {
namespace {

using Names = std::initializer_list<std::string_view>;

std::string QuotedList(std::span<const std::string_view> names) {
  std::string out;
  for (const std::string_view name : names) {
    if (!out.empty()) out += " or ";
    out += "'" + std::string(name) + "'";
  }
  return out;
}

bool IsAssignable(const Expr& expr) {
  if (expr.kind == ExprKind::kName || expr.kind == ExprKind::kNamespaceRef) return true;
  if (expr.kind != ExprKind::kTuple) return false;
  const auto& items = static_cast<const SequenceExpr&>(expr).items;
  return std::all_of(items.begin(), items.end(), [](const ExprPtr& item) { return IsAssignable(*item); });
}

class TemplateParser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Block ParseAll() {
    Block body = ParseUntil({});
    if (current().kind != TokenKind::kEnd) FailUnknownTag({});
    return body;
  }

 private:
  // Break and continue are allowed in a loop of the same function only.
  class InFunction {
   public:
    InFunction(int& loops, int loops_inside) : loops_(loops), saved_(loops) { loops_ = loops_inside; }
    ~InFunction() { loops_ = saved_; }
    InFunction(const InFunction&) = delete;
    InFunction& operator=(const InFunction&) = delete;

   private:
    int& loops_;
    const int saved_;
  };

  // Statements up to a block tag that begins with one of `ends`, or the template's end. Stops at that name.
  Block ParseUntil(Names ends) {
    const Level level(*this);
    Block block;
    std::unique_ptr<OutputStmt> output;
    const auto append = [&](OutputStmt::Part part, int line) {
      if (output == nullptr) output = std::make_unique<OutputStmt>(line);
      output->parts.push_back(std::move(part));
    };
    const auto flush = [&] {
      if (output != nullptr) block.push_back(std::move(output));
    };
    while (current().kind != TokenKind::kEnd) {
      const Token& token = Next();
      if (token.kind == TokenKind::kText) {
        append({token.text, nullptr}, token.line);
      } else if (token.kind == TokenKind::kVariableBegin) {
        append({{}, ParseTuple({})}, token.line);
        Expect(TokenKind::kVariableEnd, "'}}'");
      } else {  // kBlockBegin: the lexer makes nothing else outside tags
        flush();
        const bool ended =
            current().kind == TokenKind::kName && std::find(ends.begin(), ends.end(), current().text) != ends.end();
        if (ended) return block;
        if (StmtPtr statement = ParseStatement(ends)) block.push_back(std::move(statement));
        Expect(TokenKind::kBlockEnd, "'%}'");
      }
    }
    flush();
    return block;
  }

  // The inside of a block statement: from the end of its first tag to one of `ends`, which is taken and returned.
  std::string ParseBody(Block* body, Names ends) {
    SkipOperator(":");
    Expect(TokenKind::kBlockEnd, "'%}'");
    *body = ParseUntil(ends);
    if (current().kind == TokenKind::kEnd) {
      FailExpected(QuotedList(std::span(ends.begin(), ends.size())));
    }
    return Next().text;
  }

  [[noreturn]] void FailUnknownTag(Names ends) {
    const std::string name = current().kind == TokenKind::kName ? current().text : "";
    if (name.empty()) FailExpected("the name of a tag");
    std::string message = "unknown tag '" + name + "'";
    if (ends.size() > 0) message += ", expected " + QuotedList(std::span(ends.begin(), ends.size()));
    FailAt(current().line, message);
  }

  StmtPtr ParseStatement(Names ends) {
    const Token& token = current();
    if (token.kind != TokenKind::kName) FailExpected("the name of a tag");
    const std::string& tag = token.text;
    if (tag == "set") return ParseSet();
    if (tag == "if") return ParseIf();
    if (tag == "for") return ParseFor();
    if (tag == "macro") return ParseMacro();
    if (tag == "call") return ParseCallBlock();
    if (tag == "filter") return ParseFilterBlock();
    if (tag == "with") return ParseWith();
    if (tag == "print") return ParsePrint();
    if (tag == "generation") return ParseGeneration();
    if (tag == "break" || tag == "continue") {
      if (loops_ == 0) FailAt(token.line, "'" + tag + "' outside of a loop");
      return std::make_unique<JumpStmt>(tag == "break" ? StmtKind::kBreak : StmtKind::kContinue, Next().line);
    }
    for (const std::string_view refused : {"include", "import", "from", "extends", "block", "autoescape"}) {
      if (tag == refused) FailAt(token.line, "'{% " + tag + " %}' is not supported: a chat template stands alone");
    }
    FailUnknownTag(ends);
  }

  ExprPtr ParseTarget(bool namespaces) {
    TupleOptions options;
    options.names_only = true;
    options.namespaces = namespaces;
    const int line = current().line;
    ExprPtr target = ParseTuple(options);
    if (!IsAssignable(*target)) FailAt(line, "expected a variable to assign to");
    return target;
  }

  std::unique_ptr<NameExpr> ParseNameTarget() {
    const int line = current().line;
    std::string name = ExpectIdentifier();
    for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
      if (name == constant) FailAt(line, "cannot assign to '" + name + "'");
    }
    return std::make_unique<NameExpr>(line, std::move(name));
  }

  StmtPtr ParseSet() {
    const int line = Next().line;
    ExprPtr target = ParseTarget(true);
    if (SkipOperator("=")) {
      auto set = std::make_unique<SetStmt>(line);
      set->target = std::move(target);
      set->value = ParseTuple({});
      return set;
    }
    auto set = std::make_unique<SetBlockStmt>(line);
    set->target = std::move(target);
    set->filter = ParseFilters(nullptr, false);
    ParseBody(&set->body, {"endset"});
    return set;
  }

  StmtPtr ParseIf() {
    auto statement = std::make_unique<IfStmt>(current().line);
    TupleOptions options;
    options.conditional = false;
    for (std::string tag = Next().text; tag != "endif";) {
      if (tag == "else") {
        tag = ParseBody(&statement->otherwise, {"endif"});
        continue;
      }
      IfStmt::Branch branch;
      branch.condition = ParseTuple(options);
      tag = ParseBody(&branch.body, {"elif", "else", "endif"});
      statement->branches.push_back(std::move(branch));
    }
    return statement;
  }

  StmtPtr ParseFor() {
    auto loop = std::make_unique<ForStmt>(Next().line);
    loop->target = ParseTarget(false);
    ExpectName("in");
    TupleOptions options;
    options.conditional = false;
    loop->iterable = ParseTuple(options);
    if (SkipName("if")) loop->test = ParseExpression();
    loop->recursive = SkipName("recursive");
    std::string end;
    {
      const InFunction scope(loops_, loop->recursive ? 1 : loops_ + 1);
      end = ParseBody(&loop->body, {"endfor", "else"});
    }
    if (end == "else") {
      const InFunction scope(loops_, loop->recursive ? 0 : loops_);
      loop->has_otherwise = true;
      ParseBody(&loop->otherwise, {"endfor"});
    }
    return loop;
  }

  // "(a, b=1)"
  void ParseSignature(MacroBody* macro) {
    ExpectOperator("(");
    while (!current().IsOperator(")")) {
      if (!macro->params.empty()) ExpectOperator(",");
      const int line = current().line;
      MacroParam param;
      param.name = ParseNameTarget()->name;
      if (macro->params.size() >= kMaxNames) FailAt(line, "too many parameters");
      const auto same = [&](const MacroParam& other) { return other.name == param.name; };
      if (std::any_of(macro->params.begin(), macro->params.end(), same)) {
        FailAt(line, "duplicate parameter '" + param.name + "'");
      }
      if (SkipOperator("=")) {
        param.fallback = ParseExpression();
      } else if (!macro->params.empty() && macro->params.back().fallback != nullptr) {
        FailAt(line, "a parameter without default follows one with a default");
      }
      macro->params.push_back(std::move(param));
    }
    ExpectOperator(")");
  }

  void ParseFunctionBody(MacroBody* macro, std::string_view end) {
    const InFunction scope(loops_, 0);
    ParseBody(&macro->statements, {end});
  }

  StmtPtr ParseMacro() {
    auto macro = std::make_unique<MacroStmt>(Next().line);
    macro->target = ParseNameTarget();
    macro->macro.name = macro->target->name;
    ParseSignature(&macro->macro);
    ParseFunctionBody(&macro->macro, "endmacro");
    return macro;
  }

  StmtPtr ParseCallBlock() {
    auto block = std::make_unique<CallBlockStmt>(Next().line);
    if (current().IsOperator("(")) ParseSignature(&block->caller);
    ExprPtr call = ParseExpression();
    if (call->kind != ExprKind::kCall) FailAt(block->line, "expected a call after '{% call'");
    block->call.reset(static_cast<CallExpr*>(call.release()));
    for (const auto& [name, value] : block->call->args.keyword) {
      if (name == "caller") FailAt(block->line, "keyword argument repeated: caller");
    }
    ParseFunctionBody(&block->caller, "endcall");
    return block;
  }

  StmtPtr ParseGeneration() {
    auto block = std::make_unique<GenerationStmt>(Next().line);
    ParseFunctionBody(&block->body, "endgeneration");
    return block;
  }

  StmtPtr ParseFilterBlock() {
    auto block = std::make_unique<FilterBlockStmt>(Next().line);
    block->filter = ParseFilters(nullptr, true);
    ParseBody(&block->body, {"endfilter"});
    return block;
  }

  StmtPtr ParseWith() {
    auto with = std::make_unique<WithStmt>(Next().line);
    while (current().kind != TokenKind::kBlockEnd && current().kind != TokenKind::kEnd) {
      if (!with->variables.empty()) ExpectOperator(",");
      ExprPtr target = ParseTarget(false);
      ExpectOperator("=");
      with->variables.emplace_back(std::move(target), ParseExpression());
    }
    ParseBody(&with->body, {"endwith"});
    return with;
  }

  StmtPtr ParsePrint() {
    auto output = std::make_unique<OutputStmt>(Next().line);
    while (current().kind != TokenKind::kBlockEnd && current().kind != TokenKind::kEnd) {
      if (!output->parts.empty()) ExpectOperator(",");
      output->parts.push_back({{}, ParseExpression()});
    }
    return output;
  }

  int loops_ = 0;  // around the current place, in the same function
};

}  // namespace

MacroBody::MacroBody() = default;
MacroBody::~MacroBody() = default;

std::unique_ptr<Program> ParseTemplate(std::string_view source) {
  TemplateParser parser(Tokenize(source));
  auto program = std::make_unique<Program>();
  program->body = parser.ParseAll();
  program->string_count = parser.string_count();
  ResolveScopes(program.get());
  return program;
}

}  // namespace quorum::tok::jinja
