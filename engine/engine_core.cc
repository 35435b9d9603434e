#include "engine/engine_core.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "engine/base/log.h"
#include "engine/expert_log_writer.h"

namespace quorum::engine {

std::int32_t ContextLength(const StepModel& model) {
  const std::int64_t kv = std::int64_t{model.num_pages()} / (model.decoder_start() ? 2 : 1) * kPageTokens;
  return static_cast<std::int32_t>(std::min<std::int64_t>(model.context_length(), kv));
}

namespace {

/// What the planned step computes of the choice: the next token of its reply, with guesses behind it, or its prompt
/// (also when that is computed again, with what was replied so far).
ExpertLogWriter::Topic TopicOf(const Choice& choice) {
  return choice.generated > 0 && choice.step_tokens == 1 + choice.step_draft ? ExpertLogWriter::kReply
                                                                             : ExpertLogWriter::kPrompt;
}

Pooling PoolingOf(const Sequence& sequence) { return static_cast<const Choice&>(sequence).request.params.pooling; }

}  // namespace

EngineCore::EngineCore(StepModel& model, const tok::Tokenizer& tokenizer, const KernelTable& kernels,
                       const EngineOptions& options)
    : model_(model),
      tokenizer_(tokenizer),
      kernels_(kernels),
      vocab_(static_cast<std::size_t>(model.vocab_size())),
      decoder_start_(model.decoder_start()),
      shape_(model.experts()),
      options_(options),
      cost_(shape_),
      scheduler_(
          {.max_running = options.max_batch,
           .prefill_chunk = options.prefill_chunk,
           .max_step_tokens = model.max_step_tokens(),
           .max_step_logits = model.max_step_logits(),
           .num_pages = model.num_pages(),
           .window = model.window_memory(),
           .max_itl_seconds = options.max_itl_ms / 1000},
          [&model](std::int32_t from, std::int32_t to) { model.CopyPage(from, to); }, &cost_,
          [&model](std::int32_t page, std::int32_t place) { model.MapWindow(page, place); }),
      sampler_(kernels) {
  stats_.pages_total = model.num_pages();
}

void EngineCore::Add(std::unique_ptr<Request> request) {
  Request& added = *request;
  if (added.params.explain_cache) {
    const Choice& first = *added.choices.front();
    added.prompt_event.known_tokens = scheduler_.cache().Known(first.tokens, first.lineage);
  }
  requests_.emplace(added.ordinal(), std::move(request));
  scheduler_.Add(*added.choices.front());
}

void EngineCore::RemoveCancelled() {
  for (auto it = requests_.begin(); it != requests_.end();) {
    Request& request = *(it++)->second;  // Cancel erases it
    if (request.events->cancelled.load(std::memory_order_relaxed)) Cancel(request);
  }
}

void EngineCore::CancelAll() {
  while (!requests_.empty()) Cancel(*requests_.begin()->second);
}

void EngineCore::RemoveExpired(Clock::time_point now) {
  for (auto it = requests_.begin(); it != requests_.end();) {
    Request& request = *(it++)->second;  // ending erases it
    if (request.deadline > now) continue;
    ++stats_.timed_out;
    if (request.started) {
      Cancel(request, FinishReason::kTimeLimit);
    } else {
      Fail(request, Error{ErrorCode::kUnavailable, "The time limit of the request was over before its turn came.",
                          "timeout", "timeout"});
    }
  }
}

std::int64_t EngineCore::waiting_tokens() const {
  std::int64_t tokens = 0;
  for (const auto& [ordinal, request] : requests_) tokens += request->started ? 0 : request->prompt_size();
  return tokens;
}

/// Guesses for sequences that decode, where that is expected to pay.
void EngineCore::GuessTokens() {
  if (options_.speculate <= 0) return;
  for (Sequence* sequence : scheduler_.running()) sequence->draft = 0;
  StepWork step;
  std::int32_t decoding = 0;
  for (const Sequence* sequence : scheduler_.running()) {
    if (sequence->remaining() != 1) return;  // prompts use a step better
    step.Add(1, sequence->computed, 1);
    ++decoding;
  }
  for (Sequence* sequence : scheduler_.running()) {
    auto& choice = static_cast<Choice&>(*sequence);
    const Request& request = choice.request;
    if (!request.params.speculate || request.tally != nullptr || choice.generated == 0) continue;
    const std::int32_t most = std::min(options_.speculate, request.token_limit - choice.generated - 1);
    const auto guesses = choice.lookup.Guess(choice.tokens, most);
    if (guesses.empty()) continue;
    choice.draft = static_cast<std::int32_t>(guesses.size());
    if (!options_.speculate_always) {
      choice.draft = choice.gate.Choose(choice.draft, decoding, step, choice.computed, cost_);
    }
    choice.guesses.assign(guesses.begin(), guesses.begin() + choice.draft);
  }
}

void EngineCore::Plan() {
  step_began_ = Clock::now();
  GuessTokens();
  planned_ = scheduler_.Plan();
  work_ = scheduler_.Work();
  for (Sequence* sequence : scheduler_.running()) {
    Request& request = static_cast<Choice*>(sequence)->request;
    if (std::exchange(request.started, true)) continue;
    request.prompt_event.queue_seconds = std::chrono::duration<double>(step_began_ - request.submitted).count();
  }
}

void EngineCore::Compute() {
  if (planned_.empty()) return;
  slices_.clear();
  std::size_t rows = 0;
  for (Sequence* sequence : planned_) {
    slices_.push_back(SliceOf(static_cast<Choice&>(*sequence)));
    // Where hidden states are wanted, logits are not.
    StepSlice& slice = slices_.back();
    if (PoolingOf(*sequence) != Pooling::kNone) slice.first_logits = sequence->step_tokens;
    rows += slice.tokens.size() - static_cast<std::size_t>(slice.first_logits);
  }
  PlaceHidden();
  if (logits_.size() < rows * vocab_) logits_.resize(rows * vocab_);
  ++stats_.steps;
  stats_.computed_tokens += work_.rows;
  CountRows();
  stats_.predicted_seconds = cost_.Predict(work_);
  const Status computed = model_.Step(slices_, std::span(logits_).first(rows * vocab_));
  if (!computed.ok()) {
    FailRunning(computed.error());
    return;
  }
  LogExperts();
  scheduler_.Commit();
  std::span<const float> left = std::span(logits_).first(rows * vocab_);
  for (std::size_t i = 0; i < planned_.size(); ++i) {
    const std::size_t wanted = slices_[i].tokens.size() - static_cast<std::size_t>(slices_[i].first_logits);
    if (slices_[i].hidden != nullptr) Pool(static_cast<Choice&>(*planned_[i]).request, slices_[i]);
    ReadLogits(static_cast<Choice&>(*planned_[i]), left.first(wanted * vocab_));
    left = left.subspan(wanted * vocab_);
  }
  stats_.step_seconds = std::chrono::duration<double>(Clock::now() - step_began_).count();
  stats_.busy_seconds += stats_.step_seconds;
  cost_.Observe(work_, stats_.step_seconds);
}

/// Hands what the computed step's tokens visited to the log.
void EngineCore::LogExperts() {
  if (options_.expert_log == nullptr) return;
  for (std::size_t i = 0; i < planned_.size(); ++i) {
    const auto& choice = static_cast<const Choice&>(*planned_[i]);
    if (choice.logged) options_.expert_log->Push(choice.trace, slices_[i].tokens, TopicOf(choice));
  }
}

/// What the planned step is made of.
void EngineCore::CountRows() {
  std::int64_t decode = 0;
  for (const Sequence* sequence : planned_) {
    const auto& choice = static_cast<const Choice&>(*sequence);
    if (TopicOf(choice) == ExpertLogWriter::kReply) decode += choice.step_tokens;
  }
  stats_.decode_rows.Add(decode);
  stats_.prefill_rows.Add(work_.rows - decode);
}

/// The choice's part of the planned step.
StepSlice EngineCore::SliceOf(Choice& choice) const {
  const Request& request = choice.request;
  const auto first = static_cast<std::size_t>(choice.computed);
  const auto source_pages = static_cast<std::size_t>(choice.source_pages());
  const std::span<const std::int32_t> pages = choice.pages;
  StepSlice slice;
  slice.tokens =
      std::span(choice.tokens).subspan(first, static_cast<std::size_t>(choice.step_tokens - choice.step_draft));
  if (choice.step_draft > 0) {
    choice.step_input.assign(slice.tokens.begin(), slice.tokens.end());
    choice.step_input.insert(choice.step_input.end(), choice.guesses.begin(),
                             choice.guesses.begin() + choice.step_draft);
    slice.tokens = choice.step_input;
  }
  slice.first_logits = choice.step_first_logits;
  slice.experts = request.experts.has_value() ? &*request.experts : nullptr;
  slice.tally = request.tally.get();
  choice.logged = options_.expert_log != nullptr && options_.expert_log->Wants(TopicOf(choice));
  if (request.params.experts.trace || choice.logged) {
    choice.trace = std::make_shared<ExpertTrace>(shape_, slice.experts == nullptr ? shape_.top_k : slice.experts->top_k,
                                                 std::ssize(slice.tokens));
    slice.trace = choice.trace.get();
  }
  slice.encode = choice.encodes();
  if (slice.encode) {
    slice.pages = pages.first(source_pages);
    return slice;
  }
  slice.pos = choice.computed - choice.source;
  slice.pages = pages.subspan(source_pages);
  slice.source_pages = pages.first(source_pages);
  slice.source_tokens = choice.source;
  return slice;
}

/// Gives the slices that are pooled room for their hidden states.
void EngineCore::PlaceHidden() {
  const auto width = static_cast<std::size_t>(model_.hidden_size());
  std::size_t tokens = 0;
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    if (PoolingOf(*planned_[i]) != Pooling::kNone) tokens += slices_[i].tokens.size();
  }
  if (hidden_.size() < tokens * width) hidden_.resize(tokens * width);
  float* next = hidden_.data();
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    if (PoolingOf(*planned_[i]) == Pooling::kNone) continue;
    slices_[i].hidden = next;
    next += slices_[i].tokens.size() * width;
  }
}

