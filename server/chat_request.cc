#include "server/chat_request.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace quorum::server {
namespace {

constexpr std::array<std::string_view, 6> kRoles = {"system", "developer", "user", "assistant", "tool", "function"};

// Parts are joined without anything between them. A refusal is what an assistant said, too.
Result<std::string> ReadContent(const Json& content, const std::string& param, bool assistant,
                                std::vector<std::string>& ignored) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) {
    return InvalidArgument(fmt::format("'{}' must be a string or an array of parts, but is {}", param, KindOf(content)),
                           param);
  }
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const Json& part = content[i];
    const std::string at = fmt::format("{}[{}]", param, i);
    const auto type = part.is_object() ? part.find("type") : part.end();
    if (!part.is_object() || type == part.end() || !type->is_string()) {
      return InvalidArgument(fmt::format("'{}' must be an object with a 'type'", at), at);
    }
    const bool refusal = assistant && *type == "refusal";
    if (*type != "text" && !refusal) {
      return Error{ErrorCode::kUnsupported,
                   fmt::format("'{}' is a part of type '{}'; this model reads only 'text'", at,
                               type->get_ref<const std::string&>()),
                   at, "unsupported_content_part"};
    }
    const char* name = refusal ? "refusal" : "text";
    const auto words = part.find(name);
    if (words == part.end() || !words->is_string()) {
      return InvalidArgument(fmt::format("'{}.{}' must be a string", at, name), fmt::format("{}.{}", at, name));
    }
    text += words->get_ref<const std::string&>();
    JsonFields fields(part, at);
    fields.Known({"type", name});
    if (assistant) fields.Known({"annotations", "logprobs", "parsed"});  // as replies come back
    fields.NameUnread("messages[].content[]", ignored);
  }
  return text;
}

// {"name", "arguments"} of an earlier reply's call. Templates are written for arguments that are objects, as
// transformers passes them; OpenAI's API has them as a string of JSON.
Result<Json> ReadCalled(const Json& function, const std::string& at, std::string_view as,
                        std::vector<std::string>& ignored) {
  if (!function.is_object()) return InvalidArgument(fmt::format("'{}' must be an object", at), at);
  const auto name = function.find("name");
  if (name == function.end() || !name->is_string()) {
    return InvalidArgument(fmt::format("'{}.name' must be a string", at), at + ".name");
  }
  JsonFields fields(function, at);
  fields.Known({"name", "arguments", "parsed_arguments"});  // the last is OpenAI's SDK's own
  fields.NameUnread(as, ignored);
  const auto given = function.find("arguments");
  Json read = {{"name", *name}, {"arguments", given == function.end() ? Json() : *given}};
  Json& arguments = read["arguments"];
  if (arguments.is_string()) {
    auto parsed = ParseJson(arguments.get_ref<const std::string&>());
    if (parsed.ok() && parsed->is_object()) arguments = std::move(*parsed);
  } else if (arguments.is_null()) {
    arguments = Json::object();
  } else if (!arguments.is_object()) {
    return InvalidArgument(fmt::format("'{}.arguments' must be a string of JSON", at), at + ".arguments");
  }
  return read;
}

Result<Json> ReadToolCalls(const Json& calls, const std::string& param, std::vector<std::string>& ignored) {
  if (!calls.is_array()) return InvalidArgument(fmt::format("'{}' must be an array", param), param);
  Json read = Json::array();
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const std::string at = fmt::format("{}[{}].function", param, i);
    const auto function = calls[i].is_object() ? calls[i].find("function") : calls[i].end();
    if (!calls[i].is_object() || function == calls[i].end() || !function->is_object()) {
      return InvalidArgument(fmt::format("'{}' must be an object", at), at);
    }
    JsonFields fields(calls[i], fmt::format("{}[{}]", param, i));
    fields.Known({"type", "index"});
    Json call = Json::object();
    if (const Json* id = fields.Find("id")) call["id"] = *id;
    call["type"] = "function";
    QUORUM_ASSIGN(call["function"],
                  ReadCalled(*fields.Find("function"), at, "messages[].tool_calls[].function", ignored));
    fields.NameUnread("messages[].tool_calls[]", ignored);
    read.push_back(std::move(call));
  }
  return read;
}

