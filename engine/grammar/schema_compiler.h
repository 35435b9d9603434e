// From sets of subschemas to rules of a grammar.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/grammar/json_text.h"
#include "engine/grammar/schema_set.h"

namespace quorum::grammar {

class SchemaCompiler {
 public:
  SchemaCompiler(SchemaDocument& document, JsonText& json)
      : document_(document), sets_(document), json_(json), grammar_(json.grammar()) {}

  /// What satisfies the whole document.
  Result<ExprId> Compile();

 private:
  /// A reference to the set's rule, which is made later if it is new.
  ExprId Ref(const std::optional<SchemaSet>& set);

  Result<ExprId> Body(const SchemaSet& set);
  Result<ExprId> Branches(const SchemaSet& set, const SchemaAtom& atom, const SchemaJson& branches, bool one_of);
  Result<ExprId> Values(const SchemaSet& set, const SchemaFacts& facts);
  ExprId Value(const SchemaJson& value);
  Result<ExprId> String(const SchemaSet& set, const SchemaFacts& facts);
  Result<ExprId> Array(const SchemaSet& set, const SchemaFacts& facts);
  Result<ExprId> ArrayContaining(const SchemaSet& set, const SchemaFacts& facts);
  Result<ExprId> ArrayOfUnique(const SchemaSet& set, const SchemaFacts& facts);
  Status CheckExcluded(const SchemaSet& set, const SchemaFacts& facts) const;
  Result<ExprId> Object(const SchemaSet& set, const SchemaFacts& facts);
  Result<ExprId> OtherMembers(const SchemaSet& set, const SchemaFacts& facts);
  Result<ExprId> Keys(const SchemaSet& set, const SchemaFacts& facts, const std::set<std::string>& patterns);

  /// Puts a place to an error that has none.
  Error At(const SchemaSet& set, const char* keyword, const Error& error) const;

  SchemaDocument& document_;
  SchemaSets sets_;
  JsonText& json_;
  Grammar& grammar_;
  std::map<SchemaSet, RuleId> rules_;
  std::vector<SchemaSet> to_define_;
};

}  // namespace quorum::grammar
