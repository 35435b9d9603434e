#include "server/parameter_grammar.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "engine/grammar/char_dfa.h"
#include "engine/grammar/formats.h"
#include "engine/grammar/free_text.h"
#include "engine/grammar/json_schema.h"
#include "engine/grammar/regex.h"
#include "server/tools/argument_types.h"

namespace quorum::server {
namespace {

using grammar::ExprId;

constexpr std::string_view kEnd = "</parameter>";
constexpr int kMaxDepth = 16;

Error CannotFollow(std::string_view what) {
  return InvalidArgument(fmt::format("{} cannot be followed in this model's format of calls", what));
}

bool Has(const Json& schema, const char* keyword) { return schema.is_object() && schema.contains(keyword); }

class XmlWriter {
 public:
  XmlWriter(const Json& root, bool exact, grammar::JsonText& json, std::set<std::string>& unknown_formats)
      : root_(root), exact_(exact), json_(json), grammar_(json.grammar()), unknown_formats_(unknown_formats) {}

  Result<ExprId> Write() {
    if (exact_) QUORUM_TRY(CheckRoot());
    const Json properties = root_.value("properties", Json::object());
    const Json required = root_.value("required", Json::array());
    const auto must = [&required](const std::string& key) {
      return required.is_array() && std::find(required.begin(), required.end(), Json(key)) != required.end();
    };
    std::vector<ExprId> parts;
    const auto add = [&](const std::string& key, const Json& schema) -> Status {
      auto value = Value(schema, 0);
      if (!value.ok()) {
        if (exact_) return value.error();
        value = FreeValue();
      }
      const ExprId one = grammar_.Sequence({grammar_.Literal("<parameter=" + key + ">\n"), *value});
      parts.push_back(must(key) ? one : grammar_.Optional(one));
      return {};
    };
    if (properties.is_object()) {
      for (const auto& [key, schema] : properties.items()) QUORUM_TRY(add(key, schema));
    }
    for (const Json& key : required) {
      if (key.is_string() && properties.is_object() && !properties.contains(key))
        QUORUM_TRY(add(key.get<std::string>(), Json::object()));
    }
    return grammar_.Sequence(std::move(parts));
  }

 private:
  Status CheckRoot() const {
    constexpr std::array<std::string_view, 13> kKnown = {"type",    "properties",  "required", "additionalProperties",
                                                         "title",   "description", "$defs",    "definitions",
                                                         "$schema", "$id",         "examples", "default",
                                                         "strict"};
    for (const auto& [keyword, value] : root_.items()) {
      if (std::find(kKnown.begin(), kKnown.end(), keyword) == kKnown.end()) return CannotFollow("'" + keyword + "'");
    }
    const Json properties = root_.value("properties", Json::object());
    if (!properties.is_object()) return CannotFollow("'properties' that is no object");
    for (const auto& [key, value] : properties.items()) {
      if (key.find_first_of("<>\n") != std::string::npos) return CannotFollow("the property '" + key + "'");
    }
    return {};
  }

  ExprId End() { return grammar_.Literal("\n</parameter>\n"); }
  ExprId FreeValue() {
    return grammar::FreeText(grammar_, {{std::string(kEnd), {}, grammar_.Literal("\n"), false}}, false);
  }

  // A value of `schema` and the end of its parameter.
  Result<ExprId> Value(const Json& schema, int depth) {
    if (!schema.is_object()) return FreeValue();
    if (depth > kMaxDepth) return CannotFollow("a schema nested so deeply");
    for (const char* keyword : {"enum", "const"}) {
      if (Has(schema, keyword))
        return OneOf(keyword == std::string_view("enum") ? schema["enum"] : Json::array({schema["const"]}));
    }
    const ArgumentTypes types = TypesOf(root_, schema);
    if (!types.known()) return FreeValue();
    if (types.only_string() && !Has(schema, "$ref") && !Has(schema, "anyOf") && !Has(schema, "oneOf") &&
        !Has(schema, "allOf")) {
      return String(schema);
    }
    if (!types.has(ArgumentTypes::kString)) return Typed(schema);
    std::vector<Json> branches;
    if (const auto type = schema.find("type"); type != schema.end() && type->is_array()) {
      for (const Json& one : *type) {
        branches.push_back(schema);
        branches.back()["type"] = one;
      }
    } else if (const auto reference = schema.find("$ref"); reference != schema.end() && reference->is_string()) {
      const Json* target = Resolve(root_, reference->get_ref<const std::string&>());
      if (target != nullptr) branches.push_back(*target);
    } else {
      for (const char* keyword : {"anyOf", "oneOf"}) {
        if (Has(schema, keyword) && schema[keyword].is_array()) branches = schema[keyword].get<std::vector<Json>>();
      }
    }
    if (branches.empty()) return CannotFollow("such a schema of a string");
    std::vector<ExprId> choices;
    for (const Json& branch : branches) {
      QUORUM_ASSIGN(const ExprId choice, Value(branch, depth + 1));
      choices.push_back(choice);
    }
    return grammar_.Choice(std::move(choices));
  }

