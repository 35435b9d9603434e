#include "server/response_request.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "server/engine_fields.h"

namespace quorum::server {
namespace {

Error Missing(const std::string& at, std::string_view what) {
  return InvalidArgument(fmt::format("'{}' must have {}", at, what), at);
}

Result<std::string> StringIn(const Json& item, const char* name, const std::string& at) {
  const auto value = item.find(name);
  if (value == item.end() || !value->is_string()) return Missing(at, fmt::format("a string '{}'", name));
  return value->get<std::string>();
}

constexpr std::array<std::string_view, 4> kRoles = {"system", "developer", "user", "assistant"};

// A string, or parts of text of whichever kind. `as`: what the parts are called in `ignored`.
Result<std::string> ReadContent(const Json& content, const std::string& at, std::string_view as,
                                std::vector<std::string>& ignored) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) return InvalidArgument(fmt::format("'{}' must be a string or an array of parts", at), at);
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const std::string where = fmt::format("{}[{}]", at, i);
    if (!content[i].is_object()) return InvalidArgument(fmt::format("'{}' must be an object", where), where);
    QUORUM_ASSIGN(const std::string type, StringIn(content[i], "type", where));
    JsonFields fields(content[i], where);
    fields.Known({"type", type == "refusal" ? "refusal" : "text", "logprobs", "parsed"});
    const Json* annotations = fields.Find("annotations");  // replies carry an empty list
    if (annotations != nullptr && !annotations->empty()) ignored.push_back(fmt::format("{}.annotations", as));
    fields.NameUnread(as, ignored);
    if (type == "refusal") {
      QUORUM_ASSIGN(const std::string refusal, StringIn(content[i], "refusal", where));
      text += refusal;
      continue;
    }
    if (type != "input_text" && type != "output_text" && type != "text" && type != "summary_text" &&
        type != "reasoning_text") {
      return Error{ErrorCode::kUnsupported,
                   fmt::format("'{}' is a part of type '{}'; this model reads only text", where, type), where,
                   "unsupported_content_part"};
    }
    QUORUM_ASSIGN(const std::string piece, StringIn(content[i], "text", where));
    text += piece;
  }
  return text;
}

/// Puts items together to messages: reasoning, text and calls of one turn are one message of the assistant.
class Conversation {
 public:
  explicit Conversation(std::vector<std::string>& ignored) : ignored_(ignored) {}

  Status Add(const Json& item, const std::string& at) {
    if (!item.is_object()) return InvalidArgument(fmt::format("'{}' must be an object", at), at);
    const auto given = item.find("type");
    const std::string type = given != item.end() && given->is_string() ? given->get<std::string>() : "message";
    JsonFields fields(item, at);
    fields.Known({"type", "id", "status", "content"});
    if (type == "message") fields.Known({"role"});
    if (type == "function_call") fields.Known({"name", "arguments", "call_id", "parsed_arguments"});
    if (type == "function_call_output") fields.Known({"call_id", "output"});
    const Json* summary = type == "reasoning" ? fields.Find("summary") : nullptr;  // replies carry an empty one
    if (summary != nullptr && !summary->empty()) ignored_.emplace_back("input[].summary");
    fields.NameUnread("input[]", ignored_);
    if (type == "message") return AddMessage(item, at);
    if (type == "function_call") return AddCall(item, at);
    if (type == "function_call_output") return AddResult(item, at);
    if (type == "reasoning") return AddReasoning(item, at);
    return Error{ErrorCode::kUnsupported, fmt::format("'{}' is an item of type '{}', which is not supported", at, type),
                 at, "unsupported_item"};
  }

  Json TakeMessages() { return std::move(messages_); }

