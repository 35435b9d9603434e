#include "server/prompt_builder.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "server/error_body.h"
#include "server/tool_prompt.h"

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

// The ids of earlier calls as Mistral's templates demand them: nine letters or digits.
Json WithShortIds(Json messages) {
  std::map<std::string, std::string> ids;
  const auto shorten = [&ids](Json& holder, const char* field) {
    const auto id = holder.find(field);
    if (id == holder.end() || !id->is_string()) return;
    *id = ids.try_emplace(id->get<std::string>(), fmt::format("call{:05}", ids.size())).first->second;
  };
  for (Json& message : messages) {
    if (const auto calls = message.find("tool_calls"); calls != message.end()) {
      for (Json& call : *calls) shorten(call, "id");
    }
    shorten(message, "tool_call_id");
  }
  return messages;
}

bool AnyHas(const Json& messages, const char* field) {
  return std::any_of(messages.begin(), messages.end(), [&](const Json& message) { return message.contains(field); });
}

// A result's name only repeats what the call says: it is not missed where a template shows it nowhere.
bool AnySpeakerHasName(const Json& messages) {
  return std::any_of(messages.begin(), messages.end(),
                     [](const Json& message) { return message["role"] != "tool" && message.contains("name"); });
}

Json Without(Json messages, const char* field) {
  for (Json& message : messages) message.erase(field);
  return messages;
}

Json WithoutRole(const Json& messages, const char* role) {
  Json kept = Json::array();
  for (const Json& message : messages) {
    if (message["role"] != role) kept.push_back(message);
  }
  return kept;
}

bool AnyHasRole(const Json& messages, const char* role) {
  return std::any_of(messages.begin(), messages.end(), [&](const Json& message) { return message["role"] == role; });
}

// Whether the text of a message stands in `rendered`, as far as that can be told: a short one may stand there for
// others.
bool Stands(const Json& message, const std::string& rendered) {
  constexpr std::size_t kTelling = 16;
  std::string_view text = message["content"].get_ref<const std::string&>();
  text.remove_prefix(std::min(text.find_first_not_of(" \n\t\r"), text.size()));  // templates trim
  text = text.substr(0, text.find_last_not_of(" \n\t\r") + 1);
  return text.empty() || (text.size() >= kTelling && rendered.find(text) != std::string::npos);
}

// Parts of messages that do not show in `rendered`. `render` renders other messages in the same way.
template <typename Render>
void NoteUnshown(const std::string& source, const Json& messages, const std::string& rendered, const Render& render,
                 std::vector<std::string>& ignored) {
  const auto mentions = [&source](std::initializer_list<const char*> words) {
    return std::any_of(words.begin(), words.end(),
                       [&](const char* word) { return source.find(word) != std::string::npos; });
  };
  const auto shown_by = [&](const Json& others) {
    const auto text = render(others);
    return !text.ok() || *text != rendered;
  };
  if (AnyHas(messages, "tool_calls") && !mentions({"tool_calls"})) ignored.push_back("messages[].tool_calls");
  if (AnyHas(messages, "reasoning_content") && !mentions({"reasoning", "thinking"})) {
    ignored.push_back("messages[].reasoning_content");
  }
  // Tools have names too, so the word alone says little: what matters is whether the prompt changes.
  if (AnySpeakerHasName(messages) && (!mentions({"name"}) || !shown_by(Without(messages, "name")))) {
    ignored.push_back("messages[].name");
  }
  if (AnyHasRole(messages, "tool") && !mentions({"'tool'", "\"tool\""}) && !shown_by(WithoutRole(messages, "tool"))) {
    ignored.push_back("messages[].role.tool");
  }
}

// Instructions that do not show in `rendered`, by the role that `given`, the request's messages, has them under.
// `messages` are what was rendered.
template <typename Render>
void NoteUnshownRoles(const Json& given, const Json& messages, const std::string& rendered, const Render& render,
                      std::vector<std::string>& ignored) {
  for (const char* role : {"system", "developer"}) {
    const auto doubtful = [&](const Json& message) { return message["role"] == role && !Stands(message, rendered); };
    if (std::none_of(messages.begin(), messages.end(), doubtful)) continue;
    Json others = Json::array();
    std::remove_copy_if(messages.begin(), messages.end(), std::back_inserter(others), doubtful);
    const auto text = render(others);
    if (!text.ok() || *text != rendered) continue;
    const bool renamed = std::string_view(role) == "system" && !AnyHasRole(given, role);
    ignored.push_back(fmt::format("messages[].role.{}", renamed ? "developer" : role));
  }
}

