#include "server/chat_handler.h"

#include <string_view>
#include <utility>

#include "server/chat_request.h"
#include "server/chat_run.h"
#include "server/error_body.h"
#include "server/random_id.h"
#include "server/request_reports.h"
#include "server/sse.h"

namespace quorum::server {
namespace {

using Kind = ChatRun::Step::Kind;

ResponseFrame FrameOf(const ChatRun& chat, const char* object) {
  return {RandomId("chatcmpl-"), object, chat.context().now_unix, chat.model().id, chat.model().fingerprint};
}

Json Logprobs(const ChatRun& chat, const std::vector<ScoredToken>& scores) {
  if (!chat.engine_request().logprobs) return nullptr;
  return {{"content", ChatLogprobs(*chat.model().tokenizer, scores, chat.request().generation.tokens_as_ids)},
          {"refusal", nullptr}};
}

// The older form of requests has its own word for it.
const char* FinishReason(const ChatRun& chat, std::size_t choice) {
  const char* reason = chat.FinishReason(choice);
  const bool called = std::string_view(reason) == "tool_calls";
  return called && chat.request().tool_use.as_function_call ? "function_call" : reason;
}

Json MessageOf(const WholeMessage& whole, bool as_function_call) {
  Json message = {{"role", "assistant"}, {"content", whole.content}, {"refusal", nullptr}};
  if (!whole.reasoning.empty()) message["reasoning_content"] = whole.reasoning;
  if (whole.calls.empty()) return message;
  if (whole.content.empty()) message["content"] = nullptr;
  if (as_function_call) {
    const WholeMessage::Call& call = whole.calls.front();
    message["function_call"] = {{"name", call.name}, {"arguments", call.arguments}};
    return message;
  }
  message["tool_calls"] = Json::array();
  for (const WholeMessage::Call& call : whole.calls) {
    message["tool_calls"].push_back({{"id", RandomId("call_")},
                                     {"type", "function"},
                                     {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  return message;
}

HttpResponse Collect(ChatRun& chat, const std::function<bool()>& client_gone) {
  std::vector<WholeMessage> wholes(chat.choices());
  const auto failed = chat.ReadAll(
      client_gone, [&wholes](std::size_t choice, ChatDelta delta) { wholes[choice].Add(std::move(delta)); });
  if (failed.has_value()) return *failed;
  Json list = Json::array();
  for (std::size_t i = 0; i < wholes.size(); ++i) {
    list.push_back({{"index", i},
                    {"message", MessageOf(wholes[i], chat.request().tool_use.as_function_call)},
                    {"logprobs", Logprobs(chat, wholes[i].scores)},
                    {"finish_reason", FinishReason(chat, i)}});
    PutTokenReports(std::move(wholes[i].tokens), list.back());
    if (chat.TimedOut(i)) list.back()["stop_reason"] = "timeout";
  }
  Json answer = FrameOf(chat, "chat.completion").With(std::move(list));
  answer["usage"] = chat.usage().ToJson();
  chat.reports().AddTo(answer);
  return JsonResponse(answer);
}

Json CallPiece(const std::vector<CallDelta>& deltas) {
  Json calls = Json::array();
  for (const CallDelta& call : deltas) {
    Json entry = {{"index", call.index}};
    Json function = Json::object();
    if (!call.name.empty()) {
      entry["id"] = RandomId("call_");
      entry["type"] = "function";
      function["name"] = call.name;
    }
    function["arguments"] = call.arguments;
    entry["function"] = std::move(function);
    calls.push_back(std::move(entry));
  }
  return {{"tool_calls", std::move(calls)}};
}

// `deltas` are of one call.
Json FunctionCallPiece(const std::vector<CallDelta>& deltas) {
  Json function = Json::object();
  std::string arguments;
  for (const CallDelta& call : deltas) {
    if (!call.name.empty()) function["name"] = call.name;
    arguments += call.arguments;
  }
  function["arguments"] = std::move(arguments);
  return {{"function_call", std::move(function)}};
}

// The pieces of a message in the order in which they are to be shown.
std::vector<Json> Pieces(const MessageDelta& message, bool as_function_call) {
  std::vector<Json> pieces;
  if (!message.reasoning.empty()) pieces.push_back({{"reasoning_content", message.reasoning}});
  if (!message.content.empty()) pieces.push_back({{"content", message.content}});
  if (!message.calls.empty()) {
    pieces.push_back(as_function_call ? FunctionCallPiece(message.calls) : CallPiece(message.calls));
  }
  return pieces;
}

/// A stream of chunks.
class ChunkStream {
 public:
  ChunkStream(ChatRun& chat, StreamWriter& out)
      : chat_(chat),
        out_(out),
        events_(out, chat.context().heartbeat),
        frame_(FrameOf(chat, "chat.completion.chunk")) {}

  void Run() {
    const auto client_gone = [this] { return out_.ClientGone(); };
    for (;;) {
      ChatRun::Step step = chat_.Next(client_gone);
      if (step.kind == Kind::kDone) break;
      if (step.kind == Kind::kGone || !events_.KeepAlive(chat_.queue_position())) return;
      if (step.kind == Kind::kError) {  // the head is out: the error is the last event, and no [DONE] follows it
        events_.Send(ErrorJson(step.error));
        return;
      }
      if (step.kind != Kind::kDelta) continue;
      if (!roles_sent_ && chat_.request().tool_use.may_call() && step.delta.empty()) continue;
      if (!std::exchange(roles_sent_, true) && !SendRoles(step)) return;
      if (!SendDelta(step.choice, step.delta)) return;
    }
    if (chat_.request().generation.include_usage || !chat_.reports().empty()) {
      Json last = frame_.With(Json::array());
      if (chat_.request().generation.include_usage) last["usage"] = chat_.usage().ToJson();
      chat_.reports().AddTo(last);
      events_.Send(last);
    }
    events_.Done();
  }

 private:
  bool Send(std::size_t index, Json delta, const char* finish_reason, Json logprobs, Json tokens = {}) {
    Json choice = {{"index", index},
                   {"delta", std::move(delta)},
                   {"logprobs", std::move(logprobs)},
                   {"finish_reason", finish_reason == nullptr ? Json() : Json(finish_reason)}};
    PutTokenReports(std::move(tokens), choice);
    if (finish_reason != nullptr && chat_.TimedOut(index)) choice["stop_reason"] = "timeout";
    Json chunk = frame_.With(Json::array({std::move(choice)}));
    if (chat_.request().generation.include_usage) chunk["usage"] = nullptr;
    return events_.Send(chunk);
  }

  // Every choice says once, in order and before all else, who speaks: Python's SDK appends choices as they come.
  // `first`: what comes next. The content of a choice that may turn out to be a call is null until there is some.
  bool SendRoles(const ChatRun::Step& first) {
    for (std::size_t i = 0; i < chat_.choices(); ++i) {
      const bool said = i == first.choice && (first.delta.finished || !first.delta.message.content.empty());
      const bool text = (said && first.delta.message.calls.empty()) || !chat_.request().tool_use.may_call();
      Json role = {{"role", "assistant"}, {"content", text ? Json("") : Json()}};
      if (!Send(i, std::move(role), nullptr, nullptr)) return false;
    }
    return true;
  }

  bool SendDelta(std::size_t index, const ChatDelta& delta) {
    std::vector<Json> pieces = Pieces(delta.message, chat_.request().tool_use.as_function_call);
    // Scores and reports of text that is not out yet: a mark that may become a call, a stop string that may go on.
    if (pieces.empty() && !(delta.scores.empty() && delta.tokens.empty())) pieces.push_back(Filler());
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      Json logprobs = i > 0 || delta.scores.empty() ? Json() : Logprobs(chat_, delta.scores);
      if (!Send(index, std::move(pieces[i]), nullptr, std::move(logprobs), i == 0 ? delta.tokens : Json()))
        return false;
    }
    return !delta.finished || Send(index, Json::object(), FinishReason(chat_, index), nullptr);
  }

  Json Filler() const { return chat_.request().tool_use.may_call() ? Json::object() : Json{{"content", ""}}; }

  ChatRun& chat_;
  StreamWriter& out_;
  SseWriter events_;
  const ResponseFrame frame_;
  bool roles_sent_ = false;
};

Result<std::shared_ptr<ChatRun>> Begin(const ApiContext& context, HttpRequest& http,
                                       std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(const std::string body, http.read_body());
  QUORUM_ASSIGN(ChatRequest request, ParseChatRequest(body));
  ignored = request.generation.ignored;
  return ChatRun::Begin(context, std::move(request), ignored);
}

}  // namespace

HttpResponse HandleChat(const ApiContext& context, HttpRequest& http) {
  std::vector<std::string> ignored;
  auto begun = Begin(context, http, ignored);
  if (!begun.ok()) return ApiError(context, begun.error());
  const std::shared_ptr<ChatRun> chat = *begun;
  HttpResponse response = chat->request().generation.stream
                              ? SseResponse([chat](StreamWriter& out) { ChunkStream(*chat, out).Run(); })
                              : Collect(*chat, http.client_gone);
  SetIgnored(response, ignored);
  return response;
}

}  // namespace quorum::server
