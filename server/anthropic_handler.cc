#include "server/anthropic_handler.h"

#include <utility>

#include "server/anthropic_request.h"
#include "server/chat_run.h"
#include "server/message_parts.h"
#include "server/prompt_builder.h"
#include "server/random_id.h"
#include "server/sse.h"

namespace quorum::server {
namespace {

using Kind = ChatRun::Step::Kind;

const char* ErrorType(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 413: return "request_too_large";
    case 429: return "rate_limit_error";
    case 503: return "overloaded_error";
    default: return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

Json ErrorOf(int status, const Json& message) {
  return {{"type", "error"}, {"error", {{"type", ErrorType(status)}, {"message", message}}}};
}

// Anthropic counts what came from a cache apart.
Json Usage(const UsageCount& usage) {
  return {{"input_tokens", usage.prompt - usage.cached},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage.cached},
          {"output_tokens", usage.completion}};
}

const char* StopReason(const ChatRun& chat) {
  const std::string_view reason = chat.FinishReason(0);
  if (reason == "length") return "max_tokens";
  if (reason == "tool_calls") return "tool_use";
  return chat.StopText(0).empty() ? "end_turn" : "stop_sequence";
}

Json StopSequence(const ChatRun& chat) { return chat.StopText(0).empty() ? Json() : Json(chat.StopText(0)); }

// What Anthropic's API has no word for: reports that were asked for, and that a reply ran out of its time.
void AddExtensions(const ChatRun& chat, Json& answer) {
  chat.reports().AddTo(answer);
  if (chat.TimedOut(0)) answer["timed_out"] = true;
}

// What the model wrote as arguments; anything but an object cannot be shown as `input`.
Json InputOf(const std::string& arguments) {
  Json input = Json::parse(arguments, nullptr, false);
  return input.is_object() ? input : Json::object();
}

Json Block(const MessagePart& part, bool whole) {
  switch (part.kind) {
    case PartKind::kReasoning: return {{"type", "thinking"}, {"thinking", whole ? part.text : ""}, {"signature", ""}};
    case PartKind::kCall:
      return {{"type", "tool_use"},
              {"id", part.id},
              {"name", part.name},
              {"input", whole ? InputOf(part.text) : Json::object()}};
    case PartKind::kText: break;
  }
  return {{"type", "text"}, {"text", whole ? part.text : ""}};
}

Json Growth(const MessagePart& part, const std::string& text) {
  switch (part.kind) {
    case PartKind::kReasoning: return {{"type", "thinking_delta"}, {"thinking", text}};
    case PartKind::kCall: return {{"type", "input_json_delta"}, {"partial_json", text}};
    case PartKind::kText: break;
  }
  return {{"type", "text_delta"}, {"text", text}};
}

Json Envelope(const ChatRun& chat, Json content) {
  return {{"id", RandomId("msg_")},        {"type", "message"},
          {"role", "assistant"},           {"model", chat.model().id},
          {"content", std::move(content)}, {"stop_reason", nullptr},
          {"stop_sequence", nullptr},      {"usage", Usage(chat.usage())}};
}

HttpResponse Collect(ChatRun& chat, const std::function<bool()>& client_gone) {
  PartTracker tracker;
  const auto failed = chat.ReadAll(client_gone, [&](std::size_t, ChatDelta delta) { tracker.Add(delta.message); });
  if (failed.has_value()) return *failed;
  tracker.Finish();
  Json content = Json::array();
  for (std::size_t i = 0; i < tracker.parts().size(); ++i) {
    tracker.part(i).id = RandomId("toolu_");
    content.push_back(Block(tracker.parts()[i], true));
  }
  Json answer = Envelope(chat, std::move(content));
  answer["stop_reason"] = StopReason(chat);
  answer["stop_sequence"] = StopSequence(chat);
  AddExtensions(chat, answer);
  return JsonResponse(answer);
}

class MessageStream {
 public:
  MessageStream(ChatRun& chat, StreamWriter& out) : chat_(chat), out_(out), events_(out, chat.context().heartbeat) {}

