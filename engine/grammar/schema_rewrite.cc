#include "engine/grammar/schema_rewrite.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace quorum::grammar {
namespace {

constexpr std::size_t kMaxParts = 100'000;
constexpr int kMaxDepth = 64;

constexpr std::array<std::string_view, 7> kSchemaKeywords = {
    "additionalProperties", "propertyNames", "items", "additionalItems", "contains", "not", "if"};
constexpr std::array<std::string_view, 4> kListKeywords = {"anyOf", "oneOf", "allOf", "prefixItems"};
constexpr std::array<std::string_view, 4> kMapKeywords = {"properties", "patternProperties", "$defs", "definitions"};
// Of these a negation knows nothing, but they say nothing about values either.
constexpr std::array<std::string_view, 25> kSilent = {
    "$defs",       "definitions",     "$anchor",          "$id",          "id",      "$schema",  "$comment",
    "$vocabulary", "title",           "description",      "default",      "example", "examples", "deprecated",
    "readOnly",    "writeOnly",       "externalDocs",     "then",         "else",    "strict",   "discriminator",
    "xml",         "contentEncoding", "contentMediaType", "contentSchema"};

SchemaJson AnyOf(SchemaJson branches) {
  if (branches.empty()) return false;
  return branches.size() == 1 ? branches.front() : SchemaJson{{"anyOf", std::move(branches)}};
}

SchemaJson AllOf(SchemaJson a, SchemaJson b) { return {{"allOf", SchemaJson::array({std::move(a), std::move(b)})}}; }

class Rewriter {
 public:
  explicit Rewriter(const SchemaJson& root) : root_(root) {}

  Status Rewrite(SchemaJson& schema, const std::string& at, int depth) {
    if (!schema.is_object()) return {};
    if (depth > 2 * kMaxDepth) return Wrong(at, "nested too deeply");
    QUORUM_TRY(Charge(schema.size() + 1));
    SchemaJson all = SchemaJson::array();
    // Members that are not named may follow where the schema names none itself.
    const bool open = !schema.contains("properties");
    if (const auto negated = schema.find("not"); negated != schema.end()) {
      QUORUM_ASSIGN(SchemaJson rest, Negate(*negated, at + "/not", open, 0));
      all.push_back(std::move(rest));
    }
    if (const auto condition = schema.find("if"); condition != schema.end()) {
      QUORUM_ASSIGN(SchemaJson both, Conditional(schema, at, open, false, 0));
      all.push_back(std::move(both));
    }
    for (const char* keyword : {"dependentRequired", "dependentSchemas", "dependencies"}) {
      const auto found = schema.find(keyword);
      if (found == schema.end()) continue;
      for (const auto& [name, needs] : found->items()) {
        QUORUM_TRY(Charge(Size(needs)));
        SchemaJson there = {{"required", SchemaJson::array({name})}};
        if (needs.is_array()) {
          for (const SchemaJson& needed : needs) there["required"].push_back(needed);
        } else {
          there["allOf"] = SchemaJson::array({needs});
        }
        all.push_back(AnyOf(SchemaJson::array({Without(name, open), std::move(there)})));
      }
    }
    for (const char* keyword : {"not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies"}) {
      schema.erase(keyword);
    }
    if (!all.empty()) {
      SchemaJson& list = schema["allOf"];
      if (!list.is_array()) list = SchemaJson::array();
      for (SchemaJson& one : all) list.push_back(std::move(one));
    }
    return RewriteChildren(schema, at, depth);
  }

 private:
  static Error Wrong(const std::string& at, const std::string& what) {
    const std::string place = at.size() > 300 ? "..." + at.substr(at.size() - 300) : at;
    return InvalidArgument("the schema at " + place + ": " + what);
  }

  Status Charge(std::size_t parts) {
    parts_ += parts;
    return parts_ > kMaxParts ? Status(InvalidArgument("the schema combines too many alternatives")) : Status();
  }

  static std::size_t Size(const SchemaJson& json) {
    std::size_t size = 1;
    if (json.is_structured()) {
      for (const SchemaJson& part : json) size += Size(part);
    }
    return size;
  }

