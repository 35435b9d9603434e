#include "server/output_format.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "engine/grammar/gbnf.h"
#include "engine/grammar/json_schema.h"
#include "engine/grammar/regex.h"

namespace quorum::server {
namespace {

using Kind = OutputFormat::Kind;

Error NotSupported(const std::string& param, std::string_view what) {
  return Error{ErrorCode::kUnsupported, fmt::format("'{}' {}", param, what), param, "unsupported_parameter"};
}

/// A schema as an object, or as a string of JSON (vLLM takes both).
Result<OutputFormat> Schema(const Json& value, const std::string& param) {
  if (value.is_string()) return OutputFormat{Kind::kJsonSchema, value.get<std::string>(), false, param};
  if (!value.is_object() && !value.is_boolean()) {
    return InvalidArgument(fmt::format("'{}' must be a JSON schema, but is {}", param, KindOf(value)), param);
  }
  return OutputFormat{Kind::kJsonSchema, DumpJson(value), false, param};
}

Result<OutputFormat> Text(Kind kind, const Json& value, const std::string& param) {
  if (!value.is_string() || value.get_ref<const std::string&>().empty()) {
    return InvalidArgument(fmt::format("'{}' must be a string, not empty", param), param);
  }
  return OutputFormat{kind, value.get<std::string>(), false, param};
}

Result<OutputFormat> Choices(const Json& value, const std::string& param) {
  const bool texts = value.is_array() && !value.empty() &&
                     std::all_of(value.begin(), value.end(), [](const Json& v) { return v.is_string(); });
  if (!texts) return InvalidArgument(fmt::format("'{}' must be a list of strings, not empty", param), param);
  return OutputFormat{Kind::kChoice, DumpJson(value), false, param};
}

Result<OutputFormat> NamedSchema(const Json& wrapper, const std::string& param, std::vector<std::string>& ignored) {
  JsonFields inner(wrapper, param);
  QUORUM_ASSIGN(const auto name, inner.String("name"));
  const auto usual = [](char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || c == '-';
  };
  if (name && (name->empty() || name->size() > 64 || !std::all_of(name->begin(), name->end(), usual))) {
    return InvalidArgument(fmt::format("'{}.name' must be 1 to 64 letters, digits, '_' or '-'", param),
                           param + ".name");
  }
  QUORUM_TRY(inner.Bool("strict"));  // what is produced satisfies the schema either way
  const Json* schema = inner.Find("schema");
  if (schema == nullptr) return InvalidArgument(fmt::format("'{}.schema' is missing", param), param + ".schema");
  inner.NameUnread(param, ignored);
  return Schema(*schema, param + ".schema");
}

Result<OutputFormat> ResponseFormat(const Json& value, std::vector<std::string>& ignored) {
  const std::string param = "response_format";
  if (!value.is_object() || !value.contains("type") || !value["type"].is_string()) {
    return InvalidArgument("'response_format' must be an object with a 'type'", param);
  }
  JsonFields fields(value, param);
  QUORUM_ASSIGN(const auto type, fields.String("type"));
  const Json* bare = *type == "json_object" ? fields.Find("schema") : nullptr;  // llama-server takes a schema there
  if (*type == "json_schema") fields.Known({"json_schema"});
  fields.NameUnread(param, ignored);
  if (*type == "text") return OutputFormat{};
  if (bare != nullptr) return Schema(*bare, param + ".schema");
  if (*type == "json_object") return OutputFormat{Kind::kJsonObject, {}, false, param};
  if (*type != "json_schema") return NotSupported(param, fmt::format("of type '{}' is not supported", *type));
  const Json* wrapper = fields.Find("json_schema");
  if (wrapper == nullptr || !wrapper->is_object()) {
    return InvalidArgument("'response_format.json_schema' must be an object with a 'schema'", param + ".json_schema");
  }
  return NamedSchema(*wrapper, param + ".json_schema", ignored);
}

Result<OutputFormat> StructuredOutputs(const Json& value) {
  const std::string param = "structured_outputs";
  if (!value.is_object()) return InvalidArgument("'structured_outputs' must be an object", param);
  JsonFields fields(value, param);
  std::vector<OutputFormat> asked;
  const auto take = [&](const char* name, const auto& read) -> Status {
    const Json* field = fields.Find(name);
    if (field == nullptr) return {};
    QUORUM_ASSIGN(OutputFormat format, read(*field, fields.Param(name)));
    asked.push_back(std::move(format));
    return {};
  };
  QUORUM_TRY(take("json", Schema));
  QUORUM_TRY(take("choice", Choices));
  QUORUM_TRY(take("regex", [](const Json& v, const std::string& p) { return Text(Kind::kRegex, v, p); }));
  QUORUM_TRY(take("grammar", [](const Json& v, const std::string& p) { return Text(Kind::kGbnf, v, p); }));
  QUORUM_ASSIGN(const auto object, fields.Bool("json_object"));
  if (object.value_or(false)) asked.push_back({Kind::kJsonObject, {}, false, param + ".json_object"});
  QUORUM_ASSIGN(const auto compact, fields.Bool("disable_any_whitespace"));
  for (const char* known : {"disable_additional_properties", "disable_fallback", "backend", "_backend"})
    fields.Find(known);
  for (const std::string& name : fields.Unread()) return NotSupported(name, "is not supported");
  if (asked.size() != 1) {
    return InvalidArgument("'structured_outputs' must have exactly one of json, regex, choice, grammar and json_object",
                           param);
  }
  asked.front().compact = compact.value_or(false);
  return asked.front();
}

}  // namespace

Result<OutputFormat> ReadOutputFormat(JsonFields& fields, std::vector<std::string>& ignored) {
  std::vector<OutputFormat> asked;
  const auto take = [&](const char* name, const auto& read) -> Status {
    const Json* value = fields.Find(name);
    if (value == nullptr) return {};
    // What turns a feature off is as good as absent; but whoever sent it may have meant a rule that was lost.
    if ((value->is_string() && value->get_ref<const std::string&>().empty()) ||
        (value->is_boolean() && !value->get<bool>()) || (value->is_array() && value->empty())) {
      ignored.emplace_back(name);
      return {};
    }
    QUORUM_ASSIGN(OutputFormat format, read(*value));
    if (format.kind != Kind::kText) asked.push_back(std::move(format));
    return {};
  };
  QUORUM_TRY(take("response_format", [&](const Json& value) { return ResponseFormat(value, ignored); }));
  QUORUM_TRY(take("structured_outputs", StructuredOutputs));
  for (const char* name : {"guided_json", "json_schema"}) {
    QUORUM_TRY(take(name, [&](const Json& value) { return Schema(value, name); }));
  }
  for (const char* name : {"guided_grammar", "grammar"}) {
    QUORUM_TRY(take(name, [&](const Json& value) { return Text(Kind::kGbnf, value, name); }));
  }
  QUORUM_TRY(take("guided_regex", [](const Json& value) { return Text(Kind::kRegex, value, "guided_regex"); }));
  QUORUM_TRY(take("guided_choice", [](const Json& value) { return Choices(value, "guided_choice"); }));
  if (asked.size() > 1) {
    return InvalidArgument(fmt::format("'{}' and '{}' exclude each other", asked[0].param, asked[1].param),
                           asked[1].param);
  }
  return asked.empty() ? OutputFormat{} : asked.front();
}

void NameUnknownFormats(const std::string& param, const std::set<std::string>& formats,
                        std::vector<std::string>& ignored) {
  for (const std::string& format : formats) ignored.push_back(param + ": format " + format);
}

Result<grammar::ExprId> AddOutputFormat(const OutputFormat& format, grammar::Grammar& to,
                                        std::vector<std::string>& ignored) {
  grammar::JsonText json(to, format.compact ? grammar::JsonSpace::kCompact : grammar::JsonSpace::kBounded);
  switch (format.kind) {
    case Kind::kJsonSchema: {
      std::set<std::string> unknown;
      QUORUM_ASSIGN(const grammar::ExprId root, grammar::AddJsonSchema(format.text, json, &unknown));
      NameUnknownFormats(format.param, unknown, ignored);
      return root;
    }
    case Kind::kRegex: return grammar::ParseRegex(format.text, grammar::RegexMatch::kWhole, to);
    case Kind::kChoice: {
      QUORUM_ASSIGN(const Json choices, ParseJson(format.text));
      return to.OneOf(choices.get<std::vector<std::string>>());
    }
    case Kind::kGbnf: return NotSupported(format.param, "cannot be had together with strict tools");
    default: return json.Object();
  }
}

std::string KeyOf(const OutputFormat& format) {
  std::string key = fmt::format("{}{}", static_cast<int>(format.kind), format.compact ? '-' : '+');
  if (format.thinking) {
    const grammar::ThinkingMarks& marks = *format.thinking;
    key += fmt::format("{}:{}:{}:{}{}{}{}", marks.open_token.value_or(-1), marks.close_token.value_or(-1),
                       marks.open.size(), marks.close.size(), marks.open, marks.close, marks.inside ? '<' : '>');
  }
  return key + '\n' + format.text;
}

Result<GrammarCache::Known> GrammarCache::Get(const OutputFormat& format) {
  if (format.kind == Kind::kText) return Known{};
  const auto make = [&format]() -> Result<Made> {
    Made made;
    if (format.kind == Kind::kGbnf) {
      QUORUM_ASSIGN(made.grammar, grammar::ParseGbnf(format.text));
    } else {
      QUORUM_ASSIGN(const grammar::ExprId root, AddOutputFormat(format, made.grammar, made.ignored));
      made.grammar.SetRoot(root);
    }
    if (format.thinking) made.grammar.SetRoot(AfterThinking(made.grammar, *format.thinking, made.grammar.root()));
    if (made.grammar.overflowed()) return grammar::Grammar::TooLarge();
    return made;
  };
  auto known = Get(KeyOf(format), make);
  if (!known.ok()) {
    return InvalidArgument(fmt::format("'{}': {}", format.param, known.error().message), format.param);
  }
  return known;
}

Result<GrammarCache::Known> GrammarCache::Get(const std::string& key, const std::function<Result<Made>()>& make) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = index_.find(key); found != index_.end()) {
      entries_.splice(entries_.begin(), entries_, found->second);
      Trim();
      return found->second->known;
    }
  }
  // Without the lock: others need not wait; at worst two do the same.
  QUORUM_ASSIGN(Made made, make());
  Known known;
  QUORUM_ASSIGN(known.compiled, grammar::CompiledGrammar::Compile(made.grammar, vocabulary_));
  known.ignored = std::move(made.ignored);
  const std::lock_guard lock(mutex_);
  if (index_.count(key) == 0) {
    entries_.push_front({key, known});
    index_[key] = entries_.begin();
    Trim();
  }
  return known;
}

std::size_t GrammarCache::bytes() {
  const std::lock_guard lock(mutex_);
  return BytesKept();
}

/// Drops the oldest until the limits are kept, or one is left. Those that are in use live on with their users.
void GrammarCache::Trim() {
  while (entries_.size() > 1 && (entries_.size() > kMaxGrammars || BytesKept() > kMaxBytes)) {
    index_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

std::size_t GrammarCache::BytesKept() const {
  std::size_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.key.size() + entry.known.compiled->bytes();
  return bytes;
}

}  // namespace quorum::server
