#include "server/chat_handler.h"

#include <utility>

#include "engine/base/log.h"
#include "server/chat_request.h"
#include "server/choice_output.h"
#include "server/error_body.h"
#include "server/generation_reader.h"
#include "server/prompt_builder.h"
#include "server/random_id.h"
#include "server/sse.h"

namespace quorum::server {
namespace {

using State = GenerationReader::State;

/// One request between its submission and its last byte.
struct Chat {
  const ApiContext context;
  const ChatRequest request;
  ResponseFrame frame;
  UsageCount usage;
  std::vector<ChoiceOutput> choices;
  GenerationReader reader;

  Chat(const ApiContext& api, ChatRequest asked, std::int64_t prompt_tokens,
       std::shared_ptr<engine::Generation> generation, std::chrono::steady_clock::time_point started)
      : context(api), request(std::move(asked)), reader({std::move(generation)}, api.metrics, started) {
    frame = {RandomId("chatcmpl-"), "chat.completion", api.now_unix, api.model->id, api.model->fingerprint};
    usage.prompt = prompt_tokens;
    for (std::int32_t i = 0; i < engine_request().n; ++i) {
      choices.emplace_back(*api.model->tokenizer, engine_request(), engine_request().logprobs,
                           request.generation.tokens_as_ids);
    }
  }

  const engine::GenerationRequest& engine_request() const { return request.generation.request; }

  Json Logprobs(const std::vector<ScoredToken>& scores) const {
    if (!engine_request().logprobs) return nullptr;
    return {{"content", ChatLogprobs(*context.model->tokenizer, scores, request.generation.tokens_as_ids)},
            {"refusal", nullptr}};
  }

