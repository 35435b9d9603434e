#include "server/completion_handler.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "server/choice_output.h"
#include "server/completion_request.h"
#include "server/engine_fields.h"
#include "server/error_body.h"
#include "server/generation_reader.h"
#include "server/prompt_builder.h"
#include "server/random_id.h"
#include "server/request_reports.h"
#include "server/sse.h"

namespace quorum::server {
namespace {

using State = GenerationReader::State;
using Ids = std::vector<tok::TokenId>;

/// One choice of one prompt, as far as it has come.
struct Text {
  std::string text;
  std::vector<ScoredToken> scores;  // of generated tokens
  Json tokens = {};                 // their reports, if asked for
};

/// What echo returns before each choice of a prompt.
struct Echo {
  std::string text;
  std::size_t chars = 0;
  std::vector<ScoredToken> scores;
};

/// One request between its submission and its last byte.
struct Completion {
  const ApiContext context;
  const CompletionRequest request;
  ResponseFrame frame;
  UsageCount usage;
  RequestReports reports;  // one prompt: objects; several: arrays, in the order of the prompts
  std::vector<Ids> prompts;
  std::vector<Echo> echoes;                        // by prompt
  std::vector<std::vector<ChoiceOutput>> choices;  // by prompt and choice
  GenerationReader reader;

  Completion(const ApiContext& api, CompletionRequest asked, std::vector<Ids> ids,
             std::vector<std::shared_ptr<engine::Generation>> generations,
             std::chrono::steady_clock::time_point started)
      : context(api),
        request(std::move(asked)),
        prompts(std::move(ids)),
        echoes(prompts.size()),
        reader(std::move(generations), api.metrics, api.scope, started) {
    frame = {RandomId("cmpl-"), "text_completion", api.now_unix, api.model->id, api.model->fingerprint};
    for (std::size_t p = 0; p < prompts.size(); ++p) {
      usage.prompt += static_cast<std::int64_t>(prompts[p].size());
      choices.emplace_back();
      for (std::int32_t c = 0; c < request.best_of; ++c) {
        choices[p].emplace_back(tokenizer(), engine_request(), scored(), request.generation.tokens_as_ids);
      }
      if (!request.echo) continue;
      const auto* given = std::get_if<std::string>(&request.prompts[p]);
      echoes[p].text = given != nullptr
                           ? tok::SanitizeUtf8(*given)
                           : tok::SanitizeUtf8(tokenizer().Decode(prompts[p], !engine_request().include_control_text));
      echoes[p].chars = CountChars(echoes[p].text);
    }
  }

  const tok::Tokenizer& tokenizer() const { return *context.model->tokenizer; }
  const engine::GenerationRequest& engine_request() const { return request.generation.request; }
  void SetReport(Json& reports_of_all, std::size_t prompt, Json report) const {
    if (prompts.size() == 1) {
      reports_of_all = std::move(report);
      return;
    }
    if (reports_of_all.is_null()) reports_of_all = Json(prompts.size(), Json());
    reports_of_all[prompt] = std::move(report);
  }
  bool scored() const { return engine_request().logprobs; }
  std::size_t IndexOf(std::size_t prompt, std::size_t choice) const {
    return prompt * static_cast<std::size_t>(engine_request().n) + choice;
  }

  Result<ChoiceDelta> Apply(GenerationReader::Item item) {
    using Kind = engine::Event::Kind;
    if (item.event.kind == Kind::kError) return item.event.error;
    if (item.event.kind == Kind::kPrompt) {
      usage.cached += item.event.cached_tokens;
      context.scope->CountPrompt(static_cast<std::int64_t>(prompts[item.generation].size()), item.event.cached_tokens);
      if (engine_request().explain_cache) {
        SetReport(reports.cache, item.generation,
                  CacheReport(tokenizer(), prompts[item.generation], nullptr, item.event.known_tokens,
                              item.event.cached_tokens));
      }
      if (request.echo && scored()) {
        echoes[item.generation].scores =
            PromptScores(tokenizer(), prompts[item.generation], item.event, engine_request().include_control_text);
      }
      return ChoiceDelta{};
    }
    ChoiceOutput& choice = choices[item.generation][static_cast<std::size_t>(item.event.choice)];
    if (item.event.experts != nullptr) SetReport(reports.moe, item.generation, ExpertReport(*item.event.experts));
    ChoiceDelta delta = choice.Apply(std::move(item.event));
    if (delta.finished && choice.cancelled()) {
      return Error{ErrorCode::kUnavailable, "the server is shutting down", {}, {}};
    }
    if (delta.finished) usage.completion += choice.completion_tokens();
    return delta;
  }

