// quorum bench: prefill and decode speed in llama-bench's rows.
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/bench_experts.h"
#include "cli/bench_gemm.h"
#include "cli/bench_sequences.h"
#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/long_work.h"
#include "cli/model_flags.h"
#include "cli/model_header.h"
#include "engine/base/cpu.h"
#include "engine/roof.h"

namespace quorum::cli {
namespace {

struct BenchFlags {
  ModelFlags model;
  std::vector<std::int32_t> prompts = {512};
  std::vector<std::int32_t> generated = {128};
  std::vector<std::int32_t> batches = {1};
  std::vector<std::int32_t> depths = {0};
  std::int32_t chunk = 512;
  std::int32_t repetitions = 3;
  bool gemm = false;
  bool expert_counters = false;
  bool json = false;
};

/// One row of the table: `prompt` tokens computed at once, or `generated` tokens one by one in `batch` sequences, after
/// `depth` tokens.
struct Test {
  std::int32_t prompt = 0;
  std::int32_t generated = 0;
  std::int32_t batch = 1;
  std::int32_t depth = 0;
  std::vector<double> samples = {};  // seconds
  engine::StepCost cost = {};        // of one sample; zero: not known
  std::time_t began = 0;             // the first sample

  std::string Name() const {
    std::string name = prompt > 0 ? fmt::format("pp{}", prompt) : fmt::format("tg{}", generated);
    if (batch > 1) name += fmt::format(" x{}", batch);
    if (depth > 0) name += fmt::format(" @ d{}", depth);
    return name;
  }
  /// Over all sequences.
  double Tokens() const { return static_cast<double>(prompt > 0 ? prompt : generated) * static_cast<double>(batch); }
  std::vector<double> Rates() const {
    std::vector<double> rates;
    for (const double seconds : samples) rates.push_back(Tokens() / seconds);
    return rates;
  }
  std::vector<std::int64_t> Nanoseconds() const {
    std::vector<std::int64_t> times;
    for (const double seconds : samples) times.push_back(std::llround(seconds * 1e9));
    return times;
  }
  double Gigabytes() const { return static_cast<double>(cost.bytes) / Seconds() / 1e9; }   // a second
  double Tera() const { return static_cast<double>(cost.operations) / Seconds() / 1e12; }  // operations a second