  void Run() {
    const auto client_gone = [this] { return out_.ClientGone(); };
    for (;;) {
      const ChatRun::Step step = chat_.Next(client_gone);
      if (step.kind == Kind::kGone || !events_.KeepAlive(chat_.queue_position())) return;
      if (step.kind == Kind::kError) {
        events_.SendNamed("error", ErrorOf(HttpStatus(step.error.code), step.error.message));
        return;
      }
      if (step.kind == Kind::kPrompt && !Begin()) return;
      if (step.kind == Kind::kDelta && !Send(tracker_.Add(step.delta.message))) return;
      if (step.kind == Kind::kDone) break;
    }
    if (!Send(tracker_.Finish())) return;
    Json last = {{"type", "message_delta"},
                 {"delta", {{"stop_reason", StopReason(chat_)}, {"stop_sequence", StopSequence(chat_)}}},
                 {"usage", Usage(chat_.usage())}};
    AddExtensions(chat_, last);
    if (events_.SendNamed("message_delta", last)) events_.SendNamed("message_stop", {{"type", "message_stop"}});
  }

 private:
  bool Begin() {
    return events_.SendNamed("message_start", {{"type", "message_start"}, {"message", Envelope(chat_, Json::array())}});
  }

  bool Send(const std::vector<PartTracker::Event>& events) {
    for (const PartTracker::Event& event : events) {
      MessagePart& part = tracker_.part(event.part);
      bool sent = true;
      switch (event.kind) {
        case PartTracker::Event::Kind::kBegin:
          part.id = RandomId("toolu_");
          sent = events_.SendNamed(
              "content_block_start",
              {{"type", "content_block_start"}, {"index", event.part}, {"content_block", Block(part, false)}});
          break;
        case PartTracker::Event::Kind::kGrow:
          sent = events_.SendNamed(
              "content_block_delta",
              {{"type", "content_block_delta"}, {"index", event.part}, {"delta", Growth(part, event.text)}});
          break;
        case PartTracker::Event::Kind::kEnd:
          sent = events_.SendNamed("content_block_stop", {{"type", "content_block_stop"}, {"index", event.part}});
          break;
      }
      if (!sent) return false;
    }
    return true;
  }

  ChatRun& chat_;
  StreamWriter& out_;
  SseWriter events_;
  PartTracker tracker_;
};

Result<std::shared_ptr<ChatRun>> Begin(const ApiContext& context, HttpRequest& http,
                                       std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(const std::string body, http.read_body());
  QUORUM_ASSIGN(ChatRequest request, ParseAnthropicRequest(body, false));
  ignored = request.generation.ignored;
  return ChatRun::Begin(context, std::move(request), ignored);
}

Result<Json> Count(const ApiContext& context, HttpRequest& http, std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(const std::string body, http.read_body());
  QUORUM_ASSIGN(const ChatRequest request, ParseAnthropicRequest(body, true));
  ignored = request.generation.ignored;
  QUORUM_ASSIGN(const auto ids, BuildChatPrompt(*context.model, request, context.now_unix, ignored));
  return Json{{"input_tokens", ids.size()}};
}

}  // namespace

HttpResponse AnthropicError(HttpResponse response) {
  const Json body = Json::parse(response.body, nullptr, false);
  if (response.status >= 400 && body.is_object() && body.contains("error") && !body.contains("type")) {
    response.body = DumpJson(ErrorOf(response.status, body["error"]["message"]));
  }
  return response;
}

HttpResponse HandleMessages(const ApiContext& context, HttpRequest& http) {
  std::vector<std::string> ignored;
  auto begun = Begin(context, http, ignored);
  if (!begun.ok()) return ApiError(context, begun.error());
  const std::shared_ptr<ChatRun> chat = *begun;
  HttpResponse response = chat->request().generation.stream
                              ? SseResponse([chat](StreamWriter& out) { MessageStream(*chat, out).Run(); })
                              : Collect(*chat, http.client_gone);
  SetIgnored(response, ignored);
  return response;
}

HttpResponse HandleCountTokens(const ApiContext& context, HttpRequest& http) {
  std::vector<std::string> ignored;
  const auto counted = Count(context, http, ignored);
  HttpResponse response = counted.ok() ? JsonResponse(*counted) : ApiError(context, counted.error());
  SetIgnored(response, ignored);
  return response;
}

}  // namespace quorum::server
