#include "server/response_handler.h"

#include <utility>

#include <fmt/format.h>

#include "server/chat_run.h"
#include "server/message_parts.h"
#include "server/prompt_builder.h"
#include "server/random_id.h"
#include "server/response_request.h"
#include "server/sse.h"

namespace quorum::server {
namespace {

using Kind = ChatRun::Step::Kind;

/// One response between its request and its last byte.
struct Run {
  std::shared_ptr<ChatRun> chat;
  Json echo;
  Json items;
  bool keep = true;
  ResponseStore& store;
  const std::string id = RandomId("resp_");
  PartTracker tracker;
  std::vector<ScoredToken> scores;  // of the text
  bool part_cut = false;            // the last part: the reply ended in it, by its length

  /// Ends the part that is open, if one is.
  std::vector<PartTracker::Event> FinishParts() {
    part_cut = cut() && tracker.open();
    return tracker.Finish();
  }
  /// What became of a part that has ended.
  const char* StatusOf(std::size_t index) const {
    return part_cut && index + 1 == tracker.parts().size() ? "incomplete" : "completed";
  }

  Json Logprobs(const std::vector<ScoredToken>& tokens) const {
    return chat->engine_request().logprobs
               ? ChatLogprobs(*chat->model().tokenizer, tokens, chat->request().generation.tokens_as_ids)
               : Json::array();
  }

  Json TextPart(const std::string& text, bool whole) const {
    return {{"type", "output_text"},
            {"text", text},
            {"annotations", Json::array()},
            {"logprobs", whole ? Logprobs(scores) : Json::array()}};
  }

  /// An output item; `whole`: as it ends, else as it begins.
  Json Item(const MessagePart& part, bool whole, const char* status) const {
    const std::string text = whole ? part.text : "";
    switch (part.kind) {
      case PartKind::kReasoning: {
        Json content = Json::array();
        if (whole) content.push_back({{"type", "reasoning_text"}, {"text", text}});
        return {{"id", part.id},
                {"type", "reasoning"},
                {"status", status},
                {"summary", Json::array()},
                {"content", std::move(content)}};
      }
      case PartKind::kCall:
        return {{"id", part.id},     {"type", "function_call"},
                {"status", status},  {"call_id", "call_" + part.id.substr(3)},
                {"name", part.name}, {"arguments", text}};
      case PartKind::kText: break;
    }
    Json content = Json::array();
    if (whole) content.push_back(TextPart(text, true));
    return {{"id", part.id},
            {"type", "message"},
            {"status", status},
            {"role", "assistant"},
            {"content", std::move(content)}};
  }

  void Name(MessagePart& part) const {
    part.id = RandomId(part.kind == PartKind::kReasoning ? "rs_" : part.kind == PartKind::kCall ? "fc_" : "msg_");
  }

  bool cut() const { return std::string_view(chat->FinishReason(0)) == "length"; }

  /// The response object. `status`: "in_progress", "completed", "incomplete" or "failed".
  Json Object(const char* status, Json output, Json error = nullptr) const {
    Json object = {{"id", id},
                   {"object", "response"},
                   {"created_at", chat->context().now_unix},
                   {"status", status},
                   {"error", std::move(error)},
                   {"incomplete_details", nullptr},
                   {"model", chat->model().id},
                   {"output", std::move(output)},
                   {"usage", nullptr}};
    object.update(echo);
    return object;
  }

