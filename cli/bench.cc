// quorum bench: prefill and decode speed in llama-bench's rows.
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/model_flags.h"
#include "engine/base/cpu.h"

namespace quorum::cli {
namespace {

struct BenchFlags {
  ModelFlags model;
  std::vector<std::int32_t> prompts = {512};
  std::vector<std::int32_t> generated = {128};
  std::vector<std::int32_t> batches = {1};
  std::int32_t depth = 0;
  std::int32_t chunk = 512;
  std::int32_t repetitions = 3;
  bool json = false;
};

/// One row of the table: `prompt` tokens computed at once, or `generated` tokens one by one in `batch` sequences.
struct Test {
  std::int32_t prompt = 0;
  std::int32_t generated = 0;
  std::int32_t batch = 1;
  std::vector<double> samples = {};  // tokens per second, over all sequences

  std::string Name() const {
    if (prompt > 0) return fmt::format("pp{}", prompt);
    return batch == 1 ? fmt::format("tg{}", generated) : fmt::format("tg{} x{}", generated, batch);
  }
  double Mean() const {
    return std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
  }
  double Deviation() const {
    if (samples.size() < 2) return 0;
    double sum = 0;
    for (double s : samples) sum += (s - Mean()) * (s - Mean());
    return std::sqrt(sum / static_cast<double>(samples.size() - 1));
  }
};

/// Sequences with pages of their own and made-up tokens. Speed does not depend on which tokens they are, except that
/// a MoE's routing spreads as it would for varied text, so each sequence gets its own. With an encoder-decoder model, a
/// prompt is a source, and what is decoded follows it (or a source of one page, where there is no prompt).
class Sequences {
 public:
  Sequences(engine::Model& model, std::int32_t count, std::int32_t length, std::int32_t chunk)
      : model_(model), chunk_(chunk), logits_(static_cast<std::size_t>(count) * static_cast<std::size_t>(model.vocab_size())) {
    const std::int32_t pages = (length + engine::kPageTokens - 1) / engine::kPageTokens;
    for (std::int32_t s = 0; s < count; ++s) {
      Sequence sequence;
      for (std::int32_t p = 0; p < pages; ++p) sequence.pages.push_back(s * pages + p);
      if (encodes()) {
        for (std::int32_t p = 0; p < pages; ++p) sequence.source_pages.push_back((count + s) * pages + p);
      }
      sequences_.push_back(std::move(sequence));
    }
  }

  /// Computes `n` tokens of every sequence in chunks; only the last one's logits are computed, as a server would.
  Status Prefill(std::int32_t n) {
    if (encodes()) return Encode(n);
    for (std::size_t s = 0; s < sequences_.size(); ++s) {
      for (std::int32_t done = 0; done < n;) {
        const std::int32_t size = std::min(chunk_, n - done);
        std::vector<tok::TokenId> tokens;
        for (std::int32_t i = 0; i < size; ++i) tokens.push_back(TokenAt(s, sequences_[s].pos + i));
        done += size;
        const std::int32_t wanted = done == n ? 1 : 0;
        const engine::StepSlice slice{tokens, sequences_[s].pos, sequences_[s].pages, size - wanted};
        QUORUM_TRY(model_.Step({&slice, 1}, std::span(logits_).first(Floats(wanted))));
        sequences_[s].pos += size;
      }
    }
    return {};
  }

  /// Computes one token of every sequence, with logits.
  Status Decode() {
    std::vector<tok::TokenId> tokens(sequences_.size());
    std::vector<engine::StepSlice> slices;
    for (std::size_t s = 0; s < sequences_.size(); ++s) {
      tokens[s] = TokenAt(s, sequences_[s].pos);
      slices.push_back({{&tokens[s], 1}, sequences_[s].pos++, sequences_[s].pages, 0});
      slices.back().source_pages = sequences_[s].source_pages;
      slices.back().source_tokens = sequences_[s].source;
    }
    return model_.Step(slices, logits_);
  }