 private:
  double Seconds() const {
    return std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
  }
};

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double Deviation(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  double sum = 0;
  for (const double value : values) sum += (value - Mean(values)) * (value - Mean(values));
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

/// One sample, in seconds. Filling the context up to `depth` is not timed. Where `cost` is wanted, the time is of no
/// use.
Result<double> Measure(engine::Model& model, const Test& test, const BenchFlags& flags,
                       engine::StepCost* cost = nullptr) {
  using Clock = std::chrono::steady_clock;
  const std::int32_t length = test.depth + std::max(test.prompt, test.generated);
  BenchSequences sequences(model, test.batch, length, flags.chunk);
  std::int32_t before = test.depth;
  if (before == 0 && test.prompt == 0 && model.decoder_start()) before = std::min(length, engine::kPageTokens);
  if (before > 0) QUORUM_TRY(sequences.Prefill(before));
  if (cost != nullptr) sequences.CountCost();
  const auto start = Clock::now();
  if (test.prompt > 0) {
    QUORUM_TRY(sequences.Prefill(test.prompt));
  } else {
    for (std::int32_t i = 0; i < test.generated; ++i) QUORUM_TRY(sequences.Decode());
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  if (cost != nullptr) *cost = sequences.cost();
  return seconds;
}

nlohmann::ordered_json ToJson(const Test& test, const BenchFlags& flags, const LoadedModel& loaded,
                              const engine::Roof& roof) {
  const std::vector<double> rates = test.Rates();
  nlohmann::ordered_json json = {{"model_filename", flags.model.Name()},
                                 {"model_type", loaded.model->spec().architecture},
                                 {"backends", fmt::format("quorum-{}", loaded.model->kernels().name)},
                                 {"cpu_features", CpuFeatures()},
                                 {"weight_bytes", loaded.model->memory().weights},
                                 {"n_threads", loaded.pool->size()},
                                 {"type_k", KvName(*loaded.model)},
                                 {"type_v", KvName(*loaded.model)},
                                 {"type_act", ActivationsName(*loaded.model)},
                                 {"n_batch", flags.chunk},
                                 {"n_ubatch", flags.chunk},
                                 {"n_prompt", test.prompt},
                                 {"n_gen", test.generated},
                                 {"n_depth", test.depth},
                                 {"n_seq", test.batch},
                                 {"test_time", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(test.began))},
                                 {"avg_ns", std::llround(Mean(test.samples) * 1e9)},
                                 {"stddev_ns", std::llround(Deviation(test.samples) * 1e9)},
                                 {"samples_ns", test.Nanoseconds()},
                                 {"avg_ts", Mean(rates)},
                                 {"stddev_ts", Deviation(rates)},
                                 {"samples_ts", rates},
                                 {"roof_gb_s", roof.bytes_per_second / 1e9},
                                 {"roof_tops", roof.operations_per_second / 1e12}};
  if (test.cost.bytes > 0) {
    json["bytes"] = test.cost.bytes;
    json["operations"] = test.cost.operations;
    json["gb_s"] = test.Gigabytes();
    json["gb_s_of_roof"] = test.Gigabytes() * 1e9 / roof.bytes_per_second;
    json["tops"] = test.Tera();
    json["tops_of_roof"] = test.Tera() * 1e12 / roof.operations_per_second;
  }
  return json;
}

std::vector<Test> TestsOf(const BenchFlags& flags) {
  std::vector<Test> tests;
  for (const std::int32_t depth : flags.depths) {
    for (const std::int32_t n : flags.prompts) {
      if (n > 0) tests.push_back({.prompt = n, .depth = depth});
    }
    for (const std::int32_t n : flags.generated) {
      for (const std::int32_t b : flags.batches) {
        if (n > 0) tests.push_back({.generated = n, .batch = b, .depth = depth});
      }
    }
  }
  return tests;
}

void PrintRow(const Test& test, const std::string& name, const LoadedModel& loaded, const engine::Roof& roof) {
  const std::vector<double> rates = test.Rates();
  std::string fractions = "| | |";
  if (test.cost.bytes > 0) {
    fractions = fmt::format("| {:.1f} ({:.0f} %) | {:.3f} ({:.0f} %) |", test.Gigabytes(),
                            100 * test.Gigabytes() * 1e9 / roof.bytes_per_second, test.Tera(),
                            100 * test.Tera() * 1e12 / roof.operations_per_second);
  }
  fmt::print("| {} | {} | {} | {} | {} | {} | {:.2f} ± {:.2f} {}\n", name, loaded.model->kernels().name,
             ActivationsName(*loaded.model), KvName(*loaded.model), loaded.pool->size(), test.Name(), Mean(rates),
             Deviation(rates), fractions);
  std::fflush(stdout);
}

/// --gemm: the rows that an expert sees, from decode to prefill.
Status BenchGemm(const LoadedModel& loaded, const engine::Roof& roof, bool json) {
  const double peak = roof.operations_per_second / loaded.pool->size();
  QUORUM_ASSIGN(const GemmTable table, MeasureGemm(*loaded.model, {1, 2, 4, 8, 16, 32, 64, 128, 512}));
  if (json) {
    fmt::print("{}\n", ToJson(table, peak).dump(2));
  } else {
    PrintGemm(table, peak);
  }
  return {};
}

/// --expert-counters: a table for each number of sequences and of tokens.
Status BenchExperts(const LoadedModel& loaded, const std::vector<Test>& tests, bool json) {
  nlohmann::ordered_json tables = nlohmann::ordered_json::array();
  for (const Test& test : tests) {
    if (test.generated == 0) continue;
    QUORUM_ASSIGN(const WatchTable table, MeasureWatching(*loaded.model, test.batch, test.generated));
    tables.push_back(ToJson(table));
    if (!json) PrintWatching(table);
  }
  if (json) fmt::print("{}\n", tables.dump(2));
  return {};
}

/// Several times any last cache, unless memory is short.
std::int64_t RoofBuffer() {
  return std::min<std::int64_t>(std::int64_t{512} << 20, engine::AvailableMemory().available / 4);
}

Status Bench(const BenchFlags& flags) {
  std::vector<Test> tests = TestsOf(flags);
  if (flags.expert_counters) {
    QUORUM_ASSIGN(const engine::ModelSpec spec, ReadSpec(flags.model.path));
    if (!spec.has_experts()) return InvalidArgument(flags.model.path + " is dense: there are no experts to count");
  }
  engine::LoadOptions options;
  options.max_batch = 1;
  std::int32_t longest = 0;
  for (const Test& test : tests) {
    options.max_batch = std::max(options.max_batch, test.batch);
    longest = std::max(longest, test.depth + std::max(test.prompt, test.generated));
  }
  options.context = (longest + engine::kPageTokens - 1) / engine::kPageTokens * engine::kPageTokens;
  options.max_step_tokens = std::max(flags.chunk, options.max_batch);
  options.max_step_logits = options.max_batch;
  QUORUM_ASSIGN(LoadedModel loaded, LoadModel(flags.model, options));
  const std::int64_t stacks = loaded.model->decoder_start() ? 2 : 1;  // a source and a reply have pages of their own
  if (stacks * options.max_batch * (options.context / engine::kPageTokens) > loaded.model->num_pages()) {
    return InvalidArgument(
        fmt::format("the KV cache holds {} tokens, too few for {} sequences of {}; use fewer or shorter ones",
                    loaded.model->num_pages() / stacks * engine::kPageTokens, options.max_batch, longest));
  }
  if (flags.expert_counters) return BenchExperts(loaded, tests, flags.json);
  QUORUM_ASSIGN(const engine::Roof roof, engine::MeasureRoof(loaded.model->kernels(), *loaded.pool, RoofBuffer()));

  if (!flags.json) {
    fmt::print("This machine with {} threads: reads {:.1f} GB/s, multiplies int8 with {:.3f} TOPS ({}).\n\n",
               loaded.pool->size(), roof.bytes_per_second / 1e9, roof.operations_per_second / 1e12,
               loaded.model->kernels().name);
  }
  if (flags.gemm) return BenchGemm(loaded, roof, flags.json);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  if (!flags.json) {
    fmt::print(
        "| model | kernels | act | kv | threads | test | t/s | GB/s | TOPS |\n"
        "|---|---|---|---|---:|---:|---:|---:|---:|\n");
  }
  const std::string path = flags.model.Name();
  const std::string name = path.substr(path.rfind('/') + 1);
  for (Test& test : tests) {
    QUORUM_TRY(Measure(*loaded.model, test, flags, &test.cost));  // warms up, too
    test.began = std::time(nullptr);
    for (std::int32_t i = 0; i < flags.repetitions; ++i) {
      QUORUM_ASSIGN(const double seconds, Measure(*loaded.model, test, flags));
      test.samples.push_back(seconds);
    }
    rows.push_back(ToJson(test, flags, loaded, roof));
    if (!flags.json) PrintRow(test, name, loaded, roof);
  }
  if (flags.json) fmt::print("{}\n", rows.dump(2));
  return {};
}

}  // namespace

void AddBench(CLI::App& app, Action& action) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* command = app.add_subcommand(
      "bench", "Measure prefill and decode speed, in llama-bench's rows, and what of the machine's limits that is");
  AddModelFlags(*command, flags->model, {.context = false});  // the context follows from what is measured
  command->add_option("-p,--n-prompt", flags->prompts, "Prompt lengths to measure; 0: none")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command->add_option("-n,--n-gen", flags->generated, "Numbers of tokens to generate; 0: none")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command->add_option("-b,--batch", flags->batches, "Numbers of sequences that decode at once")
      ->delimiter(',')
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("-d,--depth", flags->depths, "Numbers of tokens in the context before measuring starts")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  command->add_option("--chunk", flags->chunk, "Prompt tokens computed in one step")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command->add_option("-r,--repetitions", flags->repetitions, "Samples of each row")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  CLI::Option* gemm = command->add_flag(
      "--gemm", flags->gemm,
      "Measure instead the products of experts by themselves, beside oneDNN's int8 product of the same shape");
  command
      ->add_flag("--expert-counters", flags->expert_counters,
                 "Measure instead what counting the experts costs a decoding step, with and without it in turns")
      ->excludes(gemm);
  command->add_flag("--json", flags->json, "Print a JSON list, with llama-bench's keys where it has the same");
  command->callback([flags, command, &action] {
    if (flags->gemm) {
      Refuse(*command, {"--n-prompt", "--n-gen", "--batch", "--depth", "--chunk", "--repetitions"},
             "has no effect with --gemm");
    }
    if (flags->expert_counters) {
      Refuse(*command, {"--n-prompt", "--depth", "--chunk", "--repetitions"}, "has no effect with --expert-counters");
    }
    if (TestsOf(*flags).empty()) {
      throw CLI::ParseError("nothing to measure: --n-prompt and --n-gen are both 0", kUsageStatus);
    }
    action = [flags] { return Exit(Bench(*flags)); };
  });
}

}  // namespace quorum::cli