  /// The whole response, kept for later.
  Json Finished() {
    const char* status = cut() ? "incomplete" : "completed";
    Json output = Json::array();
    for (std::size_t i = 0; i < tracker.parts().size(); ++i) {
      output.push_back(Item(tracker.parts()[i], true, StatusOf(i)));
    }
    for (const Json& item : output) items.push_back(item);
    Json object = Object(status, std::move(output));
    if (cut()) object["incomplete_details"] = {{"reason", chat->TimedOut(0) ? "timeout" : "max_output_tokens"}};
    const UsageCount& usage = chat->usage();
    object["usage"] = {{"input_tokens", usage.prompt},
                       {"input_tokens_details", {{"cached_tokens", usage.cached}, {"cache_write_tokens", 0}}},
                       {"output_tokens", usage.completion},
                       {"output_tokens_details", {{"reasoning_tokens", usage.reasoning}}},
                       {"total_tokens", usage.prompt + usage.completion}};
    chat->reports().AddTo(object);
    if (keep) store.Put(id, {object, std::move(items)});
    return object;
  }
};

HttpResponse Collect(Run& run, const std::function<bool()>& client_gone) {
  const auto failed = run.chat->ReadAll(client_gone, [&](std::size_t, ChatDelta delta) {
    run.tracker.Add(delta.message);
    for (ScoredToken& score : delta.scores) run.scores.push_back(std::move(score));
  });
  if (failed.has_value()) return *failed;
  run.FinishParts();
  for (std::size_t i = 0; i < run.tracker.parts().size(); ++i) run.Name(run.tracker.part(i));
  return JsonResponse(run.Finished());
}

class ResponseStream {
 public:
  ResponseStream(Run& run, StreamWriter& out) : run_(run), out_(out), events_(out, run.chat->context().heartbeat) {}

  void Write() {
    const auto client_gone = [this] { return out_.ClientGone(); };
    for (const char* type : {"response.created", "response.in_progress"}) {
      if (!Send(type, {{"response", run_.Object("in_progress", Json::array())}})) return;
    }
    for (;;) {
      ChatRun::Step step = run_.chat->Next(client_gone);
      if (step.kind == Kind::kDone) break;
      if (step.kind == Kind::kGone || !events_.KeepAlive(run_.chat->queue_position())) return;
      if (step.kind == Kind::kError) {
        Json error = {{"code", step.error.reason.empty() ? "server_error" : step.error.reason},
                      {"message", step.error.message}};
        Send("response.failed", {{"response", run_.Object("failed", Json::array(), std::move(error))}});
        return;
      }
      if (step.kind != Kind::kDelta) continue;
      scores_ = std::move(step.delta.scores);
      if (!SendAll(run_.tracker.Add(step.delta.message))) return;
    }
    if (!SendAll(run_.FinishParts())) return;
    const Json object = run_.Finished();
    Send(run_.cut() ? "response.incomplete" : "response.completed", {{"response", object}});
  }

 private:
  bool Send(const std::string& type, Json data) {
    Json event = {{"type", type}, {"sequence_number", sequence_++}};
    event.update(data);
    return events_.SendNamed(type, event);
  }

  bool SendAll(const std::vector<PartTracker::Event>& events) {
    for (const PartTracker::Event& event : events) {
      bool sent = true;
      switch (event.kind) {
        case PartTracker::Event::Kind::kBegin: sent = Begin(event.part); break;
        case PartTracker::Event::Kind::kGrow: sent = Grow(event.part, event.text); break;
        case PartTracker::Event::Kind::kEnd: sent = End(event.part); break;
      }
      if (!sent) return false;
    }
    return true;
  }

  Json At(std::size_t index, bool has_content) const {
    Json at = {{"item_id", run_.tracker.parts()[index].id}, {"output_index", index}};
    if (has_content) at["content_index"] = 0;
    return at;
  }

  static Json With(Json at, Json more) {
    at.update(more);
    return at;
  }

  Json ContentPart(const MessagePart& part, bool whole) const {
    const std::string text = whole ? part.text : "";
    return part.kind == PartKind::kText ? run_.TextPart(text, whole) : Json{{"type", "reasoning_text"}, {"text", text}};
  }

  bool Begin(std::size_t index) {
    MessagePart& part = run_.tracker.part(index);
    run_.Name(part);
    if (!Send("response.output_item.added",
              {{"output_index", index}, {"item", run_.Item(part, false, "in_progress")}})) {
      return false;
    }
    return part.kind == PartKind::kCall ||
           Send("response.content_part.added", With(At(index, true), {{"part", ContentPart(part, false)}}));
  }

