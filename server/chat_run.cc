#include "server/chat_run.h"

#include <optional>
#include <utility>

#include "server/engine_fields.h"
#include "server/error_body.h"
#include "server/prompt_builder.h"
#include "server/request_reports.h"
#include "server/tool_grammar.h"

namespace quorum::server {
namespace {

MessageRules RulesOf(const ServedModel& model, const ChatRequest& request) {
  MessageRules rules;
  rules.format = model.tool_format;
  rules.tools = OfferedTools(request.tool_use.callable);
  rules.calls_allowed = request.tool_use.may_call();
  rules.demanded = request.tool_use.forced();
  rules.one_call = !request.tool_use.parallel;
  if (rules.demanded) rules.hold_bytes = 0;
  if (!request.generation.stream) rules.hold_bytes = std::string::npos;
  return rules;
}

// What the engine must know so that calls can be read, or are not made.
void PrepareForTools(const ServedModel& model, const ToolUse& use, engine::GenerationRequest& request) {
  if (use.may_call() || model.tool_format == ToolFormat::kHarmony) request.shown_controls = model.tool_controls;
  if (use.choice != ToolChoice::kNone || use.callable.empty()) return;
  const auto marker = model.tokenizer->FindToken(CallMarker(model.tool_format));
  if (marker.has_value()) request.sampling.logit_bias.emplace(*marker, -100.0F);  // no call can begin
}

// What the engine must know so that thoughts can be read, counted and ended, and a grammar holds for what follows them.
void PrepareForThoughts(const ServedModel& model, const std::vector<tok::TokenId>& prompt, GenerationFields& fields,
                        std::vector<std::string>& ignored) {
  engine::GenerationRequest& request = fields.request;
  const std::int32_t budget = request.thinking.budget;
  request.thinking = model.thinking;
  request.thinking.budget = budget;
  if (model.thinking.close.empty() && budget >= 0) {
    ignored.push_back(fields.budget_field);
    request.thinking.budget = -1;
  }
  request.thinking.open_at_start = EndsInThought(model.reasoning, *model.tokenizer, prompt);
  if (!model.reasoning.known()) return;
  const auto only = [](const std::vector<tok::TokenId>& ids) {
    return ids.size() == 1 ? std::optional(ids.front()) : std::nullopt;
  };
  fields.format.thinking =
      grammar::ThinkingMarks{model.reasoning.open, model.reasoning.close, only(model.thinking.open),
                             only(model.thinking.close), request.thinking.open_at_start};
  for (const std::vector<tok::TokenId>* mark : {&model.thinking.open, &model.thinking.close}) {
    for (const tok::TokenId token : *mark) {
      if (model.tokenizer->IsControl(token)) request.shown_controls.push_back(token);
    }
  }
}

// What the reply must be: what its format says, and what its calls need.
Result<std::shared_ptr<const grammar::CompiledGrammar>> GrammarOf(const ServedModel& model, const ChatRequest& request,
                                                                  std::vector<std::string>& ignored) {
  const OutputFormat& format = request.generation.format;
  const ToolUse& use = request.tool_use;
  const bool calls = NeedsToolGrammar(model, use, format);
  auto known = calls ? model.grammars->Get(ToolGrammarKey(use, format), [&] { return ToolGrammar(model, use, format); })
                     : model.grammars->Get(format);
  if (!known.ok()) {
    Error error = known.error();
    if (error.param.empty()) error = InvalidArgument("calls of these tools: " + error.message, "tools");
    return error;
  }
  ignored.insert(ignored.end(), known->ignored.begin(), known->ignored.end());
  return std::move(known->compiled);
}

}  // namespace

void WholeMessage::Add(ChatDelta delta) {
  content += delta.message.content;
  reasoning += delta.message.reasoning;
  for (CallDelta& call : delta.message.calls) {
    const auto index = static_cast<std::size_t>(call.index);
    if (index == calls.size()) calls.push_back({std::move(call.name), {}});
    calls[index].arguments += call.arguments;
  }
  for (ScoredToken& score : delta.scores) scores.push_back(std::move(score));
  for (Json& token : delta.tokens) tokens.push_back(std::move(token));
}

Result<std::shared_ptr<ChatRun>> ChatRun::Begin(const ApiContext& context, ChatRequest request,
                                                std::vector<std::string>& ignored) {
  const std::string& asked = request.generation.model;
  if (!asked.empty() && !context.model->Answers(asked)) ignored.push_back("model");
  QUORUM_ASSIGN(std::vector<tok::TokenId> prompt, BuildChatPrompt(*context.model, request, context.now_unix, ignored));
  const auto prompt_tokens = static_cast<std::int64_t>(prompt.size());
  const std::int64_t limit = request.generation.request.max_tokens;
  if (limit < INT32_MAX && prompt_tokens + limit > context.model->engine->context_length()) {
    ignored.push_back(std::string(kClamped) + "max_tokens");
  }
  DropUnavailable(*context.model->engine, request.generation.request, ignored);
  PrepareForTools(*context.model, request.tool_use, request.generation.request);
  PrepareForThoughts(*context.model, prompt, request.generation, ignored);
  QUORUM_ASSIGN(auto grammar, GrammarOf(*context.model, request, ignored));
  QUORUM_TRY(CheckStrict(context, ignored));
  engine::GenerationRequest submitted = request.generation.request;
  submitted.grammar = std::move(grammar);
  submitted.prompt = prompt;
  const auto started = std::chrono::steady_clock::now();
  auto generation = context.model->engine->Submit(std::move(submitted));
  if (!generation.ok()) {
    Error error = generation.error();
    if (error.param == "prompt") error.param = "messages";  // what the engine calls a prompt
    return error;
  }
  return std::shared_ptr<ChatRun>(
      new ChatRun(context, std::move(request), std::move(prompt), std::move(*generation), started));
}

ChatRun::ChatRun(const ApiContext& context, ChatRequest request, std::vector<tok::TokenId> prompt,
                 std::shared_ptr<engine::Generation> generation, std::chrono::steady_clock::time_point started)
    : context_(context),
      request_(std::move(request)),
      prompt_(std::move(prompt)),
      reader_({std::move(generation)}, context.metrics, context.scope, started) {
  usage_.prompt = static_cast<std::int64_t>(prompt_.size());
  const MessageRules rules = RulesOf(model(), request_);
  for (std::int32_t i = 0; i < engine_request().n; ++i) {
    thoughts_.emplace_back(model().reasoning, engine_request().thinking.open_at_start);
    messages_.push_back(MakeMessageReader(rules));
    choices_.emplace_back(*model().tokenizer, engine_request(), engine_request().logprobs,
                          request_.generation.tokens_as_ids);
  }
}

const char* ChatRun::FinishReason(std::size_t choice) const {
  const bool called = messages_[choice]->calls() > 0 && !messages_[choice]->broken();
  return called && !choices_[choice].cut() ? "tool_calls" : choices_[choice].finish_reason();
}

ChatRun::Step ChatRun::Next(const std::function<bool()>& client_gone) {
  using State = GenerationReader::State;
  Step step;
  GenerationReader::Item item;
  const State state = reader_.Next(client_gone, item);
  step.kind = state == State::kDone   ? Step::Kind::kDone
              : state == State::kGone ? Step::Kind::kGone
                                      : Step::Kind::kNothing;
  if (state != State::kEvent) return step;
  step.kind = item.event.kind == engine::Event::Kind::kPrompt ? Step::Kind::kPrompt : Step::Kind::kDelta;
  step.choice = static_cast<std::size_t>(item.event.choice);
  auto delta = Apply(std::move(item.event));
  if (delta.ok()) {
    step.delta = std::move(*delta);
  } else {
    step.kind = Step::Kind::kError;
    step.error = delta.error();
  }
  return step;
}

std::optional<HttpResponse> ChatRun::ReadAll(const std::function<bool()>& client_gone,
                                             const std::function<void(std::size_t, ChatDelta)>& handle) {
  for (;;) {
    Step step = Next(client_gone);
    switch (step.kind) {
      case Step::Kind::kDone: return std::nullopt;
      case Step::Kind::kGone: return ErrorResponse(499, "the client closed the connection");
      case Step::Kind::kError: return ApiError(context_, step.error);
      case Step::Kind::kDelta: handle(step.choice, std::move(step.delta)); break;
      case Step::Kind::kPrompt:
      case Step::Kind::kNothing: break;
    }
  }
}

Result<ChatDelta> ChatRun::Apply(engine::Event event) {
  using Kind = engine::Event::Kind;
  if (event.kind == Kind::kError) return event.error;
  if (event.kind == Kind::kPrompt) {
    usage_.cached = event.cached_tokens;
    if (engine_request().explain_cache) {
      reports_.cache =
          CacheReport(*model().tokenizer, prompt_, &request_.messages, event.known_tokens, event.cached_tokens);
    }
    prompt_ = {};
    context_.scope->CountPrompt(usage_.prompt, usage_.cached);
    return ChatDelta{};
  }
  const auto index = static_cast<std::size_t>(event.choice);
  ChoiceOutput& choice = choices_[index];
  if (event.experts != nullptr) reports_.moe = ExpertReport(*event.experts);
  ChoiceDelta delta = choice.Apply(std::move(event));
  if (delta.finished && choice.cancelled()) {
    return Error{ErrorCode::kUnavailable, "the server is shutting down", {}, {}};
  }
  ChatDelta out;
  ReasoningSplitter::Piece piece = thoughts_[index].Push(delta.text);
  if (delta.finished) {
    ReasoningSplitter::Piece rest = thoughts_[index].Finish();
    piece.reasoning += rest.reasoning;
    piece.content += rest.content;
  }
  out.message = messages_[index]->Push(piece.content);
  out.message.reasoning.insert(0, piece.reasoning);
  out.scores = std::move(delta.scores);
  out.tokens = std::move(delta.tokens);
  out.finished = delta.finished;
  if (delta.finished) {
    usage_.completion += choice.completion_tokens();
    usage_.reasoning += choice.reasoning_tokens();
    Append(out.message, messages_[index]->Finish(choice.cut() || !choice.stop_text().empty()));
  }
  return out;
}

}  // namespace quorum::server
