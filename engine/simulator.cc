#include "engine/simulator.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "engine/base/check.h"
#include "engine/rng.h"

namespace quorum::engine {
namespace {

struct SimSequence : Sequence {
  const SimRequest* asked = nullptr;
  SimOutcome* outcome = nullptr;
  double last_token = 0;
  bool over = false;
};

std::vector<tok::TokenId> PromptOf(const SimRequest& request, std::size_t index) {
  std::vector<tok::TokenId> tokens;
  tokens.reserve(static_cast<std::size_t>(request.prompt + request.reply));
  const std::int32_t shared = request.prefix < 0 ? 0 : std::min(request.prefix_tokens, request.prompt);
  for (std::int32_t i = 0; i < shared; ++i) tokens.push_back(-1 - request.prefix);
  for (std::int32_t i = shared; i < request.prompt; ++i) tokens.push_back(static_cast<tok::TokenId>(index));
  return tokens;
}

double SecondsAlone(const SimRequest& request, const CostModel& machine, const SchedulerLimits& limits) {
  double seconds = 0;
  const std::int32_t chunk = std::max(1, std::min(limits.prefill_chunk, limits.max_step_tokens));
  for (std::int32_t pos = 0; pos < request.prompt; pos += chunk) {
    StepWork work;
    work.Add(std::min(chunk, request.prompt - pos), pos, pos + chunk >= request.prompt ? 1 : 0);
    seconds += machine.Predict(work);
  }
  for (std::int32_t i = 1; i < request.reply; ++i) {
    StepWork work;
    work.Add(1, request.prompt + i - 1, 1);
    seconds += machine.Predict(work);
  }
  return seconds;
}

class Simulation {
 public:
  Simulation(std::span<const SimRequest> trace, const SimOptions& options)
      : trace_(trace),
        options_(options),
        machine_(options.experts, options.cost),
        learned_(options.experts),
        scheduler_(options.limits, [](std::int32_t, std::int32_t) {}, &learned_) {
    result_.outcomes.resize(trace.size());
  }

  SimResult Run() {
    while (arrived_ < trace_.size() || open_ > 0) {
      if (open_ == 0) now_ = std::max(now_, trace_[arrived_].at);
      Arrive();
      Cancel();
      if (open_ > 0) Step();
    }
    result_.seconds = now_;
    result_.preemptions = scheduler_.preemptions();
    result_.pages_left = scheduler_.cache().referenced();
    return std::move(result_);
  }

 private:
  void Arrive() {
    for (; arrived_ < trace_.size() && trace_[arrived_].at <= now_; ++arrived_) {
      const SimRequest& request = trace_[arrived_];
      SimOutcome& outcome = result_.outcomes[arrived_];
      outcome.alone = SecondsAlone(request, machine_, options_.limits);
      if (std::ssize(scheduler_.waiting()) >= std::int64_t{options_.max_queue} + scheduler_.free_slots()) {
        outcome.end = SimOutcome::End::kRefused;
        continue;
      }
      auto sequence = std::make_unique<SimSequence>();
      sequence->key = {request.priority, static_cast<std::int64_t>(arrived_), 0};
      sequence->tokens = PromptOf(request, arrived_);
      sequence->asked = &request;
      sequence->outcome = &outcome;
      scheduler_.Add(*sequence);
      sequences_.push_back(std::move(sequence));
      ++open_;
    }
  }

  void Cancel() {
    for (const auto& sequence : sequences_) {
      const SimRequest& request = *sequence->asked;
      if (!sequence->over && request.cancel_after >= 0 && request.at + request.cancel_after <= now_) {
        Finish(*sequence, SimOutcome::End::kCancelled);
      }
    }
    std::erase_if(sequences_, [](const auto& sequence) { return sequence->over; });
  }

  void Step() {
    const std::span<Sequence* const> planned = scheduler_.Plan();
    const StepWork work = scheduler_.Work();
    const double extra = options_.noise * UniformDraw(options_.seed, 0, static_cast<std::int32_t>(result_.steps));
    const double seconds = machine_.Predict(work) * (1 + extra);
    QUORUM_CHECK(seconds > 0);
    learned_.Observe(work, seconds);
    now_ += seconds;
    ++result_.steps;
    result_.computed_tokens += work.rows;
    result_.longest_step = std::max(result_.longest_step, seconds);
    scheduler_.Commit();
    for (Sequence* each : planned) {
      auto& sequence = static_cast<SimSequence&>(*each);
      if (sequence.remaining() == 0) TakeToken(sequence);
    }
  }

  void TakeToken(SimSequence& sequence) {
    SimOutcome& outcome = *sequence.outcome;
    if (outcome.generated++ == 0) {
      outcome.first_token = now_ - sequence.asked->at;
    } else {
      result_.gaps.push_back(now_ - sequence.last_token);
      outcome.longest_gap = std::max(outcome.longest_gap, result_.gaps.back());
    }
    sequence.last_token = now_;
    sequence.tokens.push_back(static_cast<tok::TokenId>(sequence.key.request));
    if (outcome.generated >= sequence.asked->reply) Finish(sequence, SimOutcome::End::kDone);
  }

  void Finish(SimSequence& sequence, SimOutcome::End end) {
    sequence.outcome->end = end;
    sequence.outcome->finish = now_ - sequence.asked->at;
    sequence.outcome->cached = sequence.cached;
    sequence.over = true;
    scheduler_.Remove(sequence);
    --open_;
  }

  std::span<const SimRequest> trace_;
  const SimOptions& options_;
  CostModel machine_;
  CostModel learned_;
  Scheduler scheduler_;
  std::vector<std::unique_ptr<SimSequence>> sequences_;
  std::size_t arrived_ = 0;
  std::int64_t open_ = 0;
  double now_ = 0;
  SimResult result_;
};

}  // namespace

std::int64_t SimResult::generated_tokens() const {
  std::int64_t sum = 0;
  for (const SimOutcome& outcome : outcomes) sum += outcome.generated;
  return sum;
}

double SimResult::fairness() const {
  double sum = 0;
  double squares = 0;
  double count = 0;
  for (const SimOutcome& outcome : outcomes) {
    if (outcome.end != SimOutcome::End::kDone || outcome.finish <= 0) continue;
    const double speed = outcome.alone / outcome.finish;
    sum += speed;
    squares += speed * speed;
    count += 1;
  }
  return count == 0 ? 1 : sum * sum / (count * squares);
}

SimResult Simulate(std::span<const SimRequest> trace, const SimOptions& options) {
  QUORUM_CHECK(
      std::is_sorted(trace.begin(), trace.end(), [](const SimRequest& a, const SimRequest& b) { return a.at < b.at; }));
  return Simulation(trace, options).Run();
}

double Percentile(std::vector<double>& values, double q) {
  if (values.empty()) return 0;
  const auto at = std::min(values.size() - 1, static_cast<std::size_t>(q * static_cast<double>(values.size())));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

}  // namespace quorum::engine
