#include "server/anthropic_request.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include <fmt/format.h>

#include "server/engine_fields.h"
#include "server/random_id.h"

namespace quorum::server {
namespace {

constexpr std::string_view kBillingHeader = "x-anthropic-billing-header";
constexpr std::string_view kBlocks = "messages[].content[]";

Error WrongShape(const std::string& at, std::string_view expected) {
  return InvalidArgument(fmt::format("'{}' must be {}", at, expected), at);
}

Result<std::string> TextOf(const Json& block, const std::string& at) {
  const auto text = block.find("text");
  if (text == block.end() || !text->is_string()) return WrongShape(at + ".text", "a string");
  return text->get<std::string>();
}

Result<std::string> TypeOf(const Json& block, const std::string& at) {
  const auto type = block.is_object() ? block.find("type") : block.end();
  if (!block.is_object() || type == block.end() || !type->is_string()) {
    return WrongShape(at, "an object with a 'type'");
  }
  return type->get<std::string>();
}

Error Unsupported(const std::string& at, const std::string& type) {
  return {ErrorCode::kUnsupported,
          fmt::format("'{}' is a block of type '{}', which this model does not read", at, type), at,
          "unsupported_content_part"};
}

// Names the members of a block that nobody reads. A cache_control is a hint that holds anyway: prefixes are cached.
void NameUnreadIn(const Json& block, std::initializer_list<std::string_view> known, std::string_view as,
                  std::vector<std::string>& ignored) {
  JsonFields fields(block);
  fields.Known(known);
  fields.Known({"type", "cache_control"});
  const auto citations = block.find("citations");
  if (citations != block.end() && citations->empty()) fields.Known({"citations"});
  const auto failed = block.find("is_error");
  if (failed != block.end() && *failed == false) fields.Known({"is_error"});
  fields.NameUnread(as, ignored);
}

// A string, or text blocks joined by blank lines where `separate`. `as`: what the blocks are called in `ignored`.
Result<std::string> ReadText(const Json& content, const std::string& at, bool separate, std::string_view as,
                             std::vector<std::string>& ignored) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) return WrongShape(at, "a string or an array of blocks");
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const std::string where = fmt::format("{}[{}]", at, i);
    QUORUM_ASSIGN(const std::string type, TypeOf(content[i], where));
    if (type != "text") return Unsupported(where, type);
    QUORUM_ASSIGN(const std::string piece, TextOf(content[i], where));
    NameUnreadIn(content[i], {"text"}, as, ignored);
    if (separate && piece.starts_with(kBillingHeader)) continue;
    if (separate && !text.empty()) text += "\n\n";
    text += piece;
  }
  return text;
}

Status ReadSystem(JsonFields& fields, Json& messages, std::vector<std::string>& ignored) {
  const Json* system = fields.Find("system");
  if (system == nullptr) return {};
  QUORUM_ASSIGN(std::string text, ReadText(*system, "system", true, "system[]", ignored));
  if (text.starts_with(kBillingHeader)) text.erase(0, std::min(text.find('\n'), text.size() - 1) + 1);
  if (!text.empty()) messages.push_back({{"role", "system"}, {"content", std::move(text)}});
  return {};
}

Status ReadToolUse(const Json& block, const std::string& at, Json& calls) {
  const auto name = block.find("name"), id = block.find("id"), input = block.find("input");
  if (name == block.end() || !name->is_string()) return WrongShape(at + ".name", "a string");
  if (id == block.end() || !id->is_string()) return WrongShape(at + ".id", "a string");
  if (input != block.end() && !input->is_object()) return WrongShape(at + ".input", "an object");
  calls.push_back({{"id", *id},
                   {"type", "function"},
                   {"function", {{"name", *name}, {"arguments", input == block.end() ? Json::object() : *input}}}});
  return {};
}

