#include "engine/grammar/json_schema.h"

#include <utility>

#include "engine/grammar/schema_compiler.h"

namespace quorum::grammar {

Result<ExprId> AddJsonSchema(std::string_view schema, JsonText& json, std::set<std::string>* unknown_formats) {
  QUORUM_ASSIGN(const auto document, SchemaDocument::Parse(schema));
  Grammar& grammar = json.grammar();
  const std::size_t first = grammar.rules().size();
  auto root = SchemaCompiler(*document, json).Compile();
  if (root.ok()) {
    if (unknown_formats != nullptr)
      unknown_formats->insert(document->unknown_formats().begin(), document->unknown_formats().end());
    return root;
  }
  // What was begun stays behind, unused: the grammar goes on without it.
  for (std::size_t rule = first; rule < grammar.rules().size(); ++rule) {
    if (grammar.rules()[rule].body < 0) grammar.Define(static_cast<RuleId>(rule), grammar.Empty());
  }
  return root;
}

Result<Grammar> ParseJsonSchema(std::string_view schema, JsonSpace space) {
  Grammar grammar;
  JsonText json(grammar, space);
  QUORUM_ASSIGN(const ExprId root, AddJsonSchema(schema, json));
  if (grammar.overflowed()) return Grammar::TooLarge();
  grammar.SetRoot(root);
  return grammar;
}

Grammar JsonObjectGrammar(JsonSpace space) {
  Grammar grammar;
  JsonText json(grammar, space);
  grammar.SetRoot(json.Object());
  return grammar;
}

}  // namespace quorum::grammar