 private:
  struct Sequence {
    std::vector<std::int32_t> pages, source_pages;
    std::int32_t pos = 0;
    std::int32_t source = 0;
  };

  Status Encode(std::int32_t n) {
    for (std::size_t s = 0; s < sequences_.size(); ++s) {
      std::vector<tok::TokenId> tokens;
      for (std::int32_t i = 0; i < n; ++i) tokens.push_back(TokenAt(s, i));
      engine::StepSlice slice{tokens, 0, sequences_[s].source_pages, n};
      slice.encode = true;
      QUORUM_TRY(model_.Step({&slice, 1}, {}));
      sequences_[s].source = n;
    }
    return {};
  }

  std::size_t Floats(std::int32_t rows) const {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(model_.vocab_size());
  }
  tok::TokenId TokenAt(std::size_t sequence, std::int32_t pos) const {
    std::uint64_t x = (static_cast<std::uint64_t>(sequence) << 32) + static_cast<std::uint64_t>(pos) + 1;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;  // SplitMix64's mixing
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return static_cast<tok::TokenId>((x ^ (x >> 31)) % static_cast<std::uint64_t>(model_.vocab_size()));
  }

  bool encodes() const { return model_.decoder_start().has_value(); }

  engine::Model& model_;
  std::int32_t chunk_;
  std::vector<float> logits_;
  std::vector<Sequence> sequences_;
};

/// One sample in tokens per second. Filling the context up to `depth` is not timed.
Result<double> Measure(engine::Model& model, const Test& test, const BenchFlags& flags) {
  using Clock = std::chrono::steady_clock;
  const std::int32_t length = flags.depth + std::max(test.prompt, test.generated);
  Sequences sequences(model, test.batch, length, flags.chunk);
  std::int32_t before = flags.depth;
  if (before == 0 && test.prompt == 0 && model.decoder_start()) before = std::min(length, engine::kPageTokens);
  if (before > 0) QUORUM_TRY(sequences.Prefill(before));
  const auto start = Clock::now();
  if (test.prompt > 0) {
    QUORUM_TRY(sequences.Prefill(test.prompt));
  } else {
    for (std::int32_t i = 0; i < test.generated; ++i) QUORUM_TRY(sequences.Decode());
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return (test.prompt > 0 ? test.prompt : test.generated) * static_cast<double>(test.batch) / seconds;
}

nlohmann::ordered_json ToJson(const Test& test, const BenchFlags& flags, const LoadedModel& loaded) {
  return {{"model_filename", flags.model.path},
          {"model_type", loaded.model->spec().architecture},
          {"backends", fmt::format("quorum-{}", loaded.model->kernels().name)},
          {"cpu_features", CpuFeatures()},
          {"n_threads", loaded.pool->size()},
          {"type_k", KvName(*loaded.model)},
          {"type_v", KvName(*loaded.model)},
          {"type_act", ActivationsName(*loaded.model)},
          {"n_batch", flags.chunk},
          {"n_prompt", test.prompt},
          {"n_gen", test.generated},
          {"n_depth", flags.depth},
          {"n_seq", test.batch},
          {"avg_ts", test.Mean()},
          {"stddev_ts", test.Deviation()},
          {"samples_ts", test.samples}};
}

Status Bench(const BenchFlags& flags) {
  std::vector<Test> tests;
  for (const std::int32_t n : flags.prompts) {
    if (n > 0) tests.push_back({.prompt = n});
  }
  for (const std::int32_t n : flags.generated) {
    for (const std::int32_t b : flags.batches) {
      if (n > 0) tests.push_back({.generated = n, .batch = b});
    }
  }
  if (tests.empty()) return InvalidArgument("nothing to measure: give -p or -n");
  engine::LoadOptions options;
  options.max_batch = 1;
  std::int32_t longest = 0;
  for (const Test& test : tests) {
    options.max_batch = std::max(options.max_batch, test.batch);
    longest = std::max(longest, flags.depth + std::max(test.prompt, test.generated));
  }
  options.context = (longest + engine::kPageTokens - 1) / engine::kPageTokens * engine::kPageTokens;
  options.max_step_tokens = std::max(flags.chunk, options.max_batch);
  options.max_step_logits = options.max_batch;
  QUORUM_ASSIGN(LoadedModel loaded, LoadModel(flags.model, options));
  const std::int64_t stacks = loaded.model->decoder_start() ? 2 : 1;  // a source and a reply have pages of their own
  if (stacks * options.max_batch * (options.context / engine::kPageTokens) > loaded.model->num_pages()) {
    return InvalidArgument(fmt::format("the KV cache holds {} tokens, too few for {} sequences of {}; use fewer or shorter ones",
                                       loaded.model->num_pages() / stacks * engine::kPageTokens, options.max_batch,
                                       longest));
  }

  if (!flags.json) {
    fmt::print("| model | kernels | act | kv | threads | test | t/s |\n|---|---|---|---|---:|---:|---:|\n");
  }
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  const std::string name = flags.model.path.substr(flags.model.path.rfind('/') + 1);
  for (Test& test : tests) {
    Test warm_up = test;
    warm_up.prompt = std::min(test.prompt, 64);
    warm_up.generated = std::min(test.generated, 4);
    QUORUM_TRY(Measure(*loaded.model, warm_up, flags));
    for (std::int32_t i = 0; i < flags.repetitions; ++i) {
      QUORUM_ASSIGN(const double sample, Measure(*loaded.model, test, flags));
      test.samples.push_back(sample);
    }
    rows.push_back(ToJson(test, flags, loaded));
    if (flags.json) continue;
    const std::string depth = flags.depth > 0 ? fmt::format(" @ d{}", flags.depth) : "";
    fmt::print("| {} | {} | {} | {} | {} | {}{} | {:.2f} ± {:.2f} |\n", name, loaded.model->kernels().name,
               ActivationsName(*loaded.model), KvName(*loaded.model), loaded.pool->size(), test.Name(), depth, test.Mean(), test.Deviation());
    std::fflush(stdout);
  }
  if (flags.json) fmt::print("{}\n", rows.dump(2));
  return {};
}

}  // namespace

void AddBench(CLI::App& app, Action& action) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* command = app.add_subcommand("bench", "Measure prefill and decode speed, in llama-bench's rows");
  AddModelFlags(*command, flags->model);
  command->remove_option(command->get_option("--ctx"));  // follows from what is measured
  command->add_option("-p,--n-prompt", flags->prompts, "Prompt lengths to measure; 0: none")
      ->delimiter(',')->check(CLI::Range(0, 1 << 20))->capture_default_str();
  command->add_option("-n,--n-gen", flags->generated, "Numbers of tokens to generate; 0: none")
      ->delimiter(',')->check(CLI::Range(0, 1 << 20))->capture_default_str();
  command->add_option("-b,--batch", flags->batches, "Numbers of sequences that decode at once")
      ->delimiter(',')->check(CLI::Range(1, 4096))->capture_default_str();
  command->add_option("-d,--depth", flags->depth, "Tokens in the context before measuring starts")
      ->check(CLI::Range(0, 1 << 20))->capture_default_str();
  command->add_option("--chunk", flags->chunk, "Prompt tokens computed in one step")
      ->check(CLI::Range(1, 1 << 16))->capture_default_str();
  command->add_option("-r,--repetitions", flags->repetitions, "Samples of each row")
      ->check(CLI::Range(1, 1000))->capture_default_str();
  command->add_flag("--json", flags->json, "Print a JSON list with llama-bench's keys");
  command->callback([flags, &action] {
    action = [flags] {
      const Status status = Bench(*flags);
      return status.ok() ? 0 : Fail(status.error());
    };
  });
}

}  // namespace quorum::cli
