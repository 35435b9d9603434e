// quorum upcycle: a dense GGUF model becomes a Mixture-of-Experts model.
#include "quant/upcycle.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/long_work.h"
#include "cli/model_flags.h"
#include "cli/model_header.h"
#include "cli/output_file.h"
#include "cli/text_files.h"
#include "cli/text_model.h"
#include "engine/base/units.h"
#include "engine/carve_plan.h"
#include "engine/text_run.h"
#include "quant/carve.h"
#include "quant/dense_ffn.h"
#include "quant/expert_surgery.h"

namespace quorum::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kLlamaCppMaxExperts = 512;  // LLAMA_MAX_EXPERTS

struct Flags {
  std::string src;
  std::string dst;
  quant::UpcycleOptions options;
  bool carve = false, json = false;
  double shared = 0.25;
  std::vector<std::string> texts;
  std::int64_t tokens = 2048;
};

constexpr int kMostExperts = 1024;

/// Losses of all texts, one after the other.
Result<std::vector<float>> LossesOf(const std::string& name, engine::Model& model,
                                    const std::vector<engine::TopicText>& texts, std::int32_t window) {
  std::vector<float> all;
  for (const engine::TopicText& text : texts) {
    const auto losses = engine::TextLosses(model, text.tokens, {.window = window});
    if (!losses.ok()) return InModel(name, losses.error());
    all.insert(all.end(), losses->begin(), losses->end());
  }
  return all;
}

std::string Millions(std::int64_t n) { return fmt::format("{:.1f} M", static_cast<double>(n) * 1e-6); }

// CLI11 lets "-1" wrap round and cuts numbers that are too large, without a word.
std::string IsSeed(const std::string& text) {
  std::uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  return error == std::errc() && end == text.data() + text.size() ? "" : "a whole number from 0 to 2^64 - 1 is needed";
}

/// What every way of making experts tells with --json.
Json Report(const Flags& flags, const quant::UpcycleSummary& made) {
  return {{"model", flags.dst},
          {"bytes", made.bytes},
          {"architecture", made.architecture},
          {"layers", made.layers},
          {"experts", flags.options.experts},
          {"experts_per_token", flags.options.top_k},
          {"parameters", made.parameters},
          {"active_parameters", made.active_parameters},
          {"dense_parameters", made.dense_parameters}};
}

/// Splits the networks instead of copying them, and tells what that costs.
Status Carve(const Flags& flags) {
  QUORUM_ASSIGN(const quant::GgufFile file, quant::GgufFile::Open(flags.src));
  QUORUM_TRY(CheckNewModel(file, flags.dst, flags.options.replace));
  QUORUM_ASSIGN(const quant::DenseModel dense, quant::FindDenseFfns(file));
  QUORUM_TRY(quant::CheckCarvable(flags.src, dense, flags.options.experts, flags.shared));
  QUORUM_ASSIGN(const engine::LoadedTokenizer tokenizer, LoadModelTokenizer(flags.src, 0));
  QUORUM_ASSIGN(const Texts texts, ReadTexts(flags.texts, *tokenizer.tokenizer, false));
  std::vector<std::vector<float>> reach;
  for (const quant::DenseFfn& ffn : dense.layers) {
    QUORUM_ASSIGN(std::vector<float> lengths, quant::NeuronReach(*ffn.down, flags.src));
    reach.push_back(std::move(lengths));
    if (!ShowCount("layers read", std::ssize(reach), std::ssize(dense.layers))) return Interrupted();
  }
  std::vector<quant::CarvedLayer> plan;
  std::vector<float> before;
  std::vector<engine::TopicText> sample;
  std::int32_t window = 0;
  {
    QUORUM_ASSIGN(const LoadedModel loaded, LoadTextModel({}, flags.src, 0));
    window = TextWindow(0, *loaded.model);
    sample = engine::SampleWindows(texts.texts, window, flags.tokens);
    const engine::CarveRequest request{.experts = flags.options.experts, .shared = flags.shared, .window = window};
    QUORUM_ASSIGN(plan,
                  engine::PlanCarving(*loaded.model, sample, reach, request, [](std::int64_t done, std::int64_t total) {
                    return ShowCount("layers", done, total);
                  }));
    QUORUM_ASSIGN(before, LossesOf(flags.src, *loaded.model, sample, window));
  }
  QUORUM_ASSIGN(const quant::UpcycleSummary made,
                quant::Carve(flags.src, flags.dst, plan, {flags.options.top_k, flags.options.replace}, ShowBytes));
  QUORUM_ASSIGN(const LoadedModel loaded, LoadTextModel({}, flags.dst, 0));
  QUORUM_ASSIGN(const std::vector<float> after, LossesOf(flags.dst, *loaded.model, sample, window));
  const double dense_perplexity = std::exp(engine::MeanLoss(before));
  const double carved_perplexity = std::exp(engine::MeanLoss(after));
  if (flags.json) {
    Json report = Report(flags, made);
    report["neurons"] = {{"shared", plan[0].shared.size()}, {"expert", plan[0].experts[0].size()}};
    report["perplexity"] = {{"dense", dense_perplexity}, {"carved", carved_perplexity}};
    fmt::print("{}\n", report.dump(2));
    return {};
  }
  fmt::print("{}\n", flags.dst);
  fmt::print("  {} layers: {} neurons for every token, {} experts of {}, {} used a token; architecture {}\n",
             made.layers, plan[0].shared.size(), plan[0].experts.size(), plan[0].experts[0].size(), flags.options.top_k,
             made.architecture);
  fmt::print("  parameters: {}, {} active a token (dense {})\n", Millions(made.parameters),
             Millions(made.active_parameters), Millions(made.dense_parameters));
  fmt::print("  perplexity on the text: dense {:.3f}, carved {:.3f}\n", dense_perplexity, carved_perplexity);
  return {};
}

