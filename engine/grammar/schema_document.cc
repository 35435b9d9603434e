#include "engine/grammar/schema_document.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "engine/grammar/formats.h"
#include "engine/grammar/regex.h"
#include "engine/grammar/schema_rewrite.h"

namespace quorum::grammar {
namespace {

constexpr std::size_t kMaxBytes = 1 << 20;
constexpr int kMaxNesting = 128;
constexpr std::size_t kMaxSubschemas = 50'000;
constexpr std::size_t kMaxWork = 3'000'000;

// What a keyword's value must be.
enum class Shape {
  kSchema,
  kSchemaList,
  kSchemaMap,
  kCount,
  kNumber,
  kString,
  kNames,
  kType,
  kEnum,
  kAny,
  kItems,  // a schema or, before 2020-12, a list
  kBoolean,
  kNamesMap,      // lists of names
  kDependencies,  // schemas or lists of names
  kNote,          // says something to people or tools, not to validators
  kUnsupported,
};

struct Keyword {
  std::string_view name;
  Shape shape;
};
constexpr std::array<Keyword, 66> kKeywords = {{
    {"type", Shape::kType},
    {"enum", Shape::kEnum},
    {"const", Shape::kAny},
    {"properties", Shape::kSchemaMap},
    {"patternProperties", Shape::kSchemaMap},
    {"additionalProperties", Shape::kSchema},
    {"propertyNames", Shape::kSchema},
    {"required", Shape::kNames},
    {"minProperties", Shape::kCount},
    {"maxProperties", Shape::kCount},
    {"items", Shape::kItems},
    {"prefixItems", Shape::kSchemaList},
    {"additionalItems", Shape::kSchema},
    {"minItems", Shape::kCount},
    {"maxItems", Shape::kCount},
    {"uniqueItems", Shape::kBoolean},
    {"contains", Shape::kSchema},
    {"minContains", Shape::kCount},
    {"maxContains", Shape::kCount},
    {"minLength", Shape::kCount},
    {"maxLength", Shape::kCount},
    {"pattern", Shape::kString},
    {"format", Shape::kString},
    {"minimum", Shape::kNumber},
    {"maximum", Shape::kNumber},
    {"exclusiveMinimum", Shape::kNumber},
    {"exclusiveMaximum", Shape::kNumber},
    {"multipleOf", Shape::kNumber},
    {"anyOf", Shape::kSchemaList},
    {"oneOf", Shape::kSchemaList},
    {"allOf", Shape::kSchemaList},
    {"$ref", Shape::kString},
    {"$defs", Shape::kSchemaMap},
    {"definitions", Shape::kSchemaMap},
    {"$anchor", Shape::kString},
    {"$id", Shape::kString},
    {"id", Shape::kNote},
    {"$schema", Shape::kNote},
    {"$comment", Shape::kNote},
    {"$vocabulary", Shape::kNote},
    {"title", Shape::kNote},
    {"description", Shape::kNote},
    {"default", Shape::kNote},
    {"example", Shape::kNote},
    {"examples", Shape::kNote},
    {"deprecated", Shape::kNote},
    {"readOnly", Shape::kNote},
    {"writeOnly", Shape::kNote},
    {"discriminator", Shape::kNote},  // OpenAPI: a hint beside oneOf
    {"externalDocs", Shape::kNote},
    {"xml", Shape::kNote},
    {"contentEncoding", Shape::kNote},
    {"contentMediaType", Shape::kNote},
    {"contentSchema", Shape::kNote},
    {"strict", Shape::kNote},
    {"not", Shape::kSchema},
    {"if", Shape::kSchema},
    {"then", Shape::kSchema},
    {"else", Shape::kSchema},
    {"dependentRequired", Shape::kNamesMap},
    {"dependentSchemas", Shape::kSchemaMap},
    {"dependencies", Shape::kDependencies},
    {"unevaluatedItems", Shape::kUnsupported},
    {"unevaluatedProperties", Shape::kUnsupported},
    {"$dynamicRef", Shape::kUnsupported},
    {"$recursiveRef", Shape::kUnsupported},
}};
constexpr std::array<std::string_view, 7> kTypes = {"null",   "boolean", "integer", "number",
                                                    "string", "array",   "object"};

const Keyword* FindKeyword(std::string_view name) {
  const auto* found =
      std::find_if(kKeywords.begin(), kKeywords.end(), [&](const Keyword& k) { return k.name == name; });
  return found == kKeywords.end() ? nullptr : found;
}

bool IsSchema(const SchemaJson& value) { return value.is_object() || value.is_boolean(); }

bool IsNames(const SchemaJson& value) {
  return value.is_array() &&
         std::all_of(value.begin(), value.end(), [](const SchemaJson& name) { return name.is_string(); });
}

/// Nesting of brackets outside of strings, so that parsing cannot use up the stack.
bool TooDeep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > 2 * kMaxNesting) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

std::string Unescape(std::string_view part) {
  std::string out;
  for (std::size_t i = 0; i < part.size(); ++i) {
    const bool escape = part[i] == '~' && i + 1 < part.size() && (part[i + 1] == '0' || part[i + 1] == '1');
    out.push_back(escape ? (part[++i] == '0' ? '~' : '/') : part[i]);
  }
  return out;
}

}  // namespace