/// Adds a slice's hidden states, token by token in ascending order: the sum does not depend on the chunks.
void EngineCore::Pool(Request& request, const StepSlice& slice) {
  const auto width = static_cast<std::size_t>(model_.hidden_size());
  if (slice.pos == 0 || request.pooled.size() != width) request.pooled.assign(width, 0.0);
  const bool mean = request.params.pooling == Pooling::kMean;
  for (std::size_t i = 0; i < slice.tokens.size(); ++i) {
    const float* row = slice.hidden + i * width;
    for (std::size_t d = 0; d < width; ++d) request.pooled[d] = mean ? request.pooled[d] + row[d] : row[d];
  }
  const double count = mean ? static_cast<double>(request.prompt_size()) : 1.0;
  if (slice.pos + static_cast<std::int32_t>(slice.tokens.size()) < request.prompt_size()) return;
  request.prompt_event.pooled.resize(width);
  for (std::size_t d = 0; d < width; ++d)
    request.prompt_event.pooled[d] = static_cast<float>(request.pooled[d] / count);
}

/// Takes the rows of the step that was just computed.
void EngineCore::ReadLogits(Choice& choice, std::span<const float> rows) {
  ScorePrompt(choice, rows);
  if (choice.finished) return;  // its request failed, here or at another choice of this step
  if (choice.remaining() > 0) return;
  if (choice.request.prompt_done) {
    GenerateGuessed(choice, rows);
  } else {
    FinishPrompt(choice, rows);
  }
}

