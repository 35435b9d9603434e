// Real forward passes under the whole engine: sequences of every kind in one batch, with few pages, cancellations,
// evictions and guesses, give bit for bit what each gives alone; and a soak that must leave nothing behind.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "engine/engine_core.h"
#include "engine/kernels/dispatch.h"
#include "engine/model.h"
#include "tests/support/catch.h"
#include "tests/support/fake_model.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace quorum::engine {
namespace {

using testing::RandomTokens;
using testing::TinyShape;

/// A small MoE with `pages` pages of KV cache; or one with a window in every second layer, with as much memory, of
/// which these layers have only part.
struct Moe {
  explicit Moe(std::int32_t pages, int threads = 2, bool windows = false, std::int32_t batch = 16) : pool(threads) {
    TinyShape shape;
    shape.experts = 6;
    shape.top_k = 2;
    shape.window = 100;
    if (windows) shape = {.architecture = "gpt-oss", .heads = 6, .ff = 72, .experts = 6, .window = 20, .tied = false};
    tiny = testing::MakeTinyModel(shape);
    LoadOptions options;
    options.pool = &pool;
    options.max_batch = batch;
    options.map_windows = windows;
    options.kv_type = KvType::kInt8;
    options.activations = ActPrecision::kInt8;
    options.max_step_tokens = 200;
    options.max_step_logits = 40;
    options.kv_bytes = pages * KvCache::BytesPerPage({.layers = shape.layers,
                                                      .kv_heads = shape.kv_heads,
                                                      .head_dim_k = shape.head_dim,
                                                      .head_dim_v = shape.head_dim,
                                                      .type = KvType::kInt8});
    Result<std::unique_ptr<Model>> made = Model::Create(tiny->spec, tiny->tensors, options);
    REQUIRE(made.ok());
    model = std::move(made).value();
    REQUIRE((windows || model->num_pages() == pages));
    REQUIRE((windows == (model->window_memory().places > 0)));
    CHECK(model->memory().kv_cache <= options.kv_bytes);
  }

  ThreadPool pool;
  std::unique_ptr<testing::TinyModel> tiny;
  std::unique_ptr<Model> model;
};

/// An engine over a model, driven step by step.
class Driver {
 public:
  Driver(Model& model, const EngineOptions& options)
      : model_(model), tokenizer_(model.vocab_size()), core(model, tokenizer_, model.kernels(), options) {}

  std::size_t Submit(GenerationRequest request) {
    REQUIRE(CheckRequest(request, model_.vocab_size(), ContextLength(model_), false, model_.experts()).ok());
    queues_.push_back(std::make_shared<EventQueue>());
    events_.emplace_back();
    auto owned = std::make_unique<Request>(std::move(request), queues_.back(), ContextLength(model_), std::nullopt,
                                           model_.experts());
    owned->SetOrdinal(static_cast<std::int64_t>(queues_.size()));
    core.Add(std::move(owned));
    return queues_.size() - 1;
  }
  void Cancel(std::size_t index) { queues_[index]->cancelled = true; }
  void Step() {
    core.RemoveCancelled();
    core.Plan();
    core.Compute();
    core.DeliverEvents();
    for (std::size_t i = 0; i < queues_.size(); ++i) {
      if (queues_[i] == nullptr) continue;
      while (auto event = queues_[i]->Next(std::chrono::milliseconds(0))) {
        if (keep_events) events_[i].push_back(std::move(*event));
      }
      if (queues_[i]->done()) queues_[i] = nullptr;
    }
  }
  const std::vector<Event>& events(std::size_t index) const { return events_[index]; }
  bool over(std::size_t index) const { return queues_[index] == nullptr; }

  bool keep_events = true;

 private:
  Model& model_;
  test::FakeTokenizer tokenizer_;
  std::vector<std::shared_ptr<EventQueue>> queues_;  // null: over
  std::vector<std::vector<Event>> events_;

 public:
  EngineCore core;
};

bool SameBits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

bool Same(const std::vector<TokenLogprob>& a, const std::vector<TokenLogprob>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const TokenLogprob& x, const TokenLogprob& y) {
    return x.id == y.id && SameBits(x.logprob, y.logprob);
  });
}