  Status RewriteChildren(SchemaJson& schema, const std::string& at, int depth) {
    for (const auto& [keyword, value] : schema.items()) {
      const auto in = [&name = keyword](const auto& names) {
        return std::find(names.begin(), names.end(), name) != names.end();
      };
      const std::string there = at + "/" + EscapePointer(keyword);
      if (in(kSchemaKeywords) && !value.is_array()) {
        QUORUM_TRY(Rewrite(value, there, depth + 1));
      } else if (in(kMapKeywords) || ((in(kListKeywords) || in(kSchemaKeywords)) && value.is_array())) {
        for (const auto& [key, sub] : value.items()) {
          QUORUM_TRY(Rewrite(sub, there + "/" + EscapePointer(key), depth + 1));
        }
      }
    }
    return {};
  }

  /// An object that does not have `name`.
  static SchemaJson Without(const std::string& name, bool open) {
    SchemaJson schema = {{"properties", {{name, false}}}};
    if (open) schema["additionalProperties"] = true;
    return schema;
  }

  static SchemaJson OfType(const char* type, const char* keyword, SchemaJson value) {
    return {{"type", type}, {keyword, std::move(value)}};
  }

  /// (if and then) or (not if and else); negated: (if and not then) or (not if and not else).
  Result<SchemaJson> Conditional(const SchemaJson& schema, const std::string& at, bool open, bool negated, int depth) {
    SchemaJson branches[2];
    for (const bool holds : {true, false}) {
      const char* keyword = holds ? "then" : "else";
      SchemaJson& branch = branches[holds ? 0 : 1];
      branch = schema.contains(keyword) ? schema[keyword] : SchemaJson(true);
      QUORUM_TRY(Charge(Size(branch) + Size(schema["if"])));
      if (negated) {
        QUORUM_ASSIGN(branch, Negate(SchemaJson(branch), at + "/" + keyword, open, depth + 1));
      }
    }
    if (branches[0] == true && branches[1] == true) return SchemaJson(true);
    QUORUM_ASSIGN(SchemaJson otherwise, Negate(schema["if"], at + "/if", open, depth + 1));
    return AnyOf(SchemaJson::array(
        {AllOf(schema["if"], std::move(branches[0])), AllOf(std::move(otherwise), std::move(branches[1]))}));
  }

  /// What holds for exactly the values for which `schema` does not.
  Result<SchemaJson> Negate(const SchemaJson& schema, const std::string& at, bool open, int depth) {
    if (schema.is_boolean()) return SchemaJson(!schema.get<bool>());
    if (depth > kMaxDepth) return Wrong(at, "this recursion cannot be negated");
    QUORUM_TRY(Charge(Size(schema)));
    SchemaJson ways = SchemaJson::array();  // each keyword may be the one that fails
    for (const auto& [keyword, value] : schema.items()) {
      const bool silent =
          std::find(kSilent.begin(), kSilent.end(), keyword) != kSilent.end() || keyword.compare(0, 2, "x-") == 0;
      if (silent) continue;
      QUORUM_ASSIGN(SchemaJson way, NegateKeyword(schema, keyword, value, at, open, depth));
      if (way != false) ways.push_back(std::move(way));
    }
    return AnyOf(std::move(ways));
  }

