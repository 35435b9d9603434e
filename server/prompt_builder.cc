#include "server/prompt_builder.h"

#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

namespace quorum::server {
namespace {

using Ids = std::vector<tok::TokenId>;

/// Calls `visit` with every string value inside `value`.
template <typename Value, typename Visit>
void VisitStrings(Value& value, const Visit& visit) {
  if (value.is_string()) {
    visit(value);
  } else if (value.is_structured()) {
    for (auto& inner : value) VisitStrings(inner, visit);
  }
}

/// A Unicode noncharacter (never assigned, meant for use inside programs) that no string of the request has.
std::optional<std::string> UnusedMark(const Json& messages, const Json& tools) {
  std::array<bool, 16> used{};
  const auto look = [&used](const Json& text) {
    const auto& bytes = text.get_ref<const std::string&>();
    for (std::size_t at = 0; (at = bytes.find("\xEF\xB7", at)) != std::string::npos; at += 2) {
      if (at + 2 < bytes.size()) used[static_cast<unsigned char>(bytes[at + 2]) & 15U] = true;
    }
  };
  VisitStrings(messages, look);
  VisitStrings(tools, look);
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (!used[i]) return std::string("\xEF\xB7") + static_cast<char>(0x90 + i);  // U+FDD0 + i
  }
  return std::nullopt;
}

void EraseAll(std::string& text, std::string_view what) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos;) text.erase(at, what.size());
}

// `rendered`, in which `mark` breaks what users wrote, piece by piece: control tokens by their names, the text between
// them as text, without the marks.
Result<Ids> EncodeMarked(const ServedModel& model, std::string_view rendered, std::string_view mark,
                         std::int64_t& lost) {
  Ids ids;
  std::size_t at = 0;
  while (at < rendered.size()) {
    const ControlTokens::Match match = model.control_tokens.Find(rendered, at);
    const std::size_t end = match.size > 0 ? match.begin : rendered.size();
    std::string text(rendered.substr(at, end - at));
    EraseAll(text, mark);
    if (!text.empty()) {
      QUORUM_ASSIGN(const Ids piece, model.tokenizer->Encode(text, {.bytes_without_token = &lost}));
      ids.insert(ids.end(), piece.begin(), piece.end());
    }
    if (match.size > 0) ids.push_back(match.id);
    at = end + match.size;
  }
  return ids;
}

std::string NameOf(const tok::Tokenizer& tokenizer, std::optional<tok::TokenId> id) {
  return id.has_value() ? std::string(tokenizer.TokenBytes(*id)) : std::string();
}

// The arguments of earlier tool calls as strings, for the templates that are written for OpenAI's form.
Json WithArgumentStrings(Json messages) {
  for (Json& message : messages) {
    const auto calls = message.find("tool_calls");
    if (calls == message.end()) continue;
    for (Json& call : *calls) {
      Json& arguments = call["function"]["arguments"];
      if (!arguments.is_string()) arguments = DumpJson(arguments);
    }
  }
  return messages;
}

// What the template never mentions, it cannot honour.
void NoteUnread(const std::string& source, const ChatRequest& request, std::vector<std::string>& ignored) {
  if (!request.tools.empty() && source.find("tools") == std::string::npos) ignored.push_back("tools");
  for (const auto& [name, value] : request.template_variables.items()) {
    if (source.find(name) == std::string::npos) {
      ignored.push_back(name == "reasoning_effort" ? name : "chat_template_kwargs." + name);
    }
  }
}

}  // namespace

Status CheckTextFits(const ServedModel& model, std::size_t bytes, const char* param) {
  const auto context = static_cast<std::size_t>(model.engine->context_length());
  const std::size_t at_least = bytes / model.longest_token;
  if (at_least <= context) return {};
  return InvalidArgument(fmt::format("This model's context length is {} tokens, but the prompt has at least {} tokens.",
                                     context, at_least),
                         param, "context_length_exceeded");
}