  Result<ExprId> OneOf(const Json& values) {
    if (!values.is_array()) return CannotFollow("an 'enum' that is no array");
    std::vector<std::string> texts;
    for (const Json& value : values) {
      std::string text = value.is_string() ? value.get<std::string>() : DumpJson(value);
      if (text.find(kEnd) == std::string::npos) texts.push_back(std::move(text));
    }
    return grammar_.Sequence({grammar_.OneOf(std::move(texts)), End()});
  }

  Result<ExprId> String(const Json& schema) {
    const auto text = [&schema](const char* name) {
      return Has(schema, name) && schema[name].is_string() ? schema[name].get<std::string>() : std::string();
    };
    const auto bound = [&schema](const char* name, std::uint32_t otherwise) {
      const auto given = schema.find(name);
      return given == schema.end() || !given->is_number_unsigned() || given->get<std::uint64_t>() > otherwise
                 ? otherwise
                 : given->get<std::uint32_t>();
    };
    std::vector<std::pair<std::string, grammar::RegexMatch>> rules;
    if (std::string pattern = text("pattern"); !pattern.empty()) {
      rules.emplace_back(std::move(pattern), grammar::RegexMatch::kAnywhere);
    }
    if (const std::string format = text("format"); !format.empty()) {
      const char* known = grammar::FormatPattern(format);
      if (known == nullptr && rules.empty()) unknown_formats_.insert(format);
      if (known != nullptr && *known != 0) rules.emplace_back(known, grammar::RegexMatch::kWhole);
    }
    const bool bounded = Has(schema, "minLength") || Has(schema, "maxLength");
    if (rules.empty() && !bounded) return FreeValue();
    const std::uint32_t least = Has(schema, "minLength") ? bound("minLength", grammar::kUnbounded - 1) : 0;
    const std::uint32_t most = bound("maxLength", grammar::kUnbounded);
    if (rules.empty()) {
      const ExprId any = grammar_.Chars(grammar::CharSet{{0, 0}, {'<', '<'}}.Complement());
      return grammar_.Sequence({grammar_.Repeat(any, least, most), End()});
    }
    if (rules.size() == 1 && !bounded) {
      QUORUM_ASSIGN(const ExprId one, grammar::ParseRegex(rules.front().first, rules.front().second, grammar_));
      return grammar_.Sequence({one, End()});
    }
    const std::uint32_t counted = most == grammar::kUnbounded ? least : most;
    if (most < least || counted >= grammar::CharDfa::kMaxStates) return CannotFollow("such a length beside a pattern");
    auto all = grammar::CharDfa::Length(least, most);
    for (const auto& [pattern, match] : rules) {
      grammar::Grammar scratch;
      QUORUM_ASSIGN(const ExprId one, grammar::ParseRegex(pattern, match, scratch));
      if (scratch.overflowed()) return grammar::Grammar::TooLarge();
      QUORUM_ASSIGN(const grammar::CharDfa dfa, grammar::CharDfa::FromExpr(scratch, one));
      QUORUM_ASSIGN(all, all.Intersect(dfa));
    }
    return grammar_.Sequence({grammar_.Machine(all.ToAutomaton()), End()});
  }

  // A value that is no string, as JSON.
  Result<ExprId> Typed(Json schema) {
    for (const char* definitions : {"$defs", "definitions"}) {
      if (Has(root_, definitions) && !schema.contains(definitions)) schema[definitions] = root_[definitions];
    }
    QUORUM_ASSIGN(const ExprId typed, grammar::AddJsonSchema(DumpJson(schema), json_, &unknown_formats_));
    return grammar_.Sequence({typed, End()});
  }

  const Json& root_;
  const bool exact_;
  grammar::JsonText& json_;
  grammar::Grammar& grammar_;
  std::set<std::string>& unknown_formats_;
};

}  // namespace

Result<ExprId> JsonArguments(const Json& parameters, grammar::JsonText& json, std::set<std::string>& unknown_formats) {
  if (parameters.is_null()) return json.grammar().Literal("{}");  // OpenAI: an empty list of parameters
  Json schema = parameters;
  if (!schema.contains("type")) schema["type"] = "object";
  // A function that takes nothing: anything else would be made up.
  const bool none = schema.contains("properties") && schema["properties"].is_object() && schema["properties"].empty();
  if (none && !schema.contains("additionalProperties") && !schema.contains("patternProperties")) {
    schema["additionalProperties"] = false;
  }
  if (schema["type"] != "object") return InvalidArgument("arguments are an object, whatever '#/type' says");
  return grammar::AddJsonSchema(DumpJson(schema), json, &unknown_formats);
}

Result<ExprId> XmlArguments(const Json& parameters, bool exact, grammar::JsonText& json,
                            std::set<std::string>& unknown_formats) {
  const Json root = parameters.is_object() ? parameters : Json::object();
  return XmlWriter(root, exact, json, unknown_formats).Write();
}

}  // namespace quorum::server
