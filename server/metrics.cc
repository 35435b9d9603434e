#include "server/metrics.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "server/expert_handler.h"

namespace quorum::server {
namespace {

using prometheus::Histogram;

const Histogram::BucketBoundaries kQueueSeconds = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                                                   1,     2.5,   5,    10,    30,   60,  120};
const Histogram::BucketBoundaries kFirstTokenSeconds = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120};
const Histogram::BucketBoundaries kTokenSeconds = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.04,
                                                   0.08,  0.15,   0.3,   0.6,  1.2,  5};
const Histogram::BucketBoundaries kGenerationSeconds = {0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600};

prometheus::MetricFamily Single(const char* name, const char* help, prometheus::MetricType type, double value) {
  prometheus::MetricFamily family;
  family.name = name;
  family.help = help;
  family.type = type;
  prometheus::ClientMetric metric;
  metric.counter.value = value;
  metric.gauge.value = value;
  family.metric.push_back(std::move(metric));
  return family;
}

/// Steps by their rows of one kind.
prometheus::ClientMetric StepRows(const engine::RowCounts& counts, const char* kind) {
  prometheus::ClientMetric metric;
  metric.label = {{"kind", kind}};
  std::uint64_t steps = 0;
  for (std::size_t i = 0; i < counts.steps.size(); ++i) {
    steps += static_cast<std::uint64_t>(counts.steps[i]);
    const bool last = i + 1 == counts.steps.size();
    const double bound = i == 0 ? 0 : std::ldexp(1.0, static_cast<int>(i) - 1);
    metric.histogram.bucket.push_back({steps, last ? std::numeric_limits<double>::infinity() : bound});
  }
  metric.histogram.sample_count = steps;
  metric.histogram.sample_sum = static_cast<double>(counts.rows);
  return metric;
}

prometheus::ClientMetric Labelled(double value, std::vector<prometheus::ClientMetric::Label> labels) {
  prometheus::ClientMetric metric;
  metric.counter.value = value;
  metric.gauge.value = value;
  metric.label = std::move(labels);
  return metric;
}

void AddExperts(const engine::ExpertStats& stats, std::vector<prometheus::MetricFamily>& families) {
  using prometheus::MetricType;
  const auto family = [](const char* name, const char* help, MetricType type) {
    prometheus::MetricFamily made = Single(name, help, type, 0);
    made.metric.clear();
    return made;
  };
  auto tokens = family("quorum_expert_tokens_total", "Tokens that the router sent to an expert", MetricType::Counter);
  auto mass =
      family("quorum_expert_gate_mass_total", "Sum of the weights with which they were sent", MetricType::Counter);
  auto entropy =
      family("quorum_expert_entropy_bits", "Entropy of a layer's choices since the start", MetricType::Gauge);
  auto steps = family("quorum_expert_steps_total", "Steps that read an expert's weights", MetricType::Counter);
  auto balance =
      family("quorum_expert_balance", "The busiest expert's load in a layer; 1 is an even spread", MetricType::Gauge);
  for (std::int32_t layer = 0; layer < stats.layers; ++layer) {
    const LayerSpread spread = SpreadOf(stats, layer);
    if (!spread.any) continue;
    const std::string at = std::to_string(layer);
    entropy.metric.push_back(Labelled(spread.entropy, {{"layer", at}}));
    balance.metric.push_back(Labelled(spread.balance, {{"layer", at}}));
    for (std::int32_t expert = 0; expert < stats.experts; ++expert) {
      const auto cell =
          static_cast<std::size_t>(layer) * static_cast<std::size_t>(stats.experts) + static_cast<std::size_t>(expert);
      const std::string name = std::to_string(expert);
      tokens.metric.push_back(Labelled(static_cast<double>(stats.tokens[cell]), {{"expert", name}, {"layer", at}}));
      mass.metric.push_back(Labelled(stats.gate_mass[cell], {{"expert", name}, {"layer", at}}));
      steps.metric.push_back(Labelled(static_cast<double>(stats.steps[cell]), {{"expert", name}, {"layer", at}}));
    }
  }
  for (auto* one : {&tokens, &mass, &steps, &entropy, &balance}) families.push_back(std::move(*one));
}

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& requests =
      prometheus::BuildCounter().Name("quorum_http_requests_total").Help("Answered HTTP requests").Register(registry);
  Histogram& queue = prometheus::BuildHistogram()
                         .Name("quorum_queue_seconds")
                         .Help("From submission to the first step that computes some of a request")
                         .Register(registry)
                         .Add({}, kQueueSeconds);
  Histogram& first_token = prometheus::BuildHistogram()
                               .Name("quorum_time_to_first_token_seconds")
                               .Help("From submission to the first token of a generation")
                               .Register(registry)
                               .Add({}, kFirstTokenSeconds);
  Histogram& inter_token = prometheus::BuildHistogram()
                               .Name("quorum_inter_token_seconds")
                               .Help("Between two tokens of one choice")
                               .Register(registry)
                               .Add({}, kTokenSeconds);
  Histogram& generation = prometheus::BuildHistogram()
                              .Name("quorum_generation_seconds")
                              .Help("From submission to the end of a generation")
                              .Register(registry)
                              .Add({}, kGenerationSeconds);
  std::atomic<double> typical_seconds{1.0};  // moving average of generation times without waiting
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::CountRequest(std::string_view route, int status) {
  impl_->requests.Add({{"route", std::string(route)}, {"status", std::to_string(status)}}).Increment();
}