  Json Choice(std::size_t index, std::string text, Json logprobs, const char* finish_reason) const {
    return {{"index", index},
            {"text", std::move(text)},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", finish_reason == nullptr ? Json() : Json(finish_reason)}};
  }

  /// The prompt's own scores (if echoed) and then those of `scores`.
  Json Logprobs(std::size_t prompt, bool with_echo, const std::vector<ScoredToken>& scores) const {
    if (!scored()) return nullptr;
    const bool as_ids = request.generation.tokens_as_ids;
    Json own = CompletionLogprobs(tokenizer(), scores, as_ids, echoes[prompt].chars);
    if (!with_echo) return own;
    Json all = CompletionLogprobs(tokenizer(), echoes[prompt].scores, as_ids, 0);
    for (auto& [name, list] : all.items()) list.insert(list.end(), own[name].begin(), own[name].end());
    return all;
  }
};

// The choices of a prompt that are returned, by their likelihood where more were generated than asked for.
std::vector<std::size_t> Best(const std::vector<ChoiceOutput>& choices, std::int32_t n) {
  std::vector<std::size_t> order(choices.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (choices.size() > static_cast<std::size_t>(n)) {
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return choices[a].mean_logprob() > choices[b].mean_logprob();
    });
    order.resize(static_cast<std::size_t>(n));
  }
  return order;
}

HttpResponse Collect(Completion& run, const std::function<bool()>& client_gone) {
  std::vector<std::vector<Text>> texts(run.prompts.size(),
                                       std::vector<Text>(static_cast<std::size_t>(run.request.best_of)));
  GenerationReader::Item item;
  for (;;) {
    const State state = run.reader.Next(client_gone, item);
    if (state == State::kDone) break;
    if (state == State::kGone) return ErrorResponse(499, "the client closed the connection");
    if (state == State::kNothing) continue;
    Text& text = texts[item.generation][static_cast<std::size_t>(item.event.choice)];
    auto delta = run.Apply(std::move(item));
    if (!delta.ok()) return ApiError(run.context, delta.error());
    text.text += delta->text;
    for (ScoredToken& score : delta->scores) text.scores.push_back(std::move(score));
    for (Json& token : delta->tokens) text.tokens.push_back(std::move(token));
  }
  Json list = Json::array();
  for (std::size_t p = 0; p < texts.size(); ++p) {
    for (const std::size_t c : Best(run.choices[p], run.engine_request().n)) {
      list.push_back(run.Choice(list.size(), run.echoes[p].text + texts[p][c].text,
                                run.Logprobs(p, run.request.echo, texts[p][c].scores),
                                run.choices[p][c].finish_reason()));
      PutTokenReports(std::move(texts[p][c].tokens), list.back());
      if (run.choices[p][c].timed_out()) list.back()["stop_reason"] = "timeout";
    }
  }
  Json answer = run.frame.With(std::move(list));
  answer["usage"] = run.usage.ToJson();
  run.reports.AddTo(answer);
  return JsonResponse(answer);
}

bool SendChunk(const Completion& run, Json choice, SseWriter& events) {
  Json chunk = run.frame.With(Json::array({std::move(choice)}));
  if (run.request.generation.include_usage) chunk["usage"] = nullptr;
  return events.Send(chunk);
}

bool SendEcho(const Completion& run, std::size_t prompt, SseWriter& events) {
  for (std::size_t c = 0; c < run.choices[prompt].size(); ++c) {
    if (!SendChunk(run,
                   run.Choice(run.IndexOf(prompt, c), run.echoes[prompt].text, run.Logprobs(prompt, true, {}), nullptr),
                   events)) {
      return false;
    }
  }
  return true;
}

void Stream(Completion& run, StreamWriter& out) {
  SseWriter events(out, run.context.heartbeat);
  const auto client_gone = [&out] { return out.ClientGone(); };
  GenerationReader::Item item;
  for (;;) {
    const State state = run.reader.Next(client_gone, item);
    if (state == State::kDone) break;
    if (state == State::kGone || !events.KeepAlive(run.reader.queue_position())) return;
    if (state == State::kNothing) continue;
    const std::size_t p = item.generation;
    const auto c = static_cast<std::size_t>(item.event.choice);
    const bool prompt_done = item.event.kind == engine::Event::Kind::kPrompt;
    auto delta = run.Apply(std::move(item));
    if (!delta.ok()) {
      events.Send(ErrorJson(delta.error()));
      return;
    }
    if (prompt_done && run.request.echo && !SendEcho(run, p, events)) return;
    if (delta->empty()) continue;
    Json logprobs = delta->scores.empty() ? Json() : run.Logprobs(p, false, delta->scores);
    Json choice = run.Choice(run.IndexOf(p, c), std::move(delta->text), std::move(logprobs),
                             delta->finished ? run.choices[p][c].finish_reason() : nullptr);
    PutTokenReports(std::move(delta->tokens), choice);
    if (delta->finished && run.choices[p][c].timed_out()) choice["stop_reason"] = "timeout";
    if (!SendChunk(run, std::move(choice), events)) return;
  }
  if (run.request.generation.include_usage || !run.reports.empty()) {
    Json last = run.frame.With(Json::array());
    if (run.request.generation.include_usage) last["usage"] = run.usage.ToJson();
    run.reports.AddTo(last);
    events.Send(last);
  }
  events.Done();
}

Result<std::shared_ptr<Completion>> Begin(const ApiContext& context, HttpRequest& http,
                                          std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(const std::string body, http.read_body());
  QUORUM_ASSIGN(CompletionRequest request, ParseCompletionRequest(body));
  std::vector<Ids> prompts;
  for (const Prompt& prompt : request.prompts) {
    QUORUM_ASSIGN(Ids ids, BuildPrompt(*context.model, prompt, ignored));
    const std::int64_t limit = request.generation.request.max_tokens;
    if (request.limit_given &&
        static_cast<std::int64_t>(ids.size()) + limit > context.model->engine->context_length()) {
      ignored.push_back(std::string(kClamped) + "max_tokens");
    }
    prompts.push_back(std::move(ids));
  }
  ignored.insert(ignored.end(), request.generation.ignored.begin(), request.generation.ignored.end());
  if (engine::GenerationRequest& asked = request.generation.request; asked.thinking.budget >= 0) {
    ignored.push_back(request.generation.budget_field);  // thoughts are told apart in chats only
    asked.thinking.budget = -1;
  }
  DropUnavailable(*context.model->engine, request.generation.request, ignored);
  const std::string& asked = request.generation.model;
  if (!asked.empty() && !context.model->Answers(asked)) ignored.push_back("model");
  QUORUM_ASSIGN(const auto grammar, context.model->grammars->Get(request.generation.format));
  ignored.insert(ignored.end(), grammar.ignored.begin(), grammar.ignored.end());
  QUORUM_TRY(CheckStrict(context, ignored));
  const auto started = std::chrono::steady_clock::now();
  std::vector<std::shared_ptr<engine::Generation>> generations;
  for (const Ids& ids : prompts) {  // dropping the handles cancels those that were queued before one was refused
    engine::GenerationRequest submitted = request.generation.request;
    submitted.prompt = ids;
    submitted.grammar = grammar.compiled;
    submitted.n = request.best_of;
    if (request.best_of > request.generation.request.n) submitted.logprobs = true;
    QUORUM_ASSIGN(auto generation, context.model->engine->Submit(std::move(submitted)));
    generations.push_back(std::move(generation));
  }
  return std::make_shared<Completion>(context, std::move(request), std::move(prompts), std::move(generations), started);
}

}  // namespace

HttpResponse HandleCompletion(const ApiContext& context, HttpRequest& http) {
  std::vector<std::string> ignored;
  auto begun = Begin(context, http, ignored);
  if (!begun.ok()) return ApiError(context, begun.error());
  const std::shared_ptr<Completion> run = *begun;
  HttpResponse response = run->request.generation.stream ? SseResponse([run](StreamWriter& out) { Stream(*run, out); })
                                                         : Collect(*run, http.client_gone);
  SetIgnored(response, ignored);
  return response;
}

}  // namespace quorum::server