/// Reads the scores of prompt tokens off the front of `rows`.
void EngineCore::ScorePrompt(Choice& choice, std::span<const float>& rows) {
  Request& request = choice.request;
  while (choice.scored < choice.score_end && !rows.empty()) {
    const auto logprobs = RowLogprobs::Of(kernels_, rows.first(vocab_));
    if (!logprobs.ok()) return Fail(request, logprobs.error());
    const tok::TokenId next = choice.tokens[static_cast<std::size_t>(++choice.scored)];
    request.prompt_event.prompt_logprobs.push_back(logprobs->At(next));
    request.prompt_event.prompt_top_logprobs.push_back(logprobs->Top(request.params.top_logprobs));
    rows = rows.subspan(vocab_);
  }
}

/// All choices begin with the row behind the prompt, so that it is computed once and their first events come in order.
/// The choices after the first share its full pages and copy the beginning of the page after them.
void EngineCore::FinishPrompt(Choice& first, std::span<const float> row) {
  Request& request = first.request;
  request.prompt_done = true;
  first.compute_all = false;  // after a preemption it may find its own pages
  request.prompt_event.cached_tokens = first.cached;
  stats_.prompt_tokens += request.prompt_size();
  stats_.cached_tokens += first.cached;
  Emit(request, std::move(request.prompt_event));
  const std::int32_t whole = request.prompt_size() / kPageTokens * kPageTokens;
  if (request.params.save_prefix && whole > 0 && first.source == 0) {
    const auto& prompt = request.params.prompt;
    ChoosePrefix({first.lineage == nullptr ? "" : *first.lineage, {prompt.begin(), prompt.begin() + whole}});
  }
  if (request.params.n > 1) scheduler_.Publish(first);
  const std::vector<tok::TokenId> first_tokens = first.tokens;  // of every choice
  for (const auto& choice : request.choices) {
    if (choice->finished) return;  // the request failed at an earlier choice
    if (request.token_limit == 0) {
      Finish(*choice, FinishReason::kLength);
      continue;
    }
    if (choice.get() != &first) {
      choice->tokens = first_tokens;
      choice->source = first.source;
      choice->trace = first.trace;
    }
    // What a decoder has before it: not what its encoder read.
    if (NeedsCounts(request.params.sampling)) {
      choice->counts.AddPrompt(std::span(first_tokens).subspan(static_cast<std::size_t>(first.source)));
    }
    if (request.params.grammar != nullptr) choice->constraint.emplace(request.params, tokenizer_);
    Generate(*choice, row);
    if (choice.get() != &first && !choice->finished) scheduler_.Add(*choice);
  }
}