void Metrics::QueueTime(double seconds) { impl_->queue.Observe(seconds); }

void Metrics::TimeToFirstToken(double seconds) { impl_->first_token.Observe(seconds); }

void Metrics::InterTokenTime(double seconds) { impl_->inter_token.Observe(seconds); }

void Metrics::GenerationTime(double seconds, double waited) {
  impl_->generation.Observe(seconds);
  const double computed = std::max(0.0, seconds - waited);
  double old = impl_->typical_seconds.load();
  while (!impl_->typical_seconds.compare_exchange_weak(old, old + 0.2 * (computed - old))) {
  }
}

double Metrics::RetryAfter(const engine::EngineStats& stats) const {
  const double rounds = (1.0 + stats.waiting) / std::max(1, stats.running);
  return std::clamp(rounds * impl_->typical_seconds.load(), 0.1, 120.0);
}

std::string Metrics::Text(const Model* model) const {
  std::vector<prometheus::MetricFamily> families = impl_->registry.Collect();
  if (model != nullptr) {
    if (model->experts.has_value()) AddExperts(*model->experts, families);
    const engine::EngineStats* stats = &model->engine;
    const auto counter = [&](const char* name, const char* help, std::int64_t value) {
      families.push_back(Single(name, help, prometheus::MetricType::Counter, static_cast<double>(value)));
    };
    const auto gauge = [&](const char* name, const char* help, std::int32_t value) {
      families.push_back(Single(name, help, prometheus::MetricType::Gauge, value));
    };
    counter("quorum_generations_total", "Generations that were accepted", stats->requests);
    counter("quorum_generations_finished_total", "Generations that ended by themselves", stats->finished);
    counter("quorum_generations_cancelled_total", "Generations whose client went away", stats->cancelled);
    counter("quorum_generations_refused_total", "Generations that were refused for want of room", stats->refused);
    counter("quorum_generations_failed_total", "Generations that ended with an error", stats->failed);
    counter("quorum_prompt_tokens_total", "Prompt tokens, cached ones included", stats->prompt_tokens);
    counter("quorum_cached_tokens_total", "Prompt tokens that came from the prefix cache", stats->cached_tokens);
    counter("quorum_generated_tokens_total", "Generated tokens", stats->generated_tokens);
    counter("quorum_steps_total", "Steps that the engine computed", stats->steps);
    counter("quorum_computed_tokens_total", "Tokens that steps computed: prompts, replies and guesses",
            stats->computed_tokens);
    counter("quorum_speculated_tokens_total", "Tokens that were guessed and computed", stats->drafted_tokens);
    counter("quorum_accepted_tokens_total", "Guessed tokens that were right", stats->accepted_tokens);
    counter("quorum_generations_timed_out_total", "Generations that their time limit ended", stats->timed_out);
    counter("quorum_preemptions_total", "Sequences that gave up their pages and were computed again",
            stats->preemptions);
    gauge("quorum_running_sequences", "Sequences that take part in steps", stats->running);
    gauge("quorum_waiting_sequences", "Sequences that wait for a place", stats->waiting);
    gauge("quorum_kv_pages_used", "KV cache pages in use", stats->pages_used);
    gauge("quorum_kv_pages_cached", "KV cache pages whose content may be used again", stats->pages_cached);
    gauge("quorum_kv_pages", "KV cache pages", stats->pages_total);
    prometheus::MetricFamily rows = Single("quorum_step_rows", "Rows of a step, those of replies and of prompts apart",
                                           prometheus::MetricType::Histogram, 0);
    rows.metric = {StepRows(stats->decode_rows, "decode"), StepRows(stats->prefill_rows, "prefill")};
    families.push_back(std::move(rows));
    if (model->bytes_read.has_value()) {
      counter("quorum_weight_bytes_read_total", "Bytes of weights that steps read, an expert's where it was used",
              model->bytes_read->weights);
      counter("quorum_kv_bytes_read_total", "Bytes of the KV cache that steps read", model->bytes_read->cache);
      const double bytes = static_cast<double>(model->bytes_read->weights + model->bytes_read->cache);
      families.push_back(
          Single("quorum_read_bytes_per_second", "Weights and KV cache read a second of steps, on average",
                 prometheus::MetricType::Gauge, stats->busy_seconds > 0 ? bytes / stats->busy_seconds : 0.0));
    }
    families.push_back(Single("quorum_busy_seconds_total", "Time that steps took; bytes read by it are the bandwidth",
                              prometheus::MetricType::Counter, stats->busy_seconds));
    families.push_back(
        Single("quorum_step_seconds", "Time of the last step", prometheus::MetricType::Gauge, stats->step_seconds));
    families.push_back(Single("quorum_step_predicted_seconds", "What the cost model expected of the last step",
                              prometheus::MetricType::Gauge, stats->predicted_seconds));
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace quorum::server
