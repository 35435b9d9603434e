// quorum add: dense relatives of a model become experts of it.
#include "quant/add_experts.h"

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

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
#include "engine/domain_router.h"
#include "engine/text_run.h"
#include "quant/dense_ffn.h"

namespace quorum::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  ModelFlags model;  // path: the source
  std::string dst, base_text;
  std::vector<std::string> experts, texts;
  int top_k = 0;
  std::int32_t window = 0;
  bool replace = false, json = false;
};

/// By layer the router of the model; empty for a dense one.
Result<std::vector<std::vector<float>>> Routers(const std::string& path, std::size_t layers) {
  QUORUM_ASSIGN(const quant::GgufFile file, quant::GgufFile::Open(path));
  std::vector<std::vector<float>> routers;
  for (std::size_t i = 0; i < layers; ++i) {
    const quant::GgufTensor* router =
        file.FindTensor(quant::LayerName(static_cast<std::int64_t>(i), "ffn_gate_inp.weight"));
    if (router == nullptr) break;
    QUORUM_ASSIGN(std::vector<float> rows, quant::TensorFloats(*router, path));
    routers.push_back(std::move(rows));
  }
  if (!routers.empty() && routers.size() != layers) return Unsupported(path + ": only some layers have experts");
  return routers;
}

/// Perplexity of each domain's text.
Result<std::vector<double>> Perplexities(const std::string& name, engine::Model& model, const Texts& texts,
                                         std::int32_t window) {
  std::vector<double> all;
  for (const engine::TopicText& text : texts.texts) {
    const auto losses = engine::TextLosses(model, text.tokens, {.window = window});
    if (!losses.ok()) return InModel(name, losses.error());
    all.push_back(std::exp(engine::MeanLoss(*losses)));
  }
  return all;
}

/// The share of each domain's visits that go to its own expert.
Result<std::vector<double>> OwnShares(engine::Model& model, const Texts& texts, std::int32_t window,
                                      std::int32_t first_expert) {
  engine::ExpertInsight insight(model.experts(), static_cast<std::int32_t>(texts.topics.size()));
  QUORUM_TRY(engine::RouteTexts(model, texts.texts, window, nullptr, [&](const engine::RoutedToken& token) -> Status {
    insight.Add(token);
    return {};
  }));
  std::vector<double> shares;
  for (std::int32_t domain = 0; domain < std::ssize(texts.topics); ++domain) {
    double own = 0, layers = 0;
    for (std::int32_t layer = 0; layer < std::ssize(insight.shape().experts); ++layer) {
      if (insight.shape().experts[static_cast<std::size_t>(layer)] == 0) continue;
      own += static_cast<double>(insight.OfTopic(domain, layer, first_expert + domain));
      ++layers;
    }
    shares.push_back(own / (layers * static_cast<double>(insight.topics()[static_cast<std::size_t>(domain)].tokens)));
  }
  return shares;
}