Status ReadToolResult(const Json& block, const std::string& at, Json& messages, std::vector<std::string>& ignored) {
  const auto id = block.find("tool_use_id");
  if (id == block.end() || !id->is_string()) return WrongShape(at + ".tool_use_id", "a string");
  const auto content = block.find("content");
  std::string text;
  if (content != block.end() && !content->is_null()) {
    QUORUM_ASSIGN(text, ReadText(*content, at + ".content", false, "messages[].content[].content[]", ignored));
  }
  messages.push_back({{"role", "tool"}, {"content", std::move(text)}, {"tool_call_id", *id}});
  return {};
}

// One message becomes one or more: results of tools are messages of their own, before what the user says.
Status ReadMessage(const Json& message, const std::string& at, Json& messages, std::vector<std::string>& ignored) {
  if (!message.is_object()) return WrongShape(at, "an object");
  JsonFields fields(message, at);
  QUORUM_ASSIGN(const auto role, fields.String("role"));
  const bool assistant = role == "assistant";
  if (!assistant && role != "user" && role != "system") {
    return InvalidArgument(fmt::format("'{}.role' must be \"user\" or \"assistant\"", at), at + ".role");
  }
  const Json* content = fields.Find("content");
  if (content == nullptr) return InvalidArgument(fmt::format("'{}.content' is missing", at), at + ".content");
  if (assistant) fields.Known({"id", "type", "model", "stop_reason", "stop_sequence", "usage"});  // a whole reply
  fields.NameUnread("messages[]", ignored);
  Json read = {{"role", *role}, {"content", ""}};
  if (content->is_string()) {
    read["content"] = *content;
    messages.push_back(std::move(read));
    return {};
  }
  if (!content->is_array()) return WrongShape(at + ".content", "a string or an array of blocks");
  std::string text, reasoning;
  bool said = false;
  bool results = false;
  Json calls = Json::array();
  for (std::size_t i = 0; i < content->size(); ++i) {
    const Json& block = (*content)[i];
    const std::string where = fmt::format("{}.content[{}]", at, i);
    QUORUM_ASSIGN(const std::string type, TypeOf(block, where));
    if (type == "text") {
      QUORUM_ASSIGN(const std::string piece, TextOf(block, where));
      text += piece;
      said = true;
      NameUnreadIn(block, {"text"}, kBlocks, ignored);
    } else if (type == "thinking" && assistant) {
      const auto thinking = block.find("thinking");
      if (thinking == block.end() || !thinking->is_string()) return WrongShape(where + ".thinking", "a string");
      reasoning += thinking->get_ref<const std::string&>();
      NameUnreadIn(block, {"thinking", "signature"}, kBlocks, ignored);
    } else if (type == "redacted_thinking" && assistant) {
      ignored.push_back("messages[].content[].redacted_thinking");
    } else if (type == "tool_use" && assistant) {
      QUORUM_TRY(ReadToolUse(block, where, calls));
      NameUnreadIn(block, {"id", "name", "input"}, kBlocks, ignored);
    } else if (type == "tool_result" && !assistant) {
      QUORUM_TRY(ReadToolResult(block, where, messages, ignored));
      NameUnreadIn(block, {"tool_use_id", "content"}, kBlocks, ignored);
      results = true;
    } else {
      return Unsupported(where, type);
    }
  }
  if (results && !said) return {};
  read["content"] = std::move(text);
  if (!reasoning.empty()) read["reasoning_content"] = std::move(reasoning);
  if (!calls.empty()) read["tool_calls"] = std::move(calls);
  messages.push_back(std::move(read));
  return {};
}