std::string EscapePointer(std::string_view name) {
  std::string out;
  for (const char c : name) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return out;
}

std::string SchemaDocument::Pointer(Id id) const {
  std::vector<const std::string*> steps;
  for (; id > 0; id = nodes_[static_cast<std::size_t>(id)].parent)
    steps.push_back(&nodes_[static_cast<std::size_t>(id)].step);
  std::string pointer = "#";
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) pointer += "/" + **step;
  return pointer;
}

Error SchemaDocument::Wrong(Id id, std::string_view keyword, std::string_view what) const {
  std::string at = Pointer(id) + (keyword.empty() ? "" : "/" + EscapePointer(keyword));
  if (at.size() > 300) at = "..." + at.substr(at.size() - 300);
  return InvalidArgument("the schema at " + at + ": " + std::string(what));
}

const SchemaJson* SchemaDocument::Find(Id id, const char* keyword) const {
  const SchemaJson& json = schema(id);
  if (!json.is_object()) return nullptr;
  const auto it = json.find(keyword);
  return it == json.end() ? nullptr : &*it;
}

Status SchemaDocument::Charge(std::size_t work) {
  work_ += work;
  if (work_ > kMaxWork) return InvalidArgument("the schema combines too many alternatives");
  return {};
}

Result<std::unique_ptr<SchemaDocument>> SchemaDocument::Parse(std::string_view text) {
  if (text.size() > kMaxBytes)
    return InvalidArgument("the schema is larger than " + std::to_string(kMaxBytes) + " bytes");
  if (TooDeep(text)) return InvalidArgument("the schema is nested too deeply");
  auto document = std::make_unique<SchemaDocument>();
  try {
    document->root_ = SchemaJson::parse(text);
  } catch (const SchemaJson::exception&) {
    return InvalidArgument("the schema is not valid JSON");
  }
  QUORUM_TRY(document->Walk(document->root_, -1, "", 0));
  if (document->needs_rewriting_) {
    document->rewritten_ = true;
    document->nodes_.clear();
    document->ids_.clear();
    document->anchors_.clear();
    QUORUM_TRY(RewriteSchema(document->root_));
    QUORUM_TRY(document->Walk(document->root_, -1, "", 0));
  }
  QUORUM_TRY(document->Resolve());
  return document;
}

Status SchemaDocument::Walk(const SchemaJson& schema, Id parent, std::string step, int depth) {
  const auto id = static_cast<Id>(nodes_.size());
  if (nodes_.size() >= kMaxSubschemas) return InvalidArgument("the schema has too many parts");
  nodes_.push_back({&schema, parent, std::move(step)});
  ids_.emplace(&schema, id);
  if (!IsSchema(schema)) return Wrong(id, "", "a schema must be an object or a boolean");
  if (depth > kMaxNesting) return Wrong(id, "", "nested too deeply");
  if (schema.is_boolean()) return {};
  QUORUM_TRY(CheckKeywords(id));
  return WalkChildren(id, depth);
}

Status SchemaDocument::CheckKeywords(Id id) {
  for (const auto& [name, value] : schema(id).items()) QUORUM_TRY(CheckKeyword(id, name, value));
  if (const SchemaJson* anchor = Find(id, "$anchor")) anchors_.emplace(anchor->get<std::string>(), id);
  if (const SchemaJson* own = Find(id, "$id");
      own != nullptr && id != 0 && own->get_ref<const std::string&>()[0] != '#') {
    return Wrong(id, "$id", "an '$id' below the root is not supported");
  }
  return {};
}