  bool Grow(std::size_t index, const std::string& text) {
    switch (run_.tracker.parts()[index].kind) {
      case PartKind::kCall:
        return Send("response.function_call_arguments.delta", With(At(index, false), {{"delta", text}}));
      case PartKind::kReasoning: return Send("response.reasoning_text.delta", With(At(index, true), {{"delta", text}}));
      case PartKind::kText: break;
    }
    Json logprobs = run_.Logprobs(scores_);
    for (ScoredToken& score : scores_) run_.scores.push_back(std::move(score));
    scores_.clear();
    return Send("response.output_text.delta",
                With(At(index, true), {{"delta", text}, {"logprobs", std::move(logprobs)}}));
  }

  bool End(std::size_t index) {
    const MessagePart& part = run_.tracker.parts()[index];
    bool sent = true;
    switch (part.kind) {
      case PartKind::kCall:
        sent = Send("response.function_call_arguments.done",
                    With(At(index, false), {{"name", part.name}, {"arguments", part.text}}));
        break;
      case PartKind::kReasoning:
        sent = Send("response.reasoning_text.done", With(At(index, true), {{"text", part.text}}));
        break;
      case PartKind::kText:
        sent = Send("response.output_text.done",
                    With(At(index, true), {{"text", part.text}, {"logprobs", run_.Logprobs(run_.scores)}}));
        break;
    }
    if (sent && part.kind != PartKind::kCall) {
      sent = Send("response.content_part.done", With(At(index, true), {{"part", ContentPart(part, true)}}));
    }
    return sent && Send("response.output_item.done",
                        {{"output_index", index}, {"item", run_.Item(part, true, run_.StatusOf(index))}});
  }

  Run& run_;
  StreamWriter& out_;
  SseWriter events_;
  std::vector<ScoredToken> scores_;  // of the text that is being sent
  int sequence_ = 0;
};

Result<std::shared_ptr<Run>> Begin(const ApiContext& context, HttpRequest& http, ResponseStore& store,
                                   std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(const std::string body, http.read_body());
  QUORUM_ASSIGN(ResponseRequest request, ParseResponseRequest(body, store));
  ignored = request.chat.generation.ignored;
  auto chat = ChatRun::Begin(context, std::move(request.chat), ignored);
  for (std::string& name : ignored) name = ResponseField(name);
  if (!chat.ok()) return InResponseWords(chat.error());
  return std::shared_ptr<Run>(new Run{std::move(*chat),
                                      std::move(request.echo),
                                      std::move(request.items),
                                      request.store,
                                      store,
                                      RandomId("resp_"),
                                      {},
                                      {},
                                      false});
}

Result<Json> CountTokens(const ApiContext& context, HttpRequest& http, ResponseStore& store,
                         std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(const std::string body, http.read_body());
  QUORUM_ASSIGN(const ResponseRequest request, ParseResponseRequest(body, store));
  ignored = request.chat.generation.ignored;
  const auto ids = BuildChatPrompt(*context.model, request.chat, context.now_unix, ignored);
  for (std::string& name : ignored) name = ResponseField(name);
  if (!ids.ok()) return InResponseWords(ids.error());
  return Json{{"object", "response.input_tokens"}, {"input_tokens", ids->size()}};
}

}  // namespace

HttpResponse HandleResponseTokens(const ApiContext& context, HttpRequest& http, ResponseStore& store) {
  std::vector<std::string> ignored;
  const auto counted = CountTokens(context, http, store, ignored);
  HttpResponse response = counted.ok() ? JsonResponse(*counted) : ApiError(context, counted.error());
  SetIgnored(response, ignored);
  return response;
}

HttpResponse HandleResponses(const ApiContext& context, HttpRequest& http, ResponseStore& store) {
  std::vector<std::string> ignored;
  auto begun = Begin(context, http, store, ignored);
  if (!begun.ok()) return ApiError(context, begun.error());
  const std::shared_ptr<Run> run = *begun;
  HttpResponse response = run->chat->request().generation.stream
                              ? SseResponse([run](StreamWriter& out) { ResponseStream(*run, out).Write(); })
                              : Collect(*run, http.client_gone);
  SetIgnored(response, ignored);
  return response;
}

}  // namespace quorum::server
