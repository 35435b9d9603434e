#include "engine/grammar/json_schema.h"

#include <utility>

#include "engine/grammar/schema_compiler.h"

namespace quorum::grammar {

Result<ExprId> AddJsonSchema(std::string_view schema, JsonText& json) {
  QUORUM_ASSIGN(const auto document, SchemaDocument::Parse(schema));
  return SchemaCompiler(*document, json).Compile();
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