Status ReadTools(JsonFields& fields, ChatRequest& out) {
  if (const Json* tools = fields.Find("tools")) {
    if (!tools->is_array()) return fields.Wrong("tools", "an array");
    for (std::size_t i = 0; i < tools->size(); ++i) {
      const Json& tool = (*tools)[i];
      const std::string at = fmt::format("tools[{}]", i);
      if (!tool.is_object()) return WrongShape(at, "an object");
      JsonFields inner(tool, at);
      QUORUM_ASSIGN(const auto type, inner.String("type"));
      if (type.value_or("custom") != "custom") {
        return Error{ErrorCode::kUnsupported,
                     fmt::format("'{}' has type '{}'; only custom tools are supported", at, *type), at,
                     "unsupported_parameter"};
      }
      QUORUM_ASSIGN(const auto name, inner.String("name"));
      if (name.value_or("").empty()) return WrongShape(at + ".name", "a string");
      QUORUM_ASSIGN(const auto description, inner.String("description"));
      const Json* schema = inner.Find("input_schema");
      if (schema != nullptr && !schema->is_object()) return inner.Wrong("input_schema", "an object");
      Json function = {{"name", *name}};
      if (description.has_value()) function["description"] = *description;
      if (schema != nullptr) function["parameters"] = *schema;
      QUORUM_ASSIGN(const auto strict, inner.Bool("strict"));
      if (strict.has_value()) function["strict"] = *strict;
      out.tools.push_back({{"type", "function"}, {"function", std::move(function)}});
      inner.Known({"cache_control"});  // a hint: prefixes are cached anyway
      inner.NameUnread("tools[]", out.generation.ignored);
    }
  }
  // The same in OpenAI's words.
  Json asked = {{"tools", out.tools}};
  if (const Json* choice = fields.Find("tool_choice")) {
    if (!choice->is_object()) return fields.Wrong("tool_choice", "an object");
    JsonFields inner(*choice, "tool_choice");
    QUORUM_ASSIGN(const auto type, inner.String("type"));
    QUORUM_ASSIGN(const auto name, inner.String("name"));
    QUORUM_ASSIGN(const auto single, inner.Bool("disable_parallel_tool_use"));
    asked["parallel_tool_calls"] = !single.value_or(false);
    inner.NameUnread("tool_choice", out.generation.ignored);
    if (type == "auto" || type == "none") {
      asked["tool_choice"] = *type;
    } else if (type == "any") {
      asked["tool_choice"] = "required";
    } else if (type == "tool" && name.has_value()) {
      asked["tool_choice"] = {{"type", "function"}, {"name", *name}};
    } else {
      return InvalidArgument("'tool_choice' must have a type of auto, any, tool (with a name) or none", "tool_choice");
    }
  }
  JsonFields same(asked);
  return server::ReadTools(same, out.tools, out.tool_use, out.generation.ignored);
}

Status ReadThinking(JsonFields& fields, ChatRequest& out) {
  const Json* thinking = fields.Find("thinking");
  bool enabled = false;
  if (thinking != nullptr) {
    if (!thinking->is_object()) return fields.Wrong("thinking", "an object");
    JsonFields inner(*thinking, "thinking");
    QUORUM_ASSIGN(const auto type, inner.String("type"));
    if (type != "enabled" && type != "disabled" && type != "adaptive") {
      return InvalidArgument("'thinking.type' must be \"enabled\", \"disabled\" or \"adaptive\"", "thinking.type");
    }
    enabled = type != "disabled";
    QUORUM_ASSIGN(const auto budget, inner.Int("budget_tokens", 0, INT32_MAX));
    if (enabled && budget.has_value()) {
      if (!out.generation.budget_field.empty()) out.generation.ignored.push_back(out.generation.budget_field);
      out.generation.budget_field = "thinking.budget_tokens";
      out.generation.request.thinking.budget = static_cast<std::int32_t>(*budget);
    }
    for (auto& name : inner.Unread()) out.generation.ignored.push_back(std::move(name));
  }
  out.thinking = enabled;
  return {};
}