/// The events of one choice.
std::vector<Event> Of(const std::vector<Event>& events, std::int32_t choice) {
  std::vector<Event> own;
  std::copy_if(events.begin(), events.end(), std::back_inserter(own),
               [choice](const Event& event) { return event.choice == choice && event.kind != Event::Kind::kPrompt; });
  return own;
}

bool Same(const std::vector<Event>& a, const std::vector<Event>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Event& x, const Event& y) {
    return x.kind == y.kind && x.token == y.token && SameBits(x.logprob, y.logprob) &&
           Same(x.top_logprobs, y.top_logprobs) && x.finish == y.finish && x.text == y.text;
  });
}

std::vector<GenerationRequest> MixedRequests(std::int32_t vocab) {
  std::vector<GenerationRequest> requests;
  for (std::int32_t i = 0; i < 16; ++i) {
    GenerationRequest request;
    // Four stems, so that prefixes are shared, within and across expert settings.
    request.prompt = RandomTokens(30 + 17 * (i % 5), vocab, static_cast<std::uint64_t>(i % 4));
    const auto own = RandomTokens(1 + 9 * i, vocab, static_cast<std::uint64_t>(100 + i));
    request.prompt.insert(request.prompt.end(), own.begin(), own.end());
    request.max_tokens = i % 5 == 0 ? 150 : 4 + 5 * (i % 7);
    request.ignore_eos = true;
    request.logprobs = true;
    request.top_logprobs = 3;
    request.n = i % 6 == 5 ? 2 : 1;
    request.sampling.seed = static_cast<std::uint64_t>(i);
    request.sampling.temperature = i % 3 == 0 ? 0.0F : 0.9F;
    if (i % 4 == 1) request.sampling.frequency_penalty = 0.5F;
    switch (i % 8) {
      case 1: request.experts.top_k = 1; break;
      case 2: request.experts.dense = true; break;
      case 3: request.experts.min_weight = 0.4F; break;
      case 4: request.experts.masked = {{-1, 2}, {1, 5}}; break;
      case 5: request.experts.top_k = 4; break;
      case 6: request.experts.report = true; break;
      default: break;
    }
    request.priority = i % 7 == 3 ? -1 : 0;
    requests.push_back(std::move(request));
  }
  return requests;
}

TEST_CASE("Sixteen sequences of different lengths, options and experts together equal each alone, bit for bit") {
  Moe roomy(120);
  Moe tight(10);  // the largest sequence takes 5
  const std::vector<GenerationRequest> requests = MixedRequests(roomy.model->vocab_size());
  std::vector<std::vector<Event>> alone;
  for (const GenerationRequest& request : requests) {
    Driver driver(*roomy.model, {.prefill_chunk = 23});
    driver.Submit(request);
    while (!driver.core.idle()) driver.Step();
    alone.push_back(driver.events(0));
  }
  std::int64_t preemptions = 0;
  std::int64_t cached = 0;
  for (const bool few_pages : {false, true}) {
    for (const std::int32_t guesses : {0, 4}) {
      Driver driver(few_pages ? *tight.model : *roomy.model,
                    {.max_batch = 16, .prefill_chunk = 90, .speculate = guesses, .speculate_always = true});
      for (const GenerationRequest& request : requests) driver.Submit(request);
      // Neighbours that come, are cancelled at some point and go.
      std::vector<std::size_t> passing;
      for (std::uint64_t i = 0; i < 6; ++i) {
        GenerationRequest neighbour = requests[i];
        neighbour.prompt = RandomTokens(120, roomy.model->vocab_size(), 500 + i);
        neighbour.max_tokens = 100;
        passing.push_back(driver.Submit(neighbour));
      }
      for (int step = 0; !driver.core.idle(); ++step) {
        if (step % 4 == 3 && !passing.empty()) {
          if (!driver.over(passing.back())) driver.Cancel(passing.back());
          passing.pop_back();
        }
        driver.Step();
      }
      for (std::size_t i = 0; i < requests.size(); ++i) {
        for (std::int32_t choice = 0; choice < requests[i].n; ++choice) {
          CAPTURE(few_pages, guesses, i, choice);
          CHECK(Same(Of(driver.events(i), choice), Of(alone[i], choice)));
        }
      }
      CHECK(driver.core.stats().pages_used == 0);
      preemptions += driver.core.stats().preemptions;
      cached += driver.core.stats().cached_tokens;
    }
  }
  CHECK(preemptions > 0);
  CHECK(cached > 500);
}