  /// Applies an event; what a choice gained. Errors: the engine's, or that it is shutting down.
  Result<ChoiceDelta> Apply(engine::Event event) {
    using Kind = engine::Event::Kind;
    if (event.kind == Kind::kError) return event.error;
    if (event.kind == Kind::kPrompt) {
      usage.cached = event.cached_tokens;
      return ChoiceDelta{};
    }
    ChoiceOutput& choice = choices[static_cast<std::size_t>(event.choice)];
    ChoiceDelta delta = choice.Apply(std::move(event));
    if (delta.finished && choice.cancelled()) {
      return Error{ErrorCode::kUnavailable, "the server is shutting down", {}, {}};
    }
    if (delta.finished) usage.completion += choice.completion_tokens();
    return delta;
  }
};

HttpResponse Collect(Chat& chat, const std::function<bool()>& client_gone) {
  struct Whole {
    std::string text;
    std::vector<ScoredToken> scores;
  };
  std::vector<Whole> wholes(chat.choices.size());
  GenerationReader::Item item;
  for (;;) {
    const State state = chat.reader.Next(client_gone, item);
    if (state == State::kDone) break;
    if (state == State::kGone) return ErrorResponse(499, "the client closed the connection");
    if (state == State::kNothing) continue;
    const auto index = static_cast<std::size_t>(item.event.choice);
    auto delta = chat.Apply(std::move(item.event));
    if (!delta.ok()) return ApiError(chat.context, delta.error());
    wholes[index].text += delta->text;
    for (ScoredToken& score : delta->scores) wholes[index].scores.push_back(std::move(score));
  }
  Json list = Json::array();
  for (std::size_t i = 0; i < wholes.size(); ++i) {
    list.push_back({{"index", i},
                    {"message", {{"role", "assistant"}, {"content", std::move(wholes[i].text)}, {"refusal", nullptr}}},
                    {"logprobs", chat.Logprobs(wholes[i].scores)},
                    {"finish_reason", chat.choices[i].finish_reason()}});
  }
  Json answer = chat.frame.With(std::move(list));
  answer["usage"] = chat.usage.ToJson();
  return JsonResponse(answer);
}

Json ChunkOf(const Chat& chat, std::size_t index, Json delta, const char* finish_reason, Json logprobs) {
  Json choice = {{"index", index},
                 {"delta", std::move(delta)},
                 {"logprobs", std::move(logprobs)},
                 {"finish_reason", finish_reason == nullptr ? Json() : Json(finish_reason)}};
  Json chunk = chat.frame.With(Json::array({std::move(choice)}));
  if (chat.request.generation.include_usage) chunk["usage"] = nullptr;
  return chunk;
}

// Every choice says once, in order and before all else, who speaks: Python's SDK appends choices as they come.
bool SendRoles(const Chat& chat, SseWriter& events) {
  for (std::size_t i = 0; i < chat.choices.size(); ++i) {
    if (!events.Send(ChunkOf(chat, i, {{"role", "assistant"}, {"content", ""}}, nullptr, nullptr))) return false;
  }
  return true;
}

bool SendDelta(const Chat& chat, std::size_t index, const ChoiceDelta& delta, SseWriter& events) {
  if (!delta.text.empty() || !delta.scores.empty()) {
    Json logprobs = delta.scores.empty() ? Json() : chat.Logprobs(delta.scores);
    if (!events.Send(ChunkOf(chat, index, {{"content", delta.text}}, nullptr, std::move(logprobs)))) return false;
  }
  return !delta.finished ||
         events.Send(ChunkOf(chat, index, Json::object(), chat.choices[index].finish_reason(), nullptr));
}

void Stream(Chat& chat, StreamWriter& out) {
  chat.frame.object = "chat.completion.chunk";
  SseWriter events(out, chat.context.heartbeat);
  const auto client_gone = [&out] { return out.ClientGone(); };
  GenerationReader::Item item;
  bool roles_sent = false;
  for (;;) {
    const State state = chat.reader.Next(client_gone, item);
    if (state == State::kDone) break;
    if (state == State::kGone || !events.KeepAlive()) return;
    if (state == State::kNothing) continue;
    const auto index = static_cast<std::size_t>(item.event.choice);
    const bool says_something =
        item.event.kind == engine::Event::Kind::kToken || item.event.kind == engine::Event::Kind::kFinish;
    const auto delta = chat.Apply(std::move(item.event));
    if (!delta.ok()) {  // the head is out: the error is the last event, and no [DONE] follows it
      events.Send(Json::parse(
          ErrorBody(HttpStatus(delta.error().code), delta.error().message, delta.error().param, delta.error().reason)));
      return;
    }
    if (says_something && !std::exchange(roles_sent, true) && !SendRoles(chat, events)) return;
    if (!SendDelta(chat, index, *delta, events)) return;
  }
  if (chat.request.generation.include_usage) {
    Json last = chat.frame.With(Json::array());
    last["usage"] = chat.usage.ToJson();
    events.Send(last);
  }
  events.Done();
}

Result<std::shared_ptr<Chat>> Begin(const ApiContext& context, HttpRequest& http, std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(const std::string body, http.read_body());
  QUORUM_ASSIGN(ChatRequest request, ParseChatRequest(body));
  ignored = request.generation.ignored;
  QUORUM_ASSIGN(std::vector<tok::TokenId> prompt, BuildChatPrompt(*context.model, request, context.now_unix, ignored));
  const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());
  engine::GenerationRequest submitted = request.generation.request;
  submitted.prompt = std::move(prompt);
  QUORUM_ASSIGN(submitted.grammar, context.model->grammars->Get(request.generation.format));
  const auto started = std::chrono::steady_clock::now();
  auto generation = context.model->engine->Submit(std::move(submitted));
  if (!generation.ok()) {
    Error error = generation.error();
    if (error.param == "prompt") error.param = "messages";  // what the engine calls a prompt
    return error;
  }
  return std::make_shared<Chat>(context, std::move(request), prompt_tokens, std::move(*generation), started);
}

}  // namespace

HttpResponse HandleChat(const ApiContext& context, HttpRequest& http) {
  std::vector<std::string> ignored;
  auto begun = Begin(context, http, ignored);
  if (!begun.ok()) return ApiError(context, begun.error());
  const std::shared_ptr<Chat> chat = *begun;
  const std::string& asked = chat->request.generation.model;
  if (!asked.empty() && !context.model->Answers(asked)) ignored.push_back("model");
  HttpResponse response = chat->request.generation.stream
                              ? SseResponse([chat](StreamWriter& out) { Stream(*chat, out); })
                              : Collect(*chat, http.client_gone);
  SetIgnored(response, ignored);
  return response;
}

}  // namespace quorum::server
