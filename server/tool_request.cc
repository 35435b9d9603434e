#include "server/tool_request.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

namespace quorum::server {
namespace {

constexpr std::size_t kMaxTools = 1024;

Status CheckCount(const Json& list, const std::string& param) {
  if (!list.is_array()) {
    return InvalidArgument(fmt::format("'{}' must be an array, but is {}", param, KindOf(list)), param);
  }
  if (list.size() <= kMaxTools) return {};
  return InvalidArgument(fmt::format("'{}' has {} entries; at most {} are supported", param, list.size(), kMaxTools),
                         param);
}

bool HasName(const Json& function) {
  return function.is_object() && function.contains("name") && function["name"].is_string() &&
         !function["name"].get_ref<const std::string&>().empty();
}

/// `object` without the members that `fields` did not look at; those are named.
Json KnownPart(const Json& object, const JsonFields& fields, std::string_view as, std::vector<std::string>& ignored) {
  fields.NameUnread(as, ignored);
  const std::string prefix = fields.Param("");
  Json kept = object;
  for (const std::string& name : fields.Unread()) kept.erase(name.substr(prefix.size()));
  return kept;
}

// The function as templates get it. REQUIRES: HasName(function).
Result<Json> ReadFunction(const Json& function, const std::string& at, std::string_view as,
                          std::vector<std::string>& ignored) {
  // Formats of calls write names without quotes, between marks of their own.
  constexpr std::size_t kLongestName = 256;
  const auto& name = function["name"].get_ref<const std::string&>();
  const auto odd = [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || std::string_view("<>[]{}\"\\").find(c) != std::string_view::npos;
  };
  if (name.size() > kLongestName || std::any_of(name.begin(), name.end(), odd)) {
    return InvalidArgument(
        fmt::format("'{}.name' must be at most {} bytes, without spaces, brackets, quotes and backslashes", at,
                    kLongestName),
        at + ".name");
  }
  JsonFields fields(function, at);
  fields.Find("name");
  QUORUM_ASSIGN(const auto description, fields.String("description"));
  const Json* parameters = fields.Find("parameters");
  if (parameters != nullptr && !parameters->is_object()) return fields.Wrong("parameters", "an object (a JSON schema)");
  QUORUM_TRY(fields.Bool("strict"));
  fields.Known({"return"});  // what it gives back: transformers' schemas have it, and templates show it
  return KnownPart(function, fields, as, ignored);
}

Result<Json> ReadTool(const Json& tool, const std::string& at, std::vector<std::string>& ignored) {
  const auto type = tool.is_object() ? tool.find("type") : tool.end();
  const bool typed = tool.is_object() && type != tool.end() && type->is_string();
  if (typed && *type != "function") {
    return Error{
        ErrorCode::kUnsupported,
        fmt::format("'{}' has type '{}'; only 'function' is supported", at, type->get_ref<const std::string&>()), at,
        "unsupported_parameter"};
  }
  if (!typed || !tool.contains("function") || !HasName(tool["function"])) {
    return InvalidArgument(fmt::format("'{}' must be {{\"type\": \"function\", \"function\": {{\"name\": ...}}}}", at),
                           at);
  }
  JsonFields fields(tool, at);
  fields.Known({"type", "function"});
  Json read = KnownPart(tool, fields, "tools[]", ignored);
  QUORUM_ASSIGN(read["function"], ReadFunction(tool["function"], at + ".function", "tools[].function", ignored));
  return read;
}

// {"type": "function", "function": {"name"}}, or {"type": "function", "name"} as newer APIs write it.
Result<std::string> NameIn(const Json& choice, const std::string& param, std::vector<std::string>& ignored) {
  const auto named = [&](const Json& holder) {
    return holder.is_object() && holder.contains("name") && holder["name"].is_string();
  };
  const bool nested = choice.is_object() && choice.contains("function");
  if (!named(nested ? choice["function"] : choice)) {
    return InvalidArgument(fmt::format("'{}' must name a function", param), param);
  }
  JsonFields fields(choice);
  fields.Known({"type", nested ? "function" : "name"});
  fields.NameUnread(param, ignored);
  if (!nested) return choice["name"].get<std::string>();
  JsonFields inner(choice["function"]);
  inner.Known({"name"});
  inner.NameUnread(param + ".function", ignored);
  return choice["function"]["name"].get<std::string>();
}

Status Allow(const Json& tools, const Json& named, const std::string& param, Json& callable,
             std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(const std::string name, NameIn(named, param, ignored));
  for (const Json& tool : tools) {
    if (tool["function"]["name"] != name) continue;
    callable.push_back(tool);
    return {};
  }
  return InvalidArgument(fmt::format("'{}' names the tool '{}', which is not in 'tools'", param, name), param);
}

Status ReadAllowed(const Json& choice, const Json& tools, ToolUse& use, std::vector<std::string>& ignored) {
  const auto inner = choice.find("allowed_tools");
  const Json& allowed = inner == choice.end() ? choice : *inner;
  if (!allowed.is_object()) {
    return InvalidArgument("'tool_choice.allowed_tools' must be an object", "tool_choice");
  }
  JsonFields fields(allowed, "tool_choice");
  QUORUM_ASSIGN(const auto mode, fields.String("mode"));
  if (mode.value_or("auto") == "required") {
    use.choice = ToolChoice::kRequired;
  } else if (mode.value_or("auto") != "auto") {
    return fields.Wrong("mode", "\"auto\" or \"required\"");
  }
  const Json* list = fields.Find("tools");
  if (list == nullptr || !list->is_array() || list->empty()) {
    return InvalidArgument("'tool_choice.tools' must be an array of tools", "tool_choice");
  }
  use.callable = Json::array();
  for (const Json& tool : *list) QUORUM_TRY(Allow(tools, tool, "tool_choice", use.callable, ignored));
  if (&allowed == &choice) {
    fields.Known({"type"});
  } else {
    JsonFields outer(choice);
    outer.Known({"type", "allowed_tools"});
    outer.NameUnread("tool_choice", ignored);
  }
  fields.NameUnread(&allowed == &choice ? "tool_choice" : "tool_choice.allowed_tools", ignored);
  return {};
}

Status ReadChoice(const Json& choice, const Json& tools, ToolUse& use, std::vector<std::string>& ignored) {
  if (choice == "auto") return {};
  if (choice == "none") {
    use.choice = ToolChoice::kNone;
    return {};
  }
  const bool named = choice.is_object() && choice.value("type", Json()) == "function";
  const bool allowed = choice.is_object() && choice.value("type", Json()) == "allowed_tools";
  if (choice != "required" && !named && !allowed) {
    return InvalidArgument("'tool_choice' must be \"none\", \"auto\", \"required\", a named function or allowed_tools",
                           "tool_choice");
  }
  if (tools.empty()) return InvalidArgument("'tool_choice' asks for a call, but 'tools' is empty", "tool_choice");
  if (allowed) return ReadAllowed(choice, tools, use, ignored);
  use.choice = named ? ToolChoice::kNamed : ToolChoice::kRequired;
  if (!named) return {};
  use.parallel = false;  // OpenAI: a named function is called once
  use.callable = Json::array();
  return Allow(tools, choice, "tool_choice", use.callable, ignored);
}

Status ReadFunctionCall(const Json& choice, const Json& tools, ToolUse& use, std::vector<std::string>& ignored) {
  if (choice == "auto") return {};
  if (choice == "none") {
    use.choice = ToolChoice::kNone;
    return {};
  }
  if (!choice.is_object()) {
    return InvalidArgument("'function_call' must be \"none\", \"auto\" or {\"name\": ...}", "function_call");
  }
  if (tools.empty())
    return InvalidArgument("'function_call' names a function, but 'functions' is empty", "function_call");
  use.choice = ToolChoice::kNamed;
  use.callable = Json::array();
  return Allow(tools, choice, "function_call", use.callable, ignored);
}

// OpenAI's form before there were tools.
Status ReadFunctions(JsonFields& fields, const Json& list, Json& tools, ToolUse& use,
                     std::vector<std::string>& ignored) {
  for (const char* name : {"tools", "tool_choice"}) {
    const Json* other = fields.Find(name);
    if (other != nullptr && !(other->is_array() && other->empty())) {
      return InvalidArgument(fmt::format("'{}' and 'functions' exclude each other", name), name);
    }
  }
  QUORUM_TRY(CheckCount(list, "functions"));
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string at = fmt::format("functions[{}]", i);
    if (!HasName(list[i])) return InvalidArgument(fmt::format("'{}' must be an object with a 'name'", at), at);
    QUORUM_ASSIGN(Json function, ReadFunction(list[i], at, "functions[]", ignored));
    tools.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  QUORUM_ASSIGN(const auto parallel, fields.Bool("parallel_tool_calls"));
  if (parallel.value_or(false)) {
    return InvalidArgument("'parallel_tool_calls' needs 'tools': with 'functions' a message has one call",
                           "parallel_tool_calls");
  }
  use.as_function_call = true;
  use.parallel = false;
  return {};
}

}  // namespace

Status ReadTools(JsonFields& fields, Json& tools, ToolUse& use, std::vector<std::string>& ignored) {
  const Json* functions = fields.Find("functions");
  if (functions != nullptr && !(functions->is_array() && functions->empty())) {
    QUORUM_TRY(ReadFunctions(fields, *functions, tools, use, ignored));
  } else {
    if (const Json* list = fields.Find("tools")) {
      QUORUM_TRY(CheckCount(*list, "tools"));
      tools = Json::array();
      for (std::size_t i = 0; i < list->size(); ++i) {
        QUORUM_ASSIGN(Json tool, ReadTool((*list)[i], fmt::format("tools[{}]", i), ignored));
        tools.push_back(std::move(tool));
      }
    }
    QUORUM_ASSIGN(const auto parallel, fields.Bool("parallel_tool_calls"));
    use.parallel = parallel.value_or(true);
  }
  use.callable = tools;
  if (const Json* choice = fields.Find("tool_choice")) QUORUM_TRY(ReadChoice(*choice, tools, use, ignored));
  if (const Json* choice = fields.Find("function_call")) {
    QUORUM_TRY(ReadFunctionCall(*choice, use.as_function_call ? tools : Json::array(), use, ignored));
  }
  return {};
}

}  // namespace quorum::server