// Calls of an assistant's message. OpenAI's older `function_call` has no id: it gets one, in `function_id`.
Status ReadCalls(JsonFields& fields, const std::string& path, std::size_t index, Json& read, std::string& function_id,
                 std::vector<std::string>& ignored) {
  const Json* calls = fields.Find("tool_calls");
  const Json* call = fields.Find("function_call");
  if (calls != nullptr && calls->is_array() && calls->empty()) calls = nullptr;
  if (call != nullptr && call->is_object() && call->empty()) call = nullptr;
  if (calls == nullptr && call == nullptr) return {};
  const std::string param = fmt::format("{}.{}", path, calls != nullptr ? "tool_calls" : "function_call");
  if (read["role"] != "assistant") {
    return InvalidArgument(fmt::format("'{}' belongs to an assistant message", param), param);
  }
  if (calls != nullptr) {
    QUORUM_ASSIGN(read["tool_calls"], ReadToolCalls(*calls, param, ignored));
    if (call != nullptr) ignored.push_back("messages[].function_call");
    return {};
  }
  QUORUM_ASSIGN(Json function, ReadCalled(*call, param, "messages[].function_call", ignored));
  function_id = fmt::format("call{:05}", index % 100'000);
  read["tool_calls"] = Json::array({{{"id", function_id}, {"type", "function"}, {"function", std::move(function)}}});
  return {};
}

// `function_id` is that of the last `function_call` before this message, or empty.
Result<Json> ReadMessage(const Json& message, std::size_t index, std::string& function_id,
                         std::vector<std::string>& ignored) {
  const std::string path = fmt::format("messages[{}]", index);
  if (!message.is_object()) return InvalidArgument(fmt::format("'{}' must be an object", path), path);
  JsonFields fields(message, path);
  QUORUM_ASSIGN(const auto role, fields.String("role"));
  if (!role.has_value() || std::find(kRoles.begin(), kRoles.end(), *role) == kRoles.end()) {
    return InvalidArgument(fmt::format("'{}.role' must be one of {}", path, fmt::join(kRoles, ", ")), path + ".role");
  }
  Json read = {{"role", *role == "function" ? "tool" : *role}, {"content", ""}};
  const bool function_result = *role == "function";
  if (const Json* content = fields.Find("content")) {
    QUORUM_ASSIGN(read["content"], ReadContent(*content, path + ".content", *role == "assistant", ignored));
  } else if (const Json* refusal = fields.Find("refusal"); refusal != nullptr && refusal->is_string()) {
    read["content"] = *refusal;  // it was said instead of a content
  } else if (*role != "assistant" && !function_result) {
    return InvalidArgument(fmt::format("'{}.content' is missing", path), path + ".content");
  }
  QUORUM_TRY(ReadCalls(fields, path, index, read, function_id, ignored));
  for (const char* name : {"name", "tool_call_id", "reasoning_content"}) {
    QUORUM_ASSIGN(const auto text, fields.String(name));
    if (text.has_value()) read[name] = *text;
  }
  if (function_result) {
    if (!read.contains("name")) return InvalidArgument(fmt::format("'{}.name' is missing", path), path + ".name");
    if (!function_id.empty() && !read.contains("tool_call_id")) read["tool_call_id"] = function_id;
  }
  for (const char* name : {"refusal", "annotations", "audio"}) {  // what our own kind of reply carries
    const Json* value = fields.Find(name);
    if (value != nullptr && !value->empty() && *value != "" && *value != read["content"])
      ignored.push_back(fmt::format("messages[].{}", name));
  }
  // What SDKs keep of a reply beside it.
  if (*role == "assistant") fields.Known({"id", "index", "logprobs", "parsed", "status"});
  fields.NameUnread("messages[]", ignored);
  return read;
}

Status ReadModalities(JsonFields& fields) {
  const Json* modalities = fields.Find("modalities");
  if (modalities == nullptr || *modalities == Json::array() || *modalities == Json::array({"text"})) return {};
  return Error{ErrorCode::kUnsupported, "the only modality is \"text\"", "modalities", "unsupported_parameter"};
}

Status ReadTemplateVariables(JsonFields& fields, ChatRequest& out) {
  if (const Json* variables = fields.Find("chat_template_kwargs")) {
    if (!variables->is_object()) return fields.Wrong("chat_template_kwargs", "an object");
    out.template_variables = *variables;
    for (const char* own : {"messages", "tools", "bos_token", "eos_token", "add_generation_prompt"}) {
      if (variables->contains(own)) {
        return InvalidArgument(fmt::format("'chat_template_kwargs' must not set '{}'", own), "chat_template_kwargs");
      }
    }
  }
  QUORUM_ASSIGN(const auto effort, fields.String("reasoning_effort"));
  if (effort.has_value()) out.template_variables["reasoning_effort"] = *effort;
  QUORUM_ASSIGN(const auto proceed, fields.Bool("continue_final_message"));
  out.continue_final_message = proceed.value_or(false);
  QUORUM_ASSIGN(const auto add, fields.Bool("add_generation_prompt"));
  out.add_generation_prompt = add.value_or(!out.continue_final_message);
  if (out.continue_final_message && out.add_generation_prompt) {
    return InvalidArgument("'continue_final_message' and 'add_generation_prompt' exclude each other",
                           "continue_final_message");
  }
  return {};
}

}  // namespace