 private:
  Status AddMessage(const Json& item, const std::string& at) {
    QUORUM_ASSIGN(const std::string role, StringIn(item, "role", at));
    if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end()) {
      return InvalidArgument(fmt::format("'{}.role' must be one of {}", at, fmt::join(kRoles, ", ")), at + ".role");
    }
    const auto content = item.find("content");
    if (content == item.end()) return Missing(at, "a 'content'");
    QUORUM_ASSIGN(std::string text, ReadContent(*content, at + ".content", "input[].content[]", ignored_));
    if (role == "assistant" && InTurn() && messages_.back()["content"] == "" &&
        !messages_.back().contains("tool_calls")) {
      messages_.back()["content"] = std::move(text);
      return {};
    }
    messages_.push_back({{"role", role}, {"content", std::move(text)}});
    return {};
  }

  Status AddCall(const Json& item, const std::string& at) {
    QUORUM_ASSIGN(const std::string name, StringIn(item, "name", at));
    QUORUM_ASSIGN(const std::string arguments, StringIn(item, "arguments", at));
    QUORUM_ASSIGN(const std::string id, StringIn(item, "call_id", at));
    Json& message = Turn();
    if (!message.contains("tool_calls")) message["tool_calls"] = Json::array();
    message["tool_calls"].push_back(
        {{"id", id}, {"type", "function"}, {"function", {{"name", name}, {"arguments", arguments}}}});
    return {};
  }

  Status AddResult(const Json& item, const std::string& at) {
    QUORUM_ASSIGN(const std::string id, StringIn(item, "call_id", at));
    const auto output = item.find("output");
    if (output == item.end()) return Missing(at, "an 'output'");
    QUORUM_ASSIGN(std::string text, ReadContent(*output, at + ".output", "input[].output[]", ignored_));
    messages_.push_back({{"role", "tool"}, {"tool_call_id", id}, {"content", std::move(text)}});
    return {};
  }

  Status AddReasoning(const Json& item, const std::string& at) {
    std::string text;
    const auto content = item.find("content");
    if (content != item.end() && !content->is_null()) {
      QUORUM_ASSIGN(text, ReadContent(*content, at + ".content", "input[].content[]", ignored_));
    }
    if (text.empty()) return {};
    messages_.push_back({{"role", "assistant"}, {"content", ""}, {"reasoning_content", std::move(text)}});
    return {};
  }

  bool InTurn() const { return !messages_.empty() && messages_.back()["role"] == "assistant"; }
  Json& Turn() {
    if (!InTurn()) messages_.push_back({{"role", "assistant"}, {"content", ""}});
    return messages_.back();
  }

  std::vector<std::string>& ignored_;
  Json messages_ = Json::array();
};

/// What stands for an item of an earlier response: its id, with type item_reference or nothing else.
bool IsReference(const Json& item) {
  if (!item.is_object() || !item.contains("id")) return false;
  const Json type = item.value("type", Json());
  return type == "item_reference" || (type.is_null() && !item.contains("role") && !item.contains("content"));
}

Result<Json> Resolve(const Json& reference, const std::string& at, ResponseStore& store) {
  QUORUM_ASSIGN(const std::string id, StringIn(reference, "id", at));
  auto item = store.GetItem(id);
  if (item.has_value()) return std::move(*item);
  return Error{ErrorCode::kNotFound,
               fmt::format("'{}' refers to the item '{}', which is not (or no longer) stored here; items of responses "
                           "with 'store' false are not kept",
                           at, id),
               at, "item_not_found"};
}

Status ReadInput(const Json* input, ResponseStore& store, Json& items) {
  if (input == nullptr) return items.empty() ? Status(InvalidArgument("'input' is missing", "input")) : Status();
  if (input->is_string()) {
    items.push_back({{"type", "message"}, {"role", "user"}, {"content", *input}});
    return {};
  }
  if (!input->is_array() || input->empty()) {
    return InvalidArgument("'input' must be a string or an array of items", "input");
  }
  std::set<Json> references;
  for (std::size_t i = 0; i < input->size(); ++i) {
    const Json& item = (*input)[i];
    if (!IsReference(item)) {
      items.push_back(item);
      continue;
    }
    const std::string at = fmt::format("input[{}]", i);
    // Once each, as OpenAI has it: else a short request could stand for any number of long items.
    if (!references.insert(item["id"]).second) {
      return InvalidArgument(fmt::format("'{}' refers to the item {} once more", at, DumpJson(item["id"])), at,
                             "duplicate_item");
    }
    QUORUM_ASSIGN(Json meant, Resolve(item, at, store));
    items.push_back(std::move(meant));
  }
  return {};
}

// Tools stand flat here, and nested in a chat request. Those that the provider would run are left out.
Status ReadFunctions(const Json& tools, Json& body, std::vector<std::string>& ignored) {
  if (!tools.is_array()) return InvalidArgument("'tools' must be an array", "tools");
  Json nested = Json::array();
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const Json& tool = tools[i];
    const std::string at = fmt::format("tools[{}]", i);
    if (!tool.is_object()) return InvalidArgument(fmt::format("'{}' must be an object", at), at);
    QUORUM_ASSIGN(const std::string type, StringIn(tool, "type", at));
    if (type != "function") {
      ignored.push_back("tools[].type." + type);
      continue;
    }
    if (tool.contains("function")) {
      nested.push_back(tool);
      continue;
    }
    Json function = tool;
    function.erase("type");
    nested.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  body["tools"] = std::move(nested);
  return {};
}