  Result<SchemaJson> NegateKeyword(const SchemaJson& schema, const std::string& keyword, const SchemaJson& value,
                                   const std::string& at, bool open, int depth) {
    const std::string there = at + "/" + EscapePointer(keyword);
    const auto each = [&](const SchemaJson& list, auto&& negate) -> Result<SchemaJson> {
      SchemaJson parts = SchemaJson::array();
      for (const auto& [key, sub] : list.items()) {
        QUORUM_ASSIGN(SchemaJson part, negate(key, sub));
        parts.push_back(std::move(part));
      }
      return parts;
    };
    const auto plain = [&](const std::string& key, const SchemaJson& sub) {
      return Negate(sub, there + "/" + EscapePointer(key), open, depth + 1);
    };
    const auto more = [&value](int by) { return SchemaJson(value.get<double>() + by); };
    if (keyword == "type") return OtherTypes(value, there);
    if (keyword == "const") return SchemaJson{{kNoneOf, SchemaJson::array({value})}};
    if (keyword == "enum") return SchemaJson{{kNoneOf, value}};
    if (keyword == "pattern") return OfType("string", kNotPattern, value);
    if (keyword == "minimum") return OfType("number", "exclusiveMaximum", value);
    if (keyword == "maximum") return OfType("number", "exclusiveMinimum", value);
    if (keyword == "exclusiveMinimum") return OfType("number", "maximum", value);
    if (keyword == "exclusiveMaximum") return OfType("number", "minimum", value);
    for (const auto& [type, low, high] :
         {std::array{"string", "minLength", "maxLength"}, std::array{"array", "minItems", "maxItems"},
          std::array{"object", "minProperties", "maxProperties"}}) {
      if (keyword == high) return OfType(type, low, more(1));
      if (keyword == low) return value.get<double>() == 0 ? SchemaJson(false) : OfType(type, high, more(-1));
    }
    if (keyword == "required") {
      SchemaJson ways = SchemaJson::array();
      for (const SchemaJson& name : value) {
        SchemaJson way = Without(name.get<std::string>(), open);
        way["type"] = "object";
        ways.push_back(std::move(way));
      }
      return AnyOf(std::move(ways));
    }
    if (keyword == "properties") {
      SchemaJson ways = SchemaJson::array();
      for (const auto& [name, sub] : value.items()) {
        QUORUM_ASSIGN(SchemaJson other, plain(name, sub));
        if (other == false) continue;
        SchemaJson way = {{"type", "object"}, {"required", SchemaJson::array({name})}, {"properties", {{name, other}}}};
        if (open) way["additionalProperties"] = true;
        ways.push_back(std::move(way));
      }
      return AnyOf(std::move(ways));
    }
    if (keyword == "items" && !value.is_array() && !schema.contains("prefixItems")) {
      QUORUM_ASSIGN(SchemaJson other, Negate(value, there, open, depth + 1));
      return OfType("array", "contains", std::move(other));
    }
    if (keyword == "contains" && !schema.contains("minContains") && !schema.contains("maxContains")) {
      QUORUM_ASSIGN(SchemaJson other, Negate(value, there, open, depth + 1));
      return OfType("array", "items", std::move(other));
    }
    if (keyword == "anyOf") {
      QUORUM_ASSIGN(SchemaJson all, each(value, plain));
      return SchemaJson{{"allOf", std::move(all)}};
    }
    if (keyword == "allOf") {
      QUORUM_ASSIGN(SchemaJson ways, each(value, plain));
      return AnyOf(std::move(ways));
    }
    if (keyword == "not") return value;
    if (keyword == "if") return Conditional(schema, at, open, true, depth);
    if (keyword == "$ref") {
      const auto& reference = value.get_ref<const std::string&>();
      try {
        if (reference.compare(0, 2, "#/") == 0) {
          return Negate(root_.at(SchemaJson::json_pointer(reference.substr(1))), there, open, depth + 1);
        }
        if (reference == "#") return Negate(root_, there, open, depth + 1);
      } catch (const SchemaJson::exception&) {
        return Wrong(there, "it leads nowhere");
      }
    }
    return Wrong(there, "this keyword is not supported where it is negated");
  }

  static Result<SchemaJson> OtherTypes(const SchemaJson& type, const std::string& at) {
    const auto has = [&type](const char* name) {
      return type == name || (type.is_array() && std::find(type.begin(), type.end(), name) != type.end());
    };
    if (has("integer") && !has("number")) {
      return Wrong(at, "'integer' is not supported where it is negated; use 'number', or bounds");
    }
    SchemaJson others = SchemaJson::array();
    for (const char* name : {"object", "array", "string", "number", "boolean", "null"}) {
      if (!has(name)) others.push_back(name);
    }
    return others.empty() ? SchemaJson(false) : SchemaJson{{"type", std::move(others)}};
  }

  const SchemaJson root_;  // as it was, for references
  std::size_t parts_ = 0;
};

}  // namespace

Status RewriteSchema(SchemaJson& root) { return Rewriter(root).Rewrite(root, "#", 0); }

}  // namespace quorum::grammar