Result<Json> ReadMessages(const Json& messages, std::vector<std::string>& ignored) {
  if (!messages.is_array() || messages.empty()) {
    return InvalidArgument("'messages' must be an array with at least one message", "messages");
  }
  Json read = Json::array();
  std::string function_id;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    QUORUM_ASSIGN(Json message, ReadMessage(messages[i], i, function_id, ignored));
    read.push_back(std::move(message));
  }
  return read;
}

Result<ChatRequest> ReadChatRequest(const Json& body) {
  ChatRequest out;
  JsonFields fields(body);
  QUORUM_TRY(ReadGenerationFields(fields, out.generation));
  engine::GenerationRequest& request = out.generation.request;

  const Json* messages = fields.Find("messages");
  if (messages == nullptr) return InvalidArgument("'messages' is missing", "messages");
  QUORUM_ASSIGN(out.messages, ReadMessages(*messages, out.generation.ignored));
  QUORUM_TRY(ReadTools(fields, out.tools, out.tool_use, out.generation.ignored));
  QUORUM_TRY(ReadModalities(fields));
  QUORUM_TRY(ReadTemplateVariables(fields, out));

  QUORUM_ASSIGN(const auto max_completion, fields.Int("max_completion_tokens", 1, INT32_MAX));
  QUORUM_ASSIGN(const auto max_tokens, fields.Int("max_tokens", 1, INT32_MAX));
  if (max_completion.has_value() && max_tokens.has_value() && *max_completion != *max_tokens) {
    out.generation.ignored.push_back("max_tokens");
  }
  // Neither: up to the end of the context, which the engine knows.
  request.max_tokens = static_cast<std::int32_t>(max_completion.value_or(max_tokens.value_or(INT32_MAX)));

  QUORUM_ASSIGN(const auto logprobs, fields.Bool("logprobs"));
  QUORUM_ASSIGN(const auto top, fields.Int("top_logprobs", 0, kMaxTopLogprobs));
  request.logprobs = logprobs.value_or(false);
  if (top.value_or(0) > 0 && !request.logprobs) {
    return InvalidArgument("'top_logprobs' needs 'logprobs' to be true", "top_logprobs");
  }
  request.top_logprobs = static_cast<std::int32_t>(top.value_or(0));
  QUORUM_ASSIGN(const auto store, fields.Bool("store"));
  if (store.value_or(false)) out.generation.ignored.emplace_back("store");  // chats are not kept
  for (auto& name : fields.Unread()) out.generation.ignored.push_back(std::move(name));
  return out;
}

Result<ChatRequest> ParseChatRequest(std::string_view body) {
  QUORUM_ASSIGN(const Json parsed, ParseBody(body));
  return ReadChatRequest(parsed);
}

}  // namespace quorum::server