/// Draws the next token from the first row, and goes on with the next row as long as the guess that it stands for was
/// right: then the row is what a step of its own would have given.
void EngineCore::GenerateGuessed(Choice& choice, std::span<const float> rows) {
  const std::int32_t drafted = choice.step_draft;
  std::int32_t accepted = 0;
  for (;;) {
    Generate(choice, rows.first(vocab_));
    if (choice.finished || accepted == drafted ||
        choice.tokens.back() != choice.guesses[static_cast<std::size_t>(accepted)]) {
      break;
    }
    ++accepted;
    ++choice.computed;
    rows = rows.subspan(vocab_);
  }
  if (drafted == 0) return;
  stats_.drafted_tokens += drafted;
  stats_.accepted_tokens += accepted;
  choice.gate.Learn(drafted, accepted);
}

/// The next token: what ends a thought whose budget is spent, or a draw.
Result<tok::TokenId> EngineCore::NextToken(Choice& choice, std::span<const float> row) {
  const GenerationRequest& params = choice.request.params;
  if (const auto forced = choice.thinking.Forced()) return *forced;
  const TokenFilter* filter = choice.constraint ? &choice.constraint->Filter() : nullptr;
  return sampler_.Sample(row, params.sampling, choice.counts, choice.key.choice, choice.length(), filter);
}

/// Draws the choice's next token from `row` and says so.
void EngineCore::Generate(Choice& choice, std::span<const float> row) {
  Request& request = choice.request;
  const GenerationRequest& params = request.params;
  const auto token = NextToken(choice, row);
  if (!token.ok()) return Fail(request, token.error());

  Event event;
  event.choice = choice.key.choice;
  event.token = *token;
  if (params.logprobs) {
    const auto logprobs = RowLogprobs::Of(kernels_, row);
    if (!logprobs.ok()) return Fail(request, logprobs.error());
    event.logprob = logprobs->At(*token).logprob;
    event.top_logprobs = logprobs->Top(params.top_logprobs);
  }
  if (params.experts.trace) event.trace = choice.trace;
  choice.tokens.push_back(*token);
  ++choice.generated;
  choice.thinking.Push(*token);
  ++stats_.generated_tokens;
  if (NeedsCounts(params.sampling)) choice.counts.AddGenerated(*token);
  if (choice.constraint) {
    if (const Status fits = choice.constraint->Push(*token, prefetcher_); !fits.ok())
      return Fail(request, fits.error());
  }

  const bool ends = (!params.ignore_eos && tokenizer_.IsEndOfGeneration(*token)) ||
                    std::binary_search(params.stop_ids.begin(), params.stop_ids.end(), *token);
  const bool shown = params.include_control_text || !tokenizer_.IsControl(*token) ||
                     std::binary_search(params.shown_controls.begin(), params.shown_controls.end(), *token);
  if (!ends && shown) {
    event.text = choice.stop.Push(choice.utf8.Push(tokenizer_.TokenBytes(*token)));
  }
  event.ends_text = ends || choice.stop.matched();
  const bool stops = event.ends_text;
  Emit(request, std::move(event));
  if (stops || (choice.constraint && choice.constraint->complete())) {
    Finish(choice, FinishReason::kStop);
  } else if (choice.generated >= request.token_limit) {
    Finish(choice, FinishReason::kLength);
  }
}

