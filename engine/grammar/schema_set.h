// Sets of subschemas that must all hold, as one: what they say together of each type, of a member, of an item.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/grammar/number_text.h"
#include "engine/grammar/schema_document.h"

namespace quorum::grammar {

/// One subschema of a set, and which of its alternatives are taken care of by other members.
struct SchemaAtom {
  SchemaDocument::Id id = 0;
  bool any_of_done = false;
  bool one_of_done = false;
  auto operator<=>(const SchemaAtom&) const = default;
};

/// Sorted, without duplicates; every $ref and allOf of a member has its targets in the set too.
using SchemaSet = std::vector<SchemaAtom>;

/// Bits of types. A number that is no integer is kFraction.
enum SchemaTypes : unsigned {
  kNull = 1,
  kBoolean = 2,
  kInteger = 4,
  kFraction = 8,
  kString = 16,
  kArray = 32,
  kObject = 64,
  kAllTypes = 127,
};

/// What a set says, but for its alternatives (anyOf, oneOf) and members' and items' own schemas.
struct SchemaFacts {
  unsigned types = kAllTypes;
  bool typed = false;                  // some member has a type
  unsigned implied = 0;                // types that keywords speak of
  const SchemaJson* values = nullptr;  // the list of an enum, or the value of a const
  bool values_is_const = false;
  std::uint32_t min_length = 0, max_length = 0xFFFFFFFF;
  std::vector<std::string> patterns;
  std::vector<std::string> not_patterns;
  std::vector<std::string> formats;
  std::vector<const SchemaJson*> excluded;  // values that it is not
  NumberLimits numbers;
  std::uint32_t min_items = 0, max_items = 0xFFFFFFFF;
  std::size_t prefix_items = 0;  // the longest list of them
  bool unique_items = false;
  std::vector<SchemaDocument::Id> contains;  // members that want items of some kind
  std::uint32_t min_properties = 0, max_properties = 0xFFFFFFFF;
  std::vector<std::string> names;  // of `properties`, then of `required`; in order, each once
  std::set<std::string> declared;  // those of `properties`
  std::set<std::string> required;
  std::vector<std::string> key_patterns;  // of patternProperties, each once
  bool says_additional = false;           // some member has additionalProperties
  bool has_key_schemas = false;           // propertyNames
};

/// Answers questions about sets of one document.
class SchemaSets {
 public:
  explicit SchemaSets(SchemaDocument& document) : document_(document) {}

  SchemaDocument& document() { return document_; }

  /// The set of `ids` with all that they refer to. Nothing: one of them is `false`.
  std::optional<SchemaSet> Close(std::vector<SchemaAtom> atoms) const;
  /// `set` with `member` in place of its atom `done`, e.g. a branch of its anyOf.
  std::optional<SchemaSet> With(const SchemaSet& set, const SchemaAtom& replaced, const SchemaAtom& by,
                                SchemaDocument::Id member) const;
  Result<SchemaFacts> Facts(const SchemaSet& set) const;

  std::optional<SchemaSet> Item(const SchemaSet& set, std::size_t index) const;
  Result<std::optional<SchemaSet>> Member(const SchemaSet& set, const std::string& name);
  /// Of members whose names match exactly `patterns` of patternProperties and are not declared.
  std::optional<SchemaSet> OtherMember(const SchemaSet& set, const std::set<std::string>& patterns) const;

  /// Whether `value` satisfies the set.
  Result<bool> Valid(const SchemaJson& value, const SchemaSet& set, int depth = 0);

  /// The values that satisfy the set, each once, if they are few and simple to find; else nothing.
  Result<std::optional<std::vector<SchemaJson>>> Enumerate(const SchemaSet& set, std::size_t most, int depth = 0);

  /// Whether it is certain that nothing which is produced for `made` satisfies `other`.
  Result<bool> Excludes(const SchemaSet& made, const SchemaSet& other, int depth = 0);

  /// How many items must satisfy the `contains` of a member.
  struct Contained {
    std::uint32_t least = 1;
    std::uint32_t most = 0xFFFFFFFF;
  };
  Contained ContainedIn(SchemaDocument::Id id) const;
  /// The set that an item of `set` at `index` satisfies besides, if it counts for the `contains` of `id`.
  std::optional<SchemaSet> ContainedItem(const SchemaSet& set, std::size_t index, SchemaDocument::Id id) const;

  /// What `facts` say of the length of strings, but for bounds that their patterns and formats imply.
  Result<std::pair<std::uint32_t, std::uint32_t>> OwnLengths(const SchemaFacts& facts);
  /// The texts that satisfy the set, as far as it speaks of strings; without alternatives and lists of values.
  Result<CharDfa> Strings(const SchemaFacts& facts);
  /// The names that propertyNames of all of `set` allow; everything, if there are none.
  Result<CharDfa> AllowedNames(const SchemaSet& set);

 private:
  /// The propertyNames of all.
  std::optional<SchemaSet> Names(const SchemaSet& set) const;
  Result<bool> ValidAtom(const SchemaJson& value, const SchemaAtom& atom, int depth);
  /// `list` lies in the document.
  bool IsIn(const SchemaJson& value, const SchemaJson& list);
  /// Of one subschema by itself; kept.
  Result<const SchemaFacts*> FactsOf(SchemaDocument::Id id);
  Result<bool> ValidObject(const SchemaJson& value, SchemaDocument::Id id, int depth);
  Result<bool> ValidArray(const SchemaJson& value, SchemaDocument::Id id, int depth);
  Result<bool> ValidString(const std::string& value, SchemaDocument::Id id);
  Result<bool> ValidNumber(const SchemaJson& value, SchemaDocument::Id id);
  Result<bool> ExcludesObject(const SchemaSet& made, const SchemaFacts& facts, const SchemaSet& other,
                              const SchemaFacts& other_facts, int depth);
  Result<bool> ExcludesArray(const SchemaSet& made, const SchemaFacts& facts, const SchemaSet& other,
                             const SchemaFacts& other_facts, int depth);

  SchemaDocument& document_;
  std::unordered_map<const SchemaJson*, std::unordered_set<std::string>> value_keys_;  // of lists that were asked about
  std::unordered_map<SchemaDocument::Id, SchemaFacts> own_facts_;
};

/// The type bits of a JSON value.
unsigned TypeOf(const SchemaJson& value);

/// Equal as JSON Schema has it: 1 and 1.0 are.
bool SameValue(const SchemaJson& a, const SchemaJson& b);

/// The strings among the values that are excluded.
std::vector<std::string> ExcludedTexts(const SchemaFacts& facts);

/// Whether an object with `facts` is given members that nothing declares.
inline bool TakesOtherMembers(const SchemaFacts& facts) {
  return facts.says_additional || !facts.key_patterns.empty() || facts.declared.empty() ||
         facts.min_properties > facts.names.size();
}

}  // namespace quorum::grammar
