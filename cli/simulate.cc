// quorum simulate: the scheduler on a trace of requests, without a model.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/command_line.h"
#include "engine/rng.h"
#include "engine/simulator.h"
#include "server/json_fields.h"
#include "server/json_input.h"

namespace quorum::cli {
namespace {

using engine::SimRequest;
using server::Json;

struct SimulateFlags {
  engine::SimOptions sim;
  std::string trace;
  std::int64_t requests = 2000;
  double rate = 1;
  std::int32_t prompt = 200;
  std::int32_t reply = 50;
  std::int32_t prefix = 0;
  double max_itl_ms = 250;
  std::int32_t max_batch = 32;
  std::int32_t prefill_chunk = 512;
  std::int64_t kv_tokens = 100'000;
  std::int32_t experts = 128;
  std::int32_t top_k = 8;
  // About two AVX2 cores with 8 layers of Qwen3-30B-A3B in 4 bits.
  std::vector<double> cost_ms = {10, 2, 4, 0.2, 0.0002, 3};
  bool json = false;
};

constexpr std::int32_t kMostTokens = 1 << 20;

Result<std::vector<SimRequest>> ReadTrace(const std::string& path) {
  std::ifstream in(path);
  if (!in) return InvalidArgument(fmt::format("{} cannot be read", path));
  std::vector<SimRequest> trace;
  std::string line;
  for (std::int64_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto at_line = [&](const Error& error) {
      return InvalidArgument(fmt::format("{} line {}: {}", path, number, error.message));
    };
    const auto parsed = server::ParseJson(line);
    if (!parsed.ok()) return at_line(parsed.error());
    if (!parsed->is_object()) return at_line(InvalidArgument("an object is needed"));
    server::JsonFields fields(*parsed);
    SimRequest request;
    const auto number_of = [&fields](const char* name, double min, double max, auto& target) -> Status {
      QUORUM_ASSIGN(const auto value, fields.Number(name, min, max));
      if (value.has_value()) target = static_cast<std::decay_t<decltype(target)>>(*value);
      return {};
    };
    const auto read = [&]() -> Status {
      QUORUM_TRY(number_of("at", 0, 1e9, request.at));
      QUORUM_TRY(number_of("prompt", 1, kMostTokens, request.prompt));
      QUORUM_TRY(number_of("reply", 1, kMostTokens, request.reply));
      QUORUM_TRY(number_of("priority", -1e9, 1e9, request.priority));
      QUORUM_TRY(number_of("prefix", -1, 1e9, request.prefix));
      QUORUM_TRY(number_of("prefix_tokens", 0, kMostTokens, request.prefix_tokens));
      QUORUM_TRY(number_of("cancel_after", -1, 1e9, request.cancel_after));
      if (const auto unread = fields.Unread(); !unread.empty()) {
        return InvalidArgument(fmt::format("'{}' is no field of a request", unread.front()));
      }
      return {};
    };
    if (const Status status = read(); !status.ok()) return at_line(status.error());
    trace.push_back(request);
  }
  if (in.bad()) return InvalidArgument(path + " cannot be read to its end");
  if (trace.empty()) return InvalidArgument(path + " holds no requests");
  std::stable_sort(trace.begin(), trace.end(), [](const SimRequest& a, const SimRequest& b) { return a.at < b.at; });
  return trace;
}

/// Poisson arrivals; lengths spread exponentially around their means, as far as the pages allow.
std::vector<SimRequest> RandomTrace(const SimulateFlags& flags) {
  std::vector<SimRequest> trace;
  double at = 0;
  for (std::int64_t i = 0; i < flags.requests; ++i) {
    const auto draw = [&](std::int32_t which) {
      return -std::log(engine::UniformDraw(flags.sim.seed, which, static_cast<std::int32_t>(i)));
    };
    const auto length = [&](std::int32_t which, std::int32_t mean) {
      return static_cast<std::int32_t>(std::clamp(draw(which) * mean, 1.0, static_cast<double>(flags.kv_tokens) / 4));
    };
    at += draw(1) / flags.rate;
    SimRequest request;
    request.at = at;
    request.prompt = flags.prefix + length(2, flags.prompt);
    request.reply = length(3, flags.reply);
    request.prefix = flags.prefix > 0 ? 0 : -1;
    request.prefix_tokens = flags.prefix;
    trace.push_back(request);
  }
  return trace;
}

Json ToJson(engine::SimResult result, const std::vector<SimRequest>& trace) {
  std::vector<double> first;
  std::vector<double> slowdown;
  std::int64_t prompts = 0;
  std::int64_t cached = 0;
  std::int64_t counts[3] = {};
  for (std::size_t i = 0; i < trace.size(); ++i) {
    const engine::SimOutcome& outcome = result.outcomes[i];
    ++counts[static_cast<std::size_t>(outcome.end)];
    if (outcome.first_token >= 0) {
      first.push_back(outcome.first_token * 1000);
      prompts += trace[i].prompt;
      cached += outcome.cached;
    }
    if (outcome.end == engine::SimOutcome::End::kDone) slowdown.push_back(outcome.finish / outcome.alone);
  }
  for (double& gap : result.gaps) gap *= 1000;
  const auto spread = [](std::vector<double>& values) {
    return Json{{"p50", engine::Percentile(values, 0.5)},
                {"p90", engine::Percentile(values, 0.9)},
                {"p99", engine::Percentile(values, 0.99)},
                {"max", values.empty() ? 0.0 : *std::max_element(values.begin(), values.end())}};
  };
  const double seconds = std::max(result.seconds, 1e-9);
  return {{"requests", trace.size()},
          {"finished", counts[0]},
          {"cancelled", counts[1]},
          {"refused", counts[2]},
          {"seconds", result.seconds},
          {"steps", result.steps},
          {"preemptions", result.preemptions},
          {"ttft_ms", spread(first)},
          {"itl_ms", spread(result.gaps)},
          {"slowdown", spread(slowdown)},
          {"fairness", result.fairness()},
          {"longest_step_ms", result.longest_step * 1000},
          {"generated_tokens_per_second", static_cast<double>(result.generated_tokens()) / seconds},
          {"total_tokens_per_second", static_cast<double>(result.generated_tokens() + prompts) / seconds},
          {"cached_tokens", cached}};
}

void Print(const Json& report) {
  const auto spread = [&](const char* name, const char* title) {
    const Json& values = report[name];
    fmt::print("{:<28}{:>12.1f}{:>12.1f}{:>12.1f}{:>12.1f}\n", title, values["p50"].get<double>(),
               values["p90"].get<double>(), values["p99"].get<double>(), values["max"].get<double>());
  };
  fmt::print(
      "{} requests in {:.1f} simulated seconds, {} steps: {} finished, {} cancelled, {} refused, {} preemptions\n",
      report["requests"].get<std::int64_t>(), report["seconds"].get<double>(), report["steps"].get<std::int64_t>(),
      report["finished"].get<std::int64_t>(), report["cancelled"].get<std::int64_t>(),
      report["refused"].get<std::int64_t>(), report["preemptions"].get<std::int64_t>());
  fmt::print("{:<28}{:>12}{:>12}{:>12}{:>12}\n", "", "p50", "p90", "p99", "max");
  spread("ttft_ms", "time to first token, ms");
  spread("itl_ms", "between tokens, ms");
  spread("slowdown", "times slower than alone");
  fmt::print("fairness (Jain) {:.3f}; {:.1f} generated and {:.1f} total tokens/s; {} prompt tokens from the cache\n",
             report["fairness"].get<double>(), report["generated_tokens_per_second"].get<double>(),
             report["total_tokens_per_second"].get<double>(), report["cached_tokens"].get<std::int64_t>());
}

Status Run(SimulateFlags flags) {
  std::vector<SimRequest> trace;
  if (flags.trace.empty()) {
    trace = RandomTrace(flags);
  } else {
    QUORUM_ASSIGN(trace, ReadTrace(flags.trace));
  }
  for (const SimRequest& request : trace) {
    if (std::int64_t{request.prompt} + request.reply > flags.kv_tokens) {
      return InvalidArgument(fmt::format("a request of {} tokens does not fit into --kv-tokens {}",
                                         std::int64_t{request.prompt} + request.reply, flags.kv_tokens));
    }
  }
  for (std::size_t i = 0; i < flags.cost_ms.size(); ++i) flags.sim.cost[i] = flags.cost_ms[i] / 1000;
  flags.sim.limits = {
      .max_running = flags.max_batch,
      .prefill_chunk = flags.prefill_chunk,
      .max_step_tokens = flags.prefill_chunk + flags.max_batch,
      .max_step_logits = std::max(flags.max_batch, 64),
      .num_pages = static_cast<std::int32_t>((flags.kv_tokens + engine::kPageTokens - 1) / engine::kPageTokens),
      .max_itl_seconds = flags.max_itl_ms / 1000};
  flags.sim.experts = {flags.top_k, {flags.experts}};
  const Json report = ToJson(engine::Simulate(trace, flags.sim), trace);
  if (flags.json) {
    fmt::print("{}\n", report.dump(2));
  } else {
    Print(report);
  }
  return {};
}

}  // namespace

void AddSimulate(CLI::App& app, Action& action) {
  auto flags = std::make_shared<SimulateFlags>();
  CLI::App* command = app.add_subcommand("simulate", "Play a trace of requests through the scheduler, without a model");
  command->footer(
      "A trace has one JSON object a line: {\"at\": seconds, \"prompt\": tokens, \"reply\": tokens, "
      "\"priority\", \"prefix\": id, \"prefix_tokens\", \"cancel_after\": seconds}. Without one, requests are "
      "drawn at random.");
  command->add_option("--trace", flags->trace, "File with the requests")->check(CLI::ExistingFile);
  command->add_option("--requests", flags->requests, "Random requests")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  command->add_option("--rate", flags->rate, "Random requests per second")->check(AtLeast(1e-6))->capture_default_str();
  const auto tokens = [&](const char* name, std::int32_t& target, const char* help, int min) {
    command->add_option(name, target, help)->check(CLI::Range(min, kMostTokens))->capture_default_str();
  };
  tokens("--prompt", flags->prompt, "Mean prompt of a random request in tokens", 1);
  tokens("--reply", flags->reply, "Mean reply of a random request in tokens", 1);
  tokens("--prefix", flags->prefix, "Tokens that all random prompts begin with", 0);
  tokens("--prefill-chunk", flags->prefill_chunk, "As in serve", 1);
  command->add_option("--max-batch", flags->max_batch, "As in serve")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--max-itl-ms", flags->max_itl_ms, "As in serve")
      ->check(CLI::Range(0.0, 3.6e6))
      ->capture_default_str();
  command->add_option("--max-queue", flags->sim.max_queue, "As in serve")->check(AtLeast(0));
  command->add_option("--kv-tokens", flags->kv_tokens, "Tokens that the KV cache holds")
      ->check(CLI::Range(std::int64_t{64}, std::int64_t{1} << 34))
      ->capture_default_str();
  command->add_option("--experts", flags->experts, "Experts of a layer; 0: a dense model")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  command->add_option("--top-k", flags->top_k, "Experts a token")->check(CLI::Range(0, 4096))->capture_default_str();
  command
      ->add_option(
          "--cost-ms", flags->cost_ms,
          "What takes time, in milliseconds: a step, each of its first 16 rows, each further row, each distinct "
          "expert, each attended position, each row of logits")
      ->expected(static_cast<int>(engine::CostModel::kFeatures))
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--noise", flags->sim.noise, "Steps take up to so much longer, as a fraction")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  command->add_option("--seed", flags->sim.seed, "Of what is drawn at random")->capture_default_str();
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, command, &action] {
    if (!flags->trace.empty()) {
      Refuse(*command, {"--requests", "--rate", "--prompt", "--reply", "--prefix"},
             "is for random requests; it has no effect with --trace");
    }
    for (const double cost : flags->cost_ms) {
      if (!(cost >= 0)) throw CLI::ValidationError("--cost-ms", "costs are not negative");
    }
    if (!(flags->cost_ms[0] + flags->cost_ms[1] > 0)) {
      throw CLI::ValidationError("--cost-ms", "a step or its first rows must cost something");
    }
    action = [flags] {
      const Status status = Run(*flags);
      return status.ok() ? 0 : Fail(status.error());
    };
  });
}

}  // namespace quorum::cli
