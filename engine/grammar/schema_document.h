// A JSON schema as a document: its subschemas by number, each keyword checked, references resolved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/result.h"
#include "engine/grammar/char_dfa.h"

namespace quorum::grammar {

using SchemaJson = nlohmann::ordered_json;

/// Immutable but for caches; one thread.
class SchemaDocument {
 public:
  using Id = std::int32_t;  // of a subschema; 0 is the root

  /// Errors: kInvalidArgument, naming the place as a JSON pointer.
  static Result<std::unique_ptr<SchemaDocument>> Parse(std::string_view text);

  const SchemaJson& schema(Id id) const { return *nodes_[static_cast<std::size_t>(id)].json; }
  /// Where it stands, as "#/properties/a".
  std::string Pointer(Id id) const;
  /// The number of a subschema, which must be one: `schema(...)` of some id or a value found in one.
  Id IdOf(const SchemaJson& json) const { return ids_.at(&json); }
  /// Its keyword, or null. A keyword of a boolean schema is never there.
  const SchemaJson* Find(Id id, const char* keyword) const;
  /// What its "$ref" refers to; -1: it has none.
  Id Reference(Id id) const { return nodes_[static_cast<std::size_t>(id)].reference; }

  Error Wrong(Id id, std::string_view keyword, std::string_view what) const;

  /// The automaton of a pattern (matching anywhere), cached. Errors: without a place.
  Result<const CharDfa*> PatternDfa(const std::string& pattern);
  /// Of a known format with rules; as a whole match.
  Result<const CharDfa*> FormatDfa(const std::string& format);

  /// Those that it names without a pattern beside them; nothing is asked for them.
  const std::set<std::string>& unknown_formats() const { return unknown_formats_; }

  /// Counts work that grows with combinations. Errors: too much of it.
  Status Charge(std::size_t work);

 private:
  struct Node {
    const SchemaJson* json;
    Id parent;
    std::string step;  // from the parent: "properties/a"
    Id reference = -1;
  };

  Status Walk(const SchemaJson& schema, Id parent, std::string step, int depth);
  Status CheckKeywords(Id id);
  Status CheckKeyword(Id id, const std::string& keyword, const SchemaJson& value);
  Status WalkChildren(Id id, int depth);
  Status Resolve();
  Result<Id> Target(Id from, const std::string& reference) const;
  Result<const CharDfa*> CachedDfa(const std::string& key, const std::string& pattern, bool whole);

  SchemaJson root_;
  std::vector<Node> nodes_;
  std::unordered_map<const SchemaJson*, Id> ids_;
  std::map<std::string, Id> anchors_;
  std::map<std::string, std::unique_ptr<CharDfa>> dfas_;
  std::set<std::string> unknown_formats_;
  std::size_t work_ = 0;
  bool needs_rewriting_ = false;  // some keyword is said with others (schema_rewrite.h)
  bool rewritten_ = false;
};

/// A JSON pointer's part: "~" and "/" escaped (RFC 6901).
std::string EscapePointer(std::string_view name);

}  // namespace quorum::grammar