// Results of tools stand in the order of the calls that they answer: templates name neither.
void OrderToolResults(Json& messages) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto calls = messages[i].find("tool_calls");
    if (calls == messages[i].end()) continue;
    const auto rank = [&](const Json& result) {
      const auto id = result.find("tool_call_id");
      std::size_t at = 0;
      while (at < calls->size() && (id == result.end() || (*calls)[at].value("id", Json()) != *id)) ++at;
      return at;
    };
    std::size_t end = i + 1;
    while (end < messages.size() && messages[end]["role"] == "tool") ++end;
    std::stable_sort(messages.begin() + static_cast<std::ptrdiff_t>(i + 1),
                     messages.begin() + static_cast<std::ptrdiff_t>(end),
                     [&](const Json& a, const Json& b) { return rank(a) < rank(b); });
  }
}

// What a template puts behind the last message is taken away, so that the reply goes on inside it.
Status CutBehindLastMessage(const Json& messages, std::string& rendered) {
  std::string text = messages.back()["content"].get<std::string>();
  std::size_t at = rendered.rfind(text);
  if (at == std::string::npos) {  // templates trim
    text = text.substr(0, text.find_last_not_of(" \n\t\r") + 1);
    text.erase(0, std::min(text.find_first_not_of(" \n\t\r"), text.size()));
    at = rendered.rfind(text);
  }
  if (at == std::string::npos || text.empty()) {
    return InvalidArgument("the last message does not show in the prompt, so it cannot be continued",
                           "continue_final_message");
  }
  rendered.resize(at + text.size());
  return {};
}

// The request's variables for the template, and what it asks for in other words.
Json VariablesOf(const std::string& source, const ChatRequest& request) {
  Json variables = request.template_variables;
  if (!request.thinking.has_value()) return variables;
  for (const char* name : {"enable_thinking", "thinking"}) {
    if (source.find(name) != std::string::npos && !variables.contains(name)) variables[name] = *request.thinking;
  }
  return variables;
}

// What the template never mentions, it cannot honour.
void NoteUnread(const std::string& source, const ChatRequest& request, std::vector<std::string>& ignored) {
  if (request.thinking.value_or(false) && source.find("thinking") == std::string::npos) ignored.push_back("thinking");
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
  Error error = engine::PromptTooLong(static_cast<std::int64_t>(at_least), true, model.engine->context_length(), 0);
  error.param = param;
  return error;
}