// text.format stands flat here, too.
Status ReadText(JsonFields& fields, Json& body, std::vector<std::string>& ignored) {
  const Json* text = fields.Find("text");
  if (text == nullptr) return {};
  if (!text->is_object()) return fields.Wrong("text", "an object");
  JsonFields inner(*text, "text");
  if (const Json* format = inner.Find("format")) {
    if (!format->is_object()) return inner.Wrong("format", "an object");
    body["response_format"] = *format;
    if (format->value("type", Json()) == "json_schema" && !format->contains("json_schema")) {
      Json schema = *format;
      schema.erase("type");
      body["response_format"] = {{"type", "json_schema"}, {"json_schema", std::move(schema)}};
    }
  }
  for (auto& name : inner.Unread()) ignored.push_back(std::move(name));
  return {};
}

Status ReadInclude(JsonFields& fields, std::int64_t top_logprobs, Json& body, std::vector<std::string>& ignored) {
  const Json* include = fields.Find("include");
  if (include == nullptr) return {};
  if (!include->is_array()) return fields.Wrong("include", "an array of strings");
  for (const Json& what : *include) {
    if (!what.is_string()) {
      return InvalidArgument(fmt::format("'include' must hold strings, but one of them is {}", KindOf(what)),
                             "include");
    }
    if (what == "message.output_text.logprobs") {
      body["logprobs"] = true;
      body["top_logprobs"] = top_logprobs;
    } else {
      ignored.push_back("include." + what.get<std::string>());
    }
  }
  return {};
}

Status ReadReasoning(JsonFields& fields, Json& body, std::vector<std::string>& ignored) {
  const Json* reasoning = fields.Find("reasoning");
  if (reasoning == nullptr) return {};
  if (!reasoning->is_object()) return fields.Wrong("reasoning", "an object");
  JsonFields inner(*reasoning, "reasoning");
  QUORUM_ASSIGN(const auto effort, inner.String("effort"));
  if (effort.has_value()) body["reasoning_effort"] = *effort;
  for (auto& name : inner.Unread()) ignored.push_back(std::move(name));
  return {};
}

Status RefuseUnsupported(JsonFields& fields) {
  for (const char* name : {"background", "conversation", "prompt"}) {
    const Json* value = fields.Find(name);
    if (value != nullptr && *value != false) {
      return Error{ErrorCode::kUnsupported, fmt::format("'{}' is not supported", name), name, "unsupported_parameter"};
    }
  }
  return {};
}

// Fields of a chat request that have another name here. Read as such they would win over what is asked for by that
// name, and the response would repeat something else than was done.
Status RefuseChatNames(JsonFields& fields) {
  constexpr std::pair<const char*, std::string_view> kChatNames[] = {{"messages", "input"},
                                                                     {"max_completion_tokens", "max_output_tokens"},
                                                                     {"max_tokens", "max_output_tokens"},
                                                                     {"response_format", "text.format"}};
  for (const auto& [name, here] : kChatNames) {
    if (fields.Find(name) == nullptr) continue;
    return InvalidArgument(fmt::format("'{}' is a field of chat completions; here it is '{}'", name, here), name,
                           "unknown_parameter");
  }
  return {};
}

// Kept and repeated, which is all that it is for.
Status ReadMetadata(JsonFields& fields) {
  const Json* metadata = fields.Find("metadata");
  if (metadata == nullptr) return {};
  const bool strings = metadata->is_object() && std::all_of(metadata->begin(), metadata->end(),
                                                            [](const Json& value) { return value.is_string(); });
  return strings ? Status() : fields.Wrong("metadata", "an object of strings");
}

Json EchoOf(const Json& body, const ChatRequest& chat, bool store) {
  const auto or_default = [&body](const char* name, Json value) {
    const auto given = body.find(name);
    return given == body.end() || given->is_null() ? std::move(value) : *given;
  };
  const engine::SamplingParams& sampling = chat.generation.request.sampling;
  Json text = or_default("text", Json::object());
  if (!text.contains("format") || text["format"].is_null()) text["format"] = {{"type", "text"}};
  return {{"instructions", or_default("instructions", nullptr)},
          {"max_output_tokens", or_default("max_output_tokens", nullptr)},
          {"metadata", or_default("metadata", Json::object())},
          {"parallel_tool_calls", or_default("parallel_tool_calls", true)},
          {"previous_response_id", or_default("previous_response_id", nullptr)},
          {"reasoning", or_default("reasoning", {{"effort", nullptr}, {"summary", nullptr}})},
          {"store", store},
          {"temperature", or_default("temperature", double{sampling.temperature})},
          {"text", std::move(text)},
          {"tool_choice", or_default("tool_choice", "auto")},
          {"tools", or_default("tools", Json::array())},
          {"top_p", or_default("top_p", double{sampling.top_p})},
          {"truncation", "disabled"},
          {"user", or_default("user", nullptr)}};
}