// "output_config": {"format": {"type": "json_schema", "schema"}}, and "output_format" as it was called before.
Status ReadFormat(JsonFields& fields, ChatRequest& out) {
  const Json* format = fields.Find("output_format");
  std::string at = "output_format";
  if (const Json* config = fields.Find("output_config")) {
    if (!config->is_object()) return fields.Wrong("output_config", "an object");
    JsonFields inner(*config, "output_config");
    if (const Json* given = inner.Find("format")) {
      format = given;
      at = "output_config.format";
    }
    for (auto& name : inner.Unread()) out.generation.ignored.push_back(std::move(name));
  }
  if (format == nullptr) return {};
  if (!format->is_object()) return InvalidArgument(fmt::format("'{}' must be an object", at), at);
  JsonFields inner(*format, at);
  QUORUM_ASSIGN(const auto type, inner.String("type"));
  const Json* schema = inner.Find("schema");
  if (type != "json_schema" || schema == nullptr) {
    return InvalidArgument(fmt::format("'{}' must have the type \"json_schema\" and a schema", at), at);
  }
  inner.NameUnread(at, out.generation.ignored);
  const Json same = {
      {"response_format", {{"type", "json_schema"}, {"json_schema", {{"name", "output"}, {"schema", *schema}}}}}};
  JsonFields asked(same);
  QUORUM_ASSIGN(out.generation.format, ReadOutputFormat(asked, out.generation.ignored));
  out.generation.format.param = at;
  return {};
}

Status ReadSampling(JsonFields& fields, ChatRequest& out) {
  engine::SamplingParams& sampling = out.generation.request.sampling;
  QUORUM_ASSIGN(const auto temperature, fields.Number("temperature", 0, 2));
  QUORUM_ASSIGN(const auto top_p, fields.Number("top_p", 0, 1, true));
  QUORUM_ASSIGN(const auto top_k, fields.Int("top_k", -1, INT32_MAX));
  if (temperature.has_value()) sampling.temperature = static_cast<float>(*temperature);
  if (top_p.has_value()) sampling.top_p = static_cast<float>(*top_p);
  sampling.top_k = static_cast<std::int32_t>(std::max<std::int64_t>(top_k.value_or(0), 0));
  sampling.seed = RandomBits();
  const Json* stops = fields.Find("stop_sequences");
  if (stops == nullptr) return {};
  if (!stops->is_array()) return fields.Wrong("stop_sequences", "an array of strings");
  return ReadStopStrings(*stops, "stop_sequences", out.generation);
}

}  // namespace

Result<ChatRequest> ParseAnthropicRequest(std::string_view body, bool counting) {
  QUORUM_ASSIGN(const Json parsed, ParseBody(body));
  JsonFields fields(parsed);
  ChatRequest out;
  std::vector<std::string>& ignored = out.generation.ignored;
  QUORUM_ASSIGN(const auto model, fields.String("model"));
  out.generation.model = model.value_or("");
  fields.Known({"cache_control"});  // as in blocks
  QUORUM_TRY(ReadSystem(fields, out.messages, ignored));
  const Json* messages = fields.Find("messages");
  if (messages == nullptr || !messages->is_array() || messages->empty()) {
    return InvalidArgument("'messages' must be an array with at least one message", "messages");
  }
  for (std::size_t i = 0; i < messages->size(); ++i) {
    QUORUM_TRY(ReadMessage((*messages)[i], fmt::format("messages[{}]", i), out.messages, ignored));
  }
  // A last message of the assistant is the beginning of the reply.
  const Json& last = out.messages.back();
  out.continue_final_message = last["role"] == "assistant" && !last.contains("tool_calls") && last["content"] != "";
  out.add_generation_prompt = !out.continue_final_message;
  QUORUM_TRY(ReadTools(fields, out));
  QUORUM_TRY(ReadEngineFields(fields, out.generation));
  DropTokenReports(out.generation);
  QUORUM_TRY(ReadThinking(fields, out));
  QUORUM_TRY(ReadFormat(fields, out));
  QUORUM_TRY(ReadSampling(fields, out));
  QUORUM_ASSIGN(const auto max_tokens, fields.Int("max_tokens", 1, INT32_MAX));
  if (!max_tokens.has_value() && !counting) return InvalidArgument("'max_tokens' is missing", "max_tokens");
  out.generation.request.max_tokens = static_cast<std::int32_t>(max_tokens.value_or(1));
  QUORUM_ASSIGN(const auto stream, fields.Bool("stream"));
  out.generation.stream = stream.value_or(false);
  for (auto& name : fields.Unread()) ignored.push_back(std::move(name));
  return out;
}

}  // namespace quorum::server