namespace {

// Each message takes a token at least: too many are refused before a template spends its time on them.
Status CheckMessagesFit(const ServedModel& model, std::size_t messages) {
  const std::int64_t context = model.engine->context_length();
  if (static_cast<std::int64_t>(messages) <= context) return {};
  Error error = engine::PromptTooLong(static_cast<std::int64_t>(messages), true, context, 0);
  error.param = "messages";
  return error;
}

struct Rendered {
  std::string text;
  std::string mark;  // breaks the names of control tokens that users wrote; empty: there are none
};

/// `messages` and `tools` are the request's, or what stands for them.
Result<Rendered> RenderMessages(const ServedModel& model, const tok::ChatTemplate& chat_template,
                                const ChatRequest& request, Json messages, Json tools, std::int64_t now_unix,
                                std::vector<std::string>& ignored) {
  const std::string& source = chat_template.source();
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
  input.tools = tools.empty() ? nullptr : &tools;
  const Json variables = VariablesOf(source, request);
  input.extra = variables.empty() ? nullptr : &variables;
  input.bos_token = NameOf(*model.tokenizer, model.tokenizer->bos());
  input.eos_token = NameOf(*model.tokenizer, model.tokenizer->eos());
  input.add_generation_prompt = request.add_generation_prompt;
  input.now_unix = now_unix;
  const auto render = [&](const Json& what) {
    input.messages = &what;
    return chat_template.Render(input);
  };
  auto rendered = render(messages);
  for (const auto rewrite : {WithArgumentStrings, WithShortIds,
                             +[](Json all) { return WithShortIds(WithArgumentStrings(std::move(all))); }}) {
    if (rendered.ok()) break;
    Json rewritten = rewrite(messages);
    if (rewritten == messages) continue;
    if (auto again = render(rewritten); again.ok()) {
      rendered = std::move(again);
      messages = std::move(rewritten);
    }
  }
  if (!rendered.ok()) {
    return InvalidArgument(
        fmt::format("the model's chat template refuses these messages: {}", Excerpt(rendered.error().message, 500)),
        "messages", "chat_template_error");
  }
  NoteUnshown(source, messages, *rendered, render, ignored);
  NoteUnshownRoles(request.messages, messages, *rendered, render, ignored);
  if (request.continue_final_message) QUORUM_TRY(CutBehindLastMessage(messages, *rendered));
  return Rendered{std::move(*rendered), marked ? *mark : std::string()};
}

Result<Rendered> Render(const ServedModel& model, const ChatRequest& request, std::int64_t now_unix,
                        std::vector<std::string>& ignored) {
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
  QUORUM_TRY(CheckMessagesFit(model, request.messages.size()));
  const bool with_tools = !request.tools.empty() && model.tool_template != nullptr;
  const tok::ChatTemplate& chat_template = with_tools ? *model.tool_template : *model.chat_template;
  const std::string& source = chat_template.source();
  NoteUnread(source, request, ignored);
  Json messages = request.messages;
  const bool knows_developer = source.find("developer") != std::string::npos;
  for (Json& message : messages) {
    if (message["role"] == "developer" && !knows_developer) message["role"] = "system";
  }
  OrderToolResults(messages);

  const bool has_calls = AnyHas(messages, "tool_calls") || AnyHas(messages, "tool_call_id");
  if (model.tools_in_words && (!request.tools.empty() || has_calls)) {
    const auto in_words = [&](ToolPlace place, std::vector<std::string>& noted) {
      return RenderMessages(model, chat_template, request, WithToolsInWords(messages, request.tools, place),
                            Json::array(), now_unix, noted);
    };
    std::vector<std::string> noted = ignored;
    auto rendered = in_words(ToolPlace::kSystem, noted);
    if (rendered.ok() && (request.tools.empty() || rendered->text.find("<tools>") != std::string::npos)) {
      ignored = std::move(noted);
      return rendered;
    }
    return in_words(ToolPlace::kFirstUser, ignored);
  }
  if (!request.tools.empty() && source.find("tools") == std::string::npos) ignored.push_back("tools");
  return RenderMessages(model, chat_template, request, std::move(messages), request.tools, now_unix, ignored);
}

}  // namespace

Result<Ids> BuildChatPrompt(const ServedModel& model, const ChatRequest& request, std::int64_t now_unix,
                            std::vector<std::string>& ignored, std::int64_t* bytes_without_token) {
  QUORUM_ASSIGN(const Rendered rendered, Render(model, request, now_unix, ignored));
  QUORUM_TRY(CheckTextFits(model, rendered.text.size(), "messages"));
  std::int64_t lost = 0;
  auto ids = rendered.mark.empty()
                 ? model.tokenizer->Encode(rendered.text, {.parse_special = true, .bytes_without_token = &lost})
                 : EncodeMarked(model, rendered.text, rendered.mark, lost);
  NoteLostBytes(lost, ignored);
  if (bytes_without_token != nullptr) *bytes_without_token = lost;
  return ids;
}

void NoteLostBytes(std::int64_t bytes, std::vector<std::string>& ignored) {
  if (bytes > 0) ignored.push_back(fmt::format("prompt bytes without a token: {}", bytes));
}

Result<std::string> RenderChatPrompt(const ServedModel& model, const ChatRequest& request, std::int64_t now_unix,
                                     std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(Rendered rendered, Render(model, request, now_unix, ignored));
  if (!rendered.mark.empty()) EraseAll(rendered.text, rendered.mark);
  return std::move(rendered.text);
}

Result<Ids> BuildPrompt(const ServedModel& model, const Prompt& prompt, std::vector<std::string>& ignored,
                        const char* param, bool parse_special) {
  if (const auto* ids = std::get_if<Ids>(&prompt)) return *ids;
  const auto& text = std::get<std::string>(prompt);
  QUORUM_TRY(CheckTextFits(model, text.size(), param));
  std::int64_t lost = 0;
  QUORUM_ASSIGN(Ids ids,
                model.tokenizer->Encode(
                    text, {.add_special = true, .parse_special = parse_special, .bytes_without_token = &lost}));
  NoteLostBytes(lost, ignored);
  if (ids.empty()) {  // the start of a document: what stands before one in training
    const tok::Tokenizer& tokenizer = *model.tokenizer;
    std::optional<tok::TokenId> start = tokenizer.bos();
    if (!start.has_value()) start = tokenizer.FindToken("<|endoftext|>");
    if (!start.has_value()) start = tokenizer.eos();
    if (start.has_value()) ids.push_back(*start);
  }
  return ids;
}

}  // namespace quorum::server