Status SchemaDocument::CheckKeyword(Id id, const std::string& name, const SchemaJson& value) {
  const Keyword* keyword = FindKeyword(name);
  if (keyword == nullptr) {
    if (name.substr(0, 2) == "x-" || (rewritten_ && (name == kNoneOf || name == kNotPattern))) return {};
    return Wrong(id, name, "unknown keyword");
  }
  constexpr std::array<std::string_view, 5> kRewritten = {"not", "if", "dependentRequired", "dependentSchemas",
                                                          "dependencies"};
  if (std::find(kRewritten.begin(), kRewritten.end(), name) != kRewritten.end()) needs_rewriting_ = true;
  const auto wrong = [&](std::string_view expected) { return Wrong(id, name, "must be " + std::string(expected)); };
  switch (keyword->shape) {
    case Shape::kNote: return {};
    case Shape::kAny: return {};
    case Shape::kUnsupported: return Wrong(id, name, "this keyword is not supported");
    case Shape::kBoolean: return value.is_boolean() ? Status() : wrong("a boolean");
    case Shape::kNamesMap:
      return value.is_object() && std::all_of(value.begin(), value.end(), IsNames)
                 ? Status()
                 : wrong("an object of lists of names");
    case Shape::kDependencies: {
      const auto fits = [](const SchemaJson& one) { return IsNames(one) || IsSchema(one); };
      return value.is_object() && std::all_of(value.begin(), value.end(), fits)
                 ? Status()
                 : wrong("an object of schemas or lists of names");
    }
    case Shape::kSchema: return IsSchema(value) ? Status() : wrong("a schema");
    case Shape::kItems: return IsSchema(value) || value.is_array() ? Status() : wrong("a schema");
    case Shape::kSchemaList:
      return value.is_array() && !value.empty() ? Status() : wrong("a list of schemas, not empty");
    case Shape::kSchemaMap: return value.is_object() ? Status() : wrong("an object of schemas");
    case Shape::kCount: {
      const double count = value.is_number() ? value.get<double>() : -1;
      return count >= 0 && count == std::floor(count) ? Status() : wrong("a whole number, at least 0");
    }
    case Shape::kNumber:
      if (!value.is_number()) return wrong("a number");
      if (name == "multipleOf" && value.get<double>() <= 0) return wrong("above 0");
      return {};
    case Shape::kString:
      if (!value.is_string()) return wrong("a string");
      if (value.get_ref<const std::string&>().empty() && name[0] == '$') return wrong("not empty");
      if (name == "format") {
        // A note, where it is not known (draft 2020-12, validation, 7.2.1). Generators write a pattern that says it
        // too.
        const auto& format = value.get_ref<const std::string&>();
        constexpr std::array<std::string_view, 4> kOfNumbers = {"int32", "int64", "float", "double"};
        const bool known = FormatPattern(format) != nullptr ||
                           std::find(kOfNumbers.begin(), kOfNumbers.end(), format) != kOfNumbers.end();
        if (!known && Find(id, "pattern") == nullptr) unknown_formats_.insert(format);
      }
      return {};
    case Shape::kNames: return IsNames(value) ? Status() : wrong("a list of names");
    case Shape::kType: {
      const auto known = [](const SchemaJson& type) {
        return type.is_string() &&
               std::find(kTypes.begin(), kTypes.end(), type.get_ref<const std::string&>()) != kTypes.end();
      };
      const bool fits =
          value.is_array() ? !value.empty() && std::all_of(value.begin(), value.end(), known) : known(value);
      return fits ? Status() : wrong("a type or a list of types");
    }
    case Shape::kEnum: return value.is_array() && !value.empty() ? Status() : wrong("a list, not empty");
  }
  return {};
}