void EngineCore::Finish(Choice& choice, FinishReason reason) {
  Event event;
  event.kind = Event::Kind::kFinish;
  event.choice = choice.key.choice;
  event.completion_tokens = choice.generated;
  event.reasoning_tokens = choice.thinking.tokens();
  if (reason != FinishReason::kCancelled) {
    if (!choice.stop.matched()) event.text = choice.stop.Push(choice.utf8.Finish());
    if (choice.stop.matched()) {
      reason = FinishReason::kStop;
      event.stop_text = choice.stop.stop();
    } else {
      event.text += choice.stop.Finish();
    }
  }
  event.finish = reason;
  Request& request = choice.request;
  scheduler_.Remove(choice);
  choice.finished = true;
  if (request.open_choices == 1) event.experts = request.tally;
  Emit(request, std::move(event));
  if (--request.open_choices > 0) return;
  if (reason != FinishReason::kTimeLimit) ++(reason == FinishReason::kCancelled ? stats_.cancelled : stats_.finished);
  End(request);
}

void EngineCore::Cancel(Request& request, FinishReason reason) {
  for (const auto& choice : request.choices) {
    if (!choice->finished) Finish(*choice, reason);
  }
}

void EngineCore::Fail(Request& request, const Error& error) {
  for (const auto& choice : request.choices) {
    scheduler_.Remove(*choice);
    choice->finished = true;
  }
  Event event;
  event.kind = Event::Kind::kError;
  event.finish = FinishReason::kError;
  event.error = error;
  Emit(request, std::move(event));
  ++stats_.failed;
  Log(LogLevel::kWarn, "a request failed: {}", error.message);
  End(request);
}

void EngineCore::FailRunning(const Error& error) {
  if (scheduler_.running().empty()) {  // then deciding the step failed
    while (!requests_.empty()) Fail(*requests_.begin()->second, error);
  }
  while (!scheduler_.running().empty()) Fail(static_cast<Choice*>(scheduler_.running().front())->request, error);
}

void EngineCore::End(Request& request) {
  const auto it = requests_.find(request.ordinal());
  over_.push_back(std::move(it->second));
  requests_.erase(it);
}

void EngineCore::Emit(const Request& request, Event event) {
  outbox_.emplace_back(request.events.get(), std::move(event));
}

std::int32_t EngineCore::UpdatePositions() {
  std::int32_t ahead = 0;
  for (const auto& [ordinal, request] : requests_) {
    request->events->requests_ahead.store(request->started ? -1 : ahead, std::memory_order_relaxed);
    if (!request->started) ++ahead;
  }
  return ahead;
}

const EngineStats& EngineCore::stats() {
  stats_.preemptions = scheduler_.preemptions();
  stats_.running = static_cast<std::int32_t>(scheduler_.running().size());
  stats_.waiting = static_cast<std::int32_t>(scheduler_.waiting().size());
  stats_.pages_used = scheduler_.cache().referenced();
  stats_.pages_cached = scheduler_.cache().cached();
  return stats_;
}

std::int32_t EngineCore::DeliverEvents() {
  for (auto& [queue, event] : outbox_) queue->Push(std::move(event));
  outbox_.clear();
  for (const auto& request : over_) request->events->Close();
  const auto count = static_cast<std::int32_t>(over_.size());
  over_.clear();
  return count;
}

}  // namespace quorum::engine