Result<Ids> BuildChatPrompt(const ServedModel& model, const ChatRequest& request, std::int64_t now_unix,
                            std::vector<std::string>& ignored, std::int64_t* bytes_without_token) {
  if (model.engine->encodes_prompt()) {
    return InvalidArgument(
        "this model is an encoder-decoder: it answers a text, not a conversation; use /v1/completions, whose prompt is "
        "what the encoder reads",
        "messages", "no_chat_template");
  }
  if (model.chat_template == nullptr) {
    return InvalidArgument(
        "this model has no chat template, so messages cannot be turned into a prompt; use /v1/completions, or start "
        "the "
        "server with --chat-template FILE",
        "messages", "no_chat_template");
  }
  const bool with_tools = !request.tools.empty() && model.tool_template != nullptr;
  const tok::ChatTemplate& chat_template = with_tools ? *model.tool_template : *model.chat_template;
  const std::string& source = chat_template.source();
  NoteUnread(source, request, ignored);
  Json messages = request.messages;
  Json tools = request.tools;
  const bool knows_developer = source.find("developer") != std::string::npos;
  for (Json& message : messages) {
    if (message["role"] == "developer" && !knows_developer) message["role"] = "system";
  }

  const auto mark = UnusedMark(messages, tools);
  if (!mark.has_value()) {
    return InvalidArgument("the messages use every one of the noncharacters U+FDD0 to U+FDDF", "messages");
  }
  bool marked = false;
  const auto break_names = [&](Json& text) {
    const auto& plain = text.get_ref<const std::string&>();
    if (model.control_tokens.Find(plain, 0).size == 0) return;
    text = model.control_tokens.Break(plain, *mark);
    marked = true;
  };
  VisitStrings(messages, break_names);
  VisitStrings(tools, break_names);

  tok::TemplateInput input;
  input.messages = &messages;
  input.tools = tools.empty() ? nullptr : &tools;
  input.extra = request.template_variables.empty() ? nullptr : &request.template_variables;
  input.bos_token = NameOf(*model.tokenizer, model.tokenizer->bos());
  input.eos_token = NameOf(*model.tokenizer, model.tokenizer->eos());
  input.add_generation_prompt = request.add_generation_prompt;
  input.now_unix = now_unix;
  auto rendered = chat_template.Render(input);
  if (!rendered.ok()) {
    const Json strings = WithArgumentStrings(messages);
    if (strings != messages) {
      input.messages = &strings;
      auto again = chat_template.Render(input);
      if (again.ok()) rendered = std::move(again);
    }
  }
  if (!rendered.ok()) {
    return InvalidArgument(
        fmt::format("the model's chat template refuses these messages: {}", rendered.error().message), "messages",
        "chat_template_error");
  }
  QUORUM_TRY(CheckTextFits(model, rendered->size(), "messages"));
  std::int64_t lost = 0;
  auto ids = marked ? EncodeMarked(model, *rendered, *mark, lost)
                    : model.tokenizer->Encode(*rendered, {.parse_special = true, .bytes_without_token = &lost});
  NoteLostBytes(lost, ignored);
  if (bytes_without_token != nullptr) *bytes_without_token = lost;
  return ids;
}

void NoteLostBytes(std::int64_t bytes, std::vector<std::string>& ignored) {
  if (bytes > 0) ignored.push_back(fmt::format("prompt bytes without a token: {}", bytes));
}

Result<Ids> BuildPrompt(const ServedModel& model, const Prompt& prompt, std::vector<std::string>& ignored) {
  if (const auto* ids = std::get_if<Ids>(&prompt)) return *ids;
  const auto& text = std::get<std::string>(prompt);
  QUORUM_TRY(CheckTextFits(model, text.size(), "prompt"));
  std::int64_t lost = 0;
  auto encoded =
      model.tokenizer->Encode(text, {.add_special = true, .parse_special = true, .bytes_without_token = &lost});
  NoteLostBytes(lost, ignored);
  return encoded;
}

}  // namespace quorum::server