Status SchemaDocument::WalkChildren(Id id, int depth) {
  const SchemaJson& own = schema(id);
  for (const auto& [name, value] : own.items()) {
    const Keyword* keyword = FindKeyword(name);
    if (keyword == nullptr) continue;
    switch (keyword->shape) {
      case Shape::kSchema: QUORUM_TRY(Walk(value, id, name, depth + 1)); break;
      case Shape::kItems:
      case Shape::kSchemaList:
        if (!value.is_array()) {
          QUORUM_TRY(Walk(value, id, name, depth + 1));
          break;
        }
        for (std::size_t i = 0; i < value.size(); ++i) {
          QUORUM_TRY(Walk(value[i], id, name + "/" + std::to_string(i), depth + 1));
        }
        break;
      case Shape::kSchemaMap:
      case Shape::kDependencies:
        for (const auto& [key, sub] : value.items()) {
          if (keyword->shape == Shape::kDependencies && sub.is_array()) continue;  // names
          QUORUM_TRY(Walk(sub, id, name + "/" + EscapePointer(key), depth + 1));
        }
        break;
      default: break;
    }
  }
  return {};
}

Status SchemaDocument::Resolve() {
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const auto id = static_cast<Id>(i);
    if (const SchemaJson* reference = Find(id, "$ref")) {
      QUORUM_ASSIGN(nodes_[i].reference, Target(id, reference->get_ref<const std::string&>()));
    }
  }
  return {};
}

Result<SchemaDocument::Id> SchemaDocument::Target(Id from, const std::string& reference) const {
  const std::size_t hash = reference.find('#');
  const std::string document = reference.substr(0, hash);
  const SchemaJson* own_id = Find(0, "$id");
  std::string own = own_id == nullptr ? "" : own_id->get<std::string>();
  own = own.substr(0, own.find('#'));
  if (!document.empty() && document != own)
    return Wrong(from, "$ref", "only references within the schema are supported");
  const std::string fragment = hash == std::string::npos ? "" : reference.substr(hash + 1);
  if (fragment.empty()) return 0;
  if (fragment[0] != '/') {
    const auto anchor = anchors_.find(fragment);
    if (anchor == anchors_.end()) return Wrong(from, "$ref", "there is no such anchor");
    return anchor->second;
  }
  const SchemaJson* at = &root_;
  for (std::size_t begin = 1; begin <= fragment.size();) {
    const std::size_t end = std::min(fragment.find('/', begin), fragment.size());
    std::string part = Unescape(std::string_view(fragment).substr(begin, end - begin));
    for (std::size_t percent = 0; (percent = part.find('%', percent)) != std::string::npos; ++percent) {
      const auto digit = [&](std::size_t k) {
        const char c = k < part.size() ? part[k] : 'x';
        return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
      };
      if (digit(percent + 1) < 0 || digit(percent + 2) < 0) continue;
      part.replace(percent, 3, 1, static_cast<char>(digit(percent + 1) * 16 + digit(percent + 2)));
    }
    if (at->is_object() && at->contains(part)) {
      at = &(*at)[part];
    } else if (at->is_array() && !part.empty() && part.size() < 7 &&
               part.find_first_not_of("0123456789") == std::string::npos && std::stoul(part) < at->size()) {
      at = &(*at)[std::stoul(part)];
    } else {
      return Wrong(from, "$ref", "it leads nowhere");
    }
    begin = end + 1;
  }
  const auto found = ids_.find(at);
  if (found == ids_.end()) return Wrong(from, "$ref", "it does not lead to a schema");
  return found->second;
}

Result<const CharDfa*> SchemaDocument::CachedDfa(const std::string& key, const std::string& pattern, bool whole) {
  auto& cached = dfas_[key];
  if (cached == nullptr) {
    Grammar scratch;
    QUORUM_ASSIGN(const ExprId expr, ParseRegex(pattern, whole ? RegexMatch::kWhole : RegexMatch::kAnywhere, scratch));
    if (scratch.overflowed()) return Grammar::TooLarge();
    QUORUM_ASSIGN(CharDfa dfa, CharDfa::FromExpr(scratch, expr));
    constexpr std::size_t kLookAheadWork = 50'000;  // intersections, of which the result shows little
    QUORUM_TRY(Charge(dfa.states().size() * 10 + (MayLookAhead(pattern) ? kLookAheadWork : 0)));
    cached = std::make_unique<CharDfa>(std::move(dfa));
  }
  return static_cast<const CharDfa*>(cached.get());
}

Result<const CharDfa*> SchemaDocument::PatternDfa(const std::string& pattern) {
  return CachedDfa("p" + pattern, pattern, false);
}

Result<const CharDfa*> SchemaDocument::FormatDfa(const std::string& format) {
  return CachedDfa("f" + format, FormatPattern(format), true);
}

}  // namespace quorum::grammar