// Names of chat requests and what stands for them here: the name itself, or its beginning before a '.' or the end.
constexpr std::pair<std::string_view, std::string_view> kNames[] = {
    {"max_completion_tokens", "max_output_tokens"},
    {"clamped max_tokens", "clamped max_output_tokens"},
    {"reasoning_effort", "reasoning.effort"},
    {"response_format.json_schema", "text.format"},
    {"response_format", "text.format"},
    {"messages[]", "input[]"},
    {"tools[].function", "tools[]"},
};

}  // namespace

std::string ResponseField(const std::string& chat_field) {
  if (chat_field == "messages" || (chat_field.starts_with("messages[") && !chat_field.starts_with("messages[]"))) {
    return "input";  // items and messages are not one to one
  }
  for (const auto& [chat, here] : kNames) {
    if (!chat_field.starts_with(chat)) continue;
    const std::string rest = chat_field.substr(chat.size());
    if (rest.empty() || rest.front() == '.') return std::string(here) + rest;
  }
  return chat_field;
}

Error InResponseWords(Error error) {
  const std::string here = ResponseField(error.param);
  if (here == error.param) return error;
  const std::string chat = "'" + error.param + "'";
  if (const std::size_t at = error.message.find(chat); at != std::string::npos) {
    error.message.replace(at, chat.size(), "'" + here + "'");
  }
  error.param = here;
  return error;
}

Result<ResponseRequest> ParseResponseRequest(std::string_view text, ResponseStore& store) {
  QUORUM_ASSIGN(const Json parsed, ParseBody(text));
  JsonFields fields(parsed);
  ResponseRequest out;
  std::vector<std::string> ignored;
  Json body = Json::object();
  QUORUM_TRY(RefuseUnsupported(fields));
  QUORUM_TRY(RefuseChatNames(fields));
  QUORUM_TRY(ReadMetadata(fields));
  QUORUM_ASSIGN(const auto previous, fields.String("previous_response_id"));
  if (previous.has_value()) {
    auto found = store.Get(*previous);
    if (!found.has_value()) {
      return InvalidArgument(fmt::format("the response '{}' is not (or no longer) stored here", *previous),
                             "previous_response_id", "previous_response_not_found");
    }
    out.items = std::move(found->items);
  }
  QUORUM_TRY(ReadInput(fields.Find("input"), store, out.items));
  Conversation conversation(ignored);
  QUORUM_ASSIGN(const auto instructions, fields.String("instructions"));
  if (!instructions.value_or("").empty()) {
    QUORUM_TRY(conversation.Add({{"role", "system"}, {"content", *instructions}}, "instructions"));
  }
  for (std::size_t i = 0; i < out.items.size(); ++i) {
    QUORUM_TRY(conversation.Add(out.items[i], fmt::format("input[{}]", i)));
  }
  body["messages"] = conversation.TakeMessages();
  if (const Json* tools = fields.Find("tools")) QUORUM_TRY(ReadFunctions(*tools, body, ignored));
  QUORUM_TRY(ReadText(fields, body, ignored));
  QUORUM_TRY(ReadReasoning(fields, body, ignored));
  if (const Json* limit = fields.Find("max_output_tokens")) body["max_completion_tokens"] = *limit;
  QUORUM_ASSIGN(const auto top_logprobs, fields.Int("top_logprobs", 0, kMaxTopLogprobs));
  QUORUM_TRY(ReadInclude(fields, top_logprobs.value_or(0), body, ignored));
  QUORUM_ASSIGN(const auto keep, fields.Bool("store"));
  out.store = keep.value_or(true);
  QUORUM_ASSIGN(const auto truncation, fields.String("truncation"));
  if (truncation == "auto") {
    ignored.emplace_back("truncation");
  } else if (truncation.value_or("disabled") != "disabled") {
    return InvalidArgument(fmt::format("'truncation' must be \"auto\" or \"disabled\", but is \"{}\"", *truncation),
                           "truncation");
  }
  // What a chat request calls alike, extensions of ours among it, is read there.
  for (const std::string& name : fields.Unread()) {
    if (name == "n" || name == "functions" || name == "function_call") {
      ignored.push_back(name);
    } else {
      body[name] = parsed[name];
    }
  }
  auto chat = ReadChatRequest(body);
  if (!chat.ok()) return InResponseWords(chat.error());
  out.chat = std::move(*chat);
  DropTokenReports(out.chat.generation);
  std::vector<std::string>& all = out.chat.generation.ignored;
  all.insert(all.end(), ignored.begin(), ignored.end());
  out.echo = EchoOf(parsed, out.chat, out.store);
  return out;
}

}  // namespace quorum::server