Status Add(const Flags& flags) {
  quant::AddPlan plan{flags.experts, {}, flags.top_k, flags.replace};
  QUORUM_TRY(quant::CheckAddExperts(flags.model.path, flags.dst, plan));
  QUORUM_TRY(CheckOutput(flags.dst, flags.replace));
  std::vector<std::string> paths = {flags.base_text};
  paths.insert(paths.end(), flags.texts.begin(), flags.texts.end());
  QUORUM_ASSIGN(const engine::LoadedTokenizer tokenizer, LoadModelTokenizer(flags.model.path, 0));
  QUORUM_ASSIGN(const Texts texts, ReadTexts(paths, *tokenizer.tokenizer, false));
  std::vector<double> before;
  std::int32_t window = 0, first = 0;  // the expert of domain 0
  {
    QUORUM_ASSIGN(const LoadedModel loaded, LoadTextModel(flags.model, flags.model.path, flags.window));
    engine::Model& model = *loaded.model;
    window = TextWindow(flags.window, model);
    QUORUM_ASSIGN(const auto routers, Routers(flags.model.path, model.spec().layers.size()));
    QUORUM_ASSIGN(const std::vector<engine::DomainView> views,
                  engine::ViewDomains(model, texts.texts, window, routers));
    for (const engine::DomainView& view : views) plan.router.push_back(engine::DomainRows(view, routers.empty()));
    first = routers.empty() ? 0 : model.experts().most() - 1;
    QUORUM_ASSIGN(before, Perplexities(flags.model.path, model, texts, window));
  }
  QUORUM_ASSIGN(const quant::UpcycleSummary made, quant::AddExperts(flags.model.path, flags.dst, plan, ShowBytes));
  std::vector<double> alone = {before.front()};  // each expert's own model on its own text
  for (std::size_t i = 0; i < flags.experts.size(); ++i) {
    QUORUM_ASSIGN(const LoadedModel loaded, LoadTextModel(flags.model, flags.experts[i], window));
    QUORUM_ASSIGN(const std::vector<float> losses,
                  engine::TextLosses(*loaded.model, texts.texts[i + 1].tokens, {.window = window}));
    alone.push_back(std::exp(engine::MeanLoss(losses)));
  }
  QUORUM_ASSIGN(const LoadedModel loaded, LoadTextModel(flags.model, flags.dst, window));
  QUORUM_ASSIGN(const std::vector<double> after, Perplexities(flags.dst, *loaded.model, texts, window));
  QUORUM_ASSIGN(const std::vector<double> shares, OwnShares(*loaded.model, texts, window, first));
  const engine::ExpertShape shape = loaded.model->experts();
  if (flags.json) {
    Json domains = Json::array();
    for (std::size_t i = 0; i < texts.topics.size(); ++i) {
      Json domain = {{"text", texts.topics[i]},
                     {"perplexity_before", before[i]},
                     {"perplexity_of_its_model", alone[i]},
                     {"perplexity", after[i]}};
      if (i > 0 || first == 0) domain["expert"] = first + static_cast<std::int32_t>(i);
      if (i > 0 || first == 0) domain["tokens_to_it"] = shares[i];
      domains.push_back(std::move(domain));
    }
    fmt::print("{}\n", Json({{"model", flags.dst},
                             {"experts", shape.most()},
                             {"experts_per_token", shape.top_k},
                             {"bytes", made.bytes},
                             {"requantized", made.requantized},
                             {"domains", std::move(domains)}})
                           .dump(2));
    return {};
  }
  fmt::print("{}\n  {} layers, {} experts each, {} used a token; {:.1f} M parameters, {}\n", flags.dst, made.layers,
             shape.most(), shape.top_k, static_cast<double>(made.parameters) * 1e-6, FormatBytes(made.bytes));
  if (made.requantized > 0) {
    fmt::print("  {} matrices of the added experts were quantized anew, to the types of {}'s\n", made.requantized,
               flags.model.path);
  }
  fmt::print("  text                       perplexity: before   its model      now   tokens that visit its expert\n");
  for (std::size_t i = 0; i < texts.topics.size(); ++i) {
    const bool has_expert = i > 0 || first == 0;
    fmt::print("  {:32} {:12.4f} {:11.4f} {:8.4f}   {}\n", texts.topics[i], before[i], alone[i], after[i],
               has_expert ? fmt::format("{:.1f} %", 100 * shares[i]) : "-");
  }
  return {};
}

}  // namespace

void AddAdd(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("add", "Make experts of dense models that grew out of one base");
  command->footer(
      "Branch, train, mix (Sukhbaatar et al. 2024) without the last training: the feed-forward networks of "
      "each --expert join those of MODEL, dense or with experts; attention and all else stay MODEL's. The "
      "router's new rows come from what the layers read of the texts. At the end each text's perplexity is "
      "compared with MODEL's and with that of the expert's own model.");
  AddModelFlags(
      *command, flags->model,
      {.model = "The base: a GGUF file of architecture llama, qwen3 or qwen3moe", .named = true, .context = false});
  command->add_option("DST", flags->dst, "The model to write")->required();
  command->add_option("--expert", flags->experts, "A dense GGUF model of the same shape; may be given often")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--text", flags->texts, "What that expert is for: a UTF-8 text each, in the same order")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--base-text", flags->base_text, "What MODEL's own experts are for: a UTF-8 text")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--top-k", flags->top_k, "Experts that a token uses; 0: as MODEL has it, 2 for a dense one")
      ->check(CLI::Range(0, 1024));
  AddWindowFlag(*command, flags->window);
  command->add_flag("--force", flags->replace, "Write over an existing file");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, &action] {
    if (flags->experts.size() != flags->texts.size()) {
      throw CLI::ParseError(
          fmt::format("{} --expert and {} --text: each expert needs a text of what it is for, in the same order",
                      flags->experts.size(), flags->texts.size()),
          kUsageStatus);
    }
    action = [flags] {
      CatchInterrupts();
      return Exit(Add(*flags));
    };
  });
}

}  // namespace quorum::cli