TEST_CASE("The same where windowed layers have memory for little more than the windows") {
  Moe whole(120, 2, true);
  Moe tight(60, 2, true, 6);
  const std::vector<GenerationRequest> requests = MixedRequests(whole.model->vocab_size());
  std::vector<std::vector<Event>> alone;
  for (const GenerationRequest& request : requests) {
    Driver driver(*whole.model, {.prefill_chunk = 23});
    driver.Submit(request);
    while (!driver.core.idle()) driver.Step();
    alone.push_back(driver.events(0));
  }
  std::int64_t cached = 0;
  for (const std::int32_t guesses : {0, 4}) {
    Driver driver(*tight.model, {.max_batch = 6, .prefill_chunk = 90, .speculate = guesses, .speculate_always = true});
    for (int round = 0; round < 2; ++round) {
      for (const GenerationRequest& request : requests) driver.Submit(request);
      while (!driver.core.idle()) driver.Step();
    }
    for (std::size_t i = 0; i < 2 * requests.size(); ++i) {
      const std::size_t of = i % requests.size();
      for (std::int32_t choice = 0; choice < requests[of].n; ++choice) {
        CAPTURE(guesses, i, choice);
        CHECK(Same(Of(driver.events(i), choice), Of(alone[of], choice)));
      }
    }
    CHECK(driver.core.scheduler().cache().windows().used() == 0);
    cached += driver.core.stats().cached_tokens;
  }
  CHECK(cached > 500);
}

TEST_CASE("Reports of all requests add up to what the model counted") {
  Moe moe(120);
  Driver driver(*moe.model, {.max_batch = 8, .prefill_chunk = 50});
  std::vector<GenerationRequest> requests = MixedRequests(moe.model->vocab_size());
  for (GenerationRequest& request : requests) {
    request.experts.report = true;
    driver.Submit(request);
  }
  while (!driver.core.idle()) driver.Step();
  const ExpertStats counted = moe.model->expert_stats();
  std::vector<std::uint64_t> sum(counted.tokens.size());
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    for (const Event& event : driver.events(i)) {
      if (event.experts == nullptr) continue;
      rows += event.experts->rows;
      for (std::size_t cell = 0; cell < sum.size(); ++cell) sum[cell] += event.experts->tokens[cell];
    }
  }
  CHECK(sum == counted.tokens);
  CHECK(rows == driver.core.stats().computed_tokens);
}

TEST_CASE("A soak with random cancellations leaves no page and no reference behind") {
  // Many more by hand: QUORUM_SOAK=10000.
  const char* asked = std::getenv("QUORUM_SOAK");
  const int count = asked == nullptr ? 400 : std::atoi(asked);
  Moe moe(24);
  Driver driver(*moe.model, {.max_batch = 8, .prefill_chunk = 100, .speculate = 3});
  driver.keep_events = false;
  std::mt19937 random(3);
  const std::vector<GenerationRequest> kinds = MixedRequests(moe.model->vocab_size());
  int submitted = 0;
  std::vector<std::size_t> open;
  while (submitted < count || !driver.core.idle()) {
    while (submitted < count && open.size() < 12) {
      GenerationRequest request = kinds[random() % kinds.size()];
      request.prompt.resize(1 + random() % request.prompt.size());
      request.max_tokens = 1 + static_cast<std::int32_t>(random() % 20);
      open.push_back(driver.Submit(std::move(request)));
      ++submitted;
    }
    if (!open.empty() && random() % 6 == 0) {
      const std::size_t victim = open[random() % open.size()];
      if (!driver.over(victim)) driver.Cancel(victim);
    }
    driver.Step();
    std::erase_if(open, [&driver](std::size_t index) { return driver.over(index); });
    REQUIRE(driver.core.stats().pages_used <= 24);
  }
  const EngineStats stats = driver.core.stats();
  CHECK(stats.finished + stats.cancelled == count);
  CHECK(stats.cancelled > count / 20);
  CHECK(stats.failed == 0);
  CHECK(stats.pages_used == 0);
  CHECK(stats.running + stats.waiting == 0);
  CHECK(driver.core.scheduler().cache().available() == 24);
}

}  // namespace
}  // namespace quorum::engine