Status Run(const Flags& flags) {
  if (flags.carve) return Carve(flags);
  QUORUM_TRY(CheckOutput(flags.dst, flags.options.replace));
  QUORUM_ASSIGN(const quant::UpcycleSummary made, quant::Upcycle(flags.src, flags.dst, flags.options, ShowBytes));
  if (flags.json) {
    Json report = Report(flags, made);
    report["seed"] = flags.options.seed;
    report["noise"] = flags.options.noise;
    fmt::print("{}\n", report.dump(2));
    return {};
  }
  fmt::print("{}\n", flags.dst);
  fmt::print("  {} layers, {} experts each, {} used a token; architecture {}\n", made.layers, flags.options.experts,
             flags.options.top_k, made.architecture);
  fmt::print("  parameters: {} (dense {}), {} active a token\n", Millions(made.parameters),
             Millions(made.dense_parameters), Millions(made.active_parameters));
  fmt::print("  {}, seed {}, noise {}\n", FormatBytes(made.bytes), flags.options.seed, flags.options.noise);
  if (flags.options.experts > kLlamaCppMaxExperts) {
    fmt::print("  note: llama.cpp loads at most {} experts\n", kLlamaCppMaxExperts);
  }
  return {};
}

/// What contradicts itself, is missing or would have no effect.
void CheckUsage(const CLI::App& command, const Flags& flags) {
  if (flags.options.top_k > flags.options.experts) {
    throw CLI::ValidationError("--top-k", fmt::format("a token cannot use {} of {} experts (--experts)",
                                                      flags.options.top_k, flags.options.experts));
  }
  if (!flags.carve) {
    Refuse(command, {"--text", "--shared", "--tokens"}, "has no effect without --carve");
  } else {
    if (flags.texts.empty()) throw CLI::RequiredError("--text, from which --carve sees which neurons work together,");
    Refuse(command, {"--noise", "--seed"}, "is for copies; it has no effect with --carve");
  }
}

}  // namespace

void AddUpcycle(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("upcycle", "Turn a dense GGUF model into a Mixture-of-Experts model");
  command->footer(
      "Every expert starts as a copy of the dense feed-forward network, behind a random router: sparse "
      "upcycling (Komatsuzaki et al. 2022). Without --noise the new model answers like the dense one, and the "
      "same seed gives the same file. llama.cpp and other GGUF programs load it as they load Mixtral.");
  command->add_option("SRC", flags->src, "Dense model: a GGUF file of architecture llama or qwen3")->required();
  command->add_option("DST", flags->dst, "The MoE model to write")->required();
  command->add_option("--experts", flags->options.experts, "Experts a layer")
      ->check(CLI::Range(2, kMostExperts))
      ->capture_default_str();
  command->add_option("--top-k", flags->options.top_k, "Experts that a token uses, at most as many as there are")
      ->check(CLI::Range(1, kMostExperts))
      ->capture_default_str();
  command->add_option("--seed", flags->options.seed, "Seed of the router's weights and of the noise")
      ->check(IsSeed)
      ->capture_default_str();
  command
      ->add_option("--noise", flags->options.noise,
                   "Make the experts differ: standard deviation of added noise, relative to a tensor's root mean "
                   "square")
      ->check(AtLeast(0))
      ->capture_default_str();
  command->add_flag(
      "--carve", flags->carve,
      "Split each network into experts by which neurons work together, instead of copying it (Pei et al. 2025): no "
      "parameter more but the routers', fewer used. Writes architecture granitemoe, of llama only");
  command
      ->add_option("--shared", flags->shared, "With --carve: the part of the neurons that every token uses, at least")
      ->check(CLI::Range(0.01, 0.95))
      ->capture_default_str();
  command->add_option("--text", flags->texts, "With --carve: UTF-8 texts to see neurons at work")
      ->check(CLI::ExistingFile);
  command
      ->add_option("--tokens", flags->tokens,
                   "With --carve: how much of the texts is used, whole windows from all over")
      ->check(AtLeast(1))
      ->capture_default_str();
  command->add_flag("--force", flags->options.replace, "Write over an existing file");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, command, &action] {
    CheckUsage(*command, *flags);
    action = [flags] {
      CatchInterrupts();
      return Exit(Run(*flags));
    };
  });
}

}  // namespace quorum::cli
