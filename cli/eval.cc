// quorum eval: how well a model predicts a text, how it differs from another model, how many tasks it solves.
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/eval_stepper.h"
#include "cli/eval_tasks.h"
#include "cli/model_flags.h"
#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "engine/layer_comparison.h"
#include "engine/load_tokenizer.h"
#include "engine/logit_compare.h"
#include "engine/logit_file.h"

namespace quorum::cli {
namespace {

using Json = nlohmann::ordered_json;

struct EvalFlags {
  ModelFlags model;
  std::string text, tasks, reference, save_logits, kl, mask;
  std::vector<std::string> compare, top_k;
  float min_weight = 0;
  std::int32_t window = 512;
  bool json = false, like_llama = false, layers = false;
};

/// What is to be predicted.
struct Text {
  std::vector<tok::TokenId> tokens;
  std::int32_t window = 0;
  std::size_t skip = 0;  // rows of a window that are not scored
};

struct Scores {
  std::vector<double> losses;
  std::optional<engine::LogitReport> difference;
  double seconds = 0;  // in the model itself
};

/// Where the reference's logits come from: a model that runs beside, or a file.
struct ReferenceLogits {
  Stepper* model = nullptr;
  const engine::LogitReader* file = nullptr;
  std::int64_t next = 0;  // row of the file

  bool any() const { return model != nullptr || file != nullptr; }
  Status Rows(std::span<const tok::TokenId> window, std::size_t first, std::size_t rows, std::size_t vocab,
              std::span<float> out) {
    if (model != nullptr) return model->Step(window, first, rows, false, out);
    for (std::size_t i = 0; i < rows; ++i) file->Row(next++, out.subspan(i * vocab, vocab));
    return {};
  }
};

/// What llama-perplexity scores: the second half of each whole window, whose first token is BOS where the model has
/// one.
Result<Text> LikeLlamaPerplexity(const EvalFlags& flags, const tok::Tokenizer& tokenizer, Text text) {
  QUORUM_ASSIGN(const std::vector<tok::TokenId> trial, tokenizer.Encode("a", {.add_special = true}));
  const bool bos = tokenizer.bos() && !trial.empty() && trial.front() == *tokenizer.bos();
  if (bos) text.tokens.insert(text.tokens.begin(), *tokenizer.bos());
  const auto window = static_cast<std::size_t>(text.window);
  text.tokens.resize(text.tokens.size() / window * window);
  if (text.tokens.empty()) {
    return InvalidArgument(fmt::format("{} has fewer tokens than a window of {}", flags.text, window));
  }
  for (std::size_t at = 0; bos && at < text.tokens.size(); at += window) text.tokens[at] = *tokenizer.bos();
  text.skip = window / 2;
  return text;
}

Result<Text> ReadText(const EvalFlags& flags) {
  QUORUM_ASSIGN(const MappedFile text, MappedFile::Open(flags.text));
  QUORUM_ASSIGN(const engine::LoadedTokenizer loaded, LoadModelTokenizer(flags.model.path, 0));
  const std::string_view bytes(reinterpret_cast<const char*>(text.bytes().data()), text.bytes().size());
  std::int64_t lost = 0;
  Text out{.tokens = {}, .window = flags.window};
  QUORUM_ASSIGN(out.tokens, loaded.tokenizer->Encode(bytes, {.bytes_without_token = &lost}));
  if (lost > 0)
    Log(LogLevel::kWarn, "{}: {} bytes have no token in this vocabulary and are left out", flags.text, lost);
  if (out.tokens.size() < 2) return InvalidArgument(flags.text + " has fewer than two tokens");
  return flags.like_llama ? LikeLlamaPerplexity(flags, *loaded.tokenizer, std::move(out)) : std::move(out);
}

/// Every token but each window's first is predicted from those before it in the window.
/// With `layers`, of the two models, these are compared too.
Result<Scores> Score(Stepper& stepper, const Text& text, ReferenceLogits reference, engine::LogitWriter* save,
                     engine::LayerComparison* layers = nullptr) {
  const std::size_t vocab = stepper.vocab();
  std::vector<float> logits(kScoredRows * vocab);
  std::vector<float> other(reference.any() ? logits.size() : 0);
  Scores scores;
  std::vector<engine::PositionDifference> differences;
  std::vector<double> reference_losses;
  const std::span<const tok::TokenId> all(text.tokens);
  for (std::size_t start = 0; start + 1 < all.size(); start += static_cast<std::size_t>(text.window)) {
    const auto window = all.subspan(start, std::min(static_cast<std::size_t>(text.window), all.size() - start));
    for (std::size_t first = 0; first + 1 < window.size(); first += kScoredRows) {
      const std::size_t rows = std::min<std::size_t>(kScoredRows, window.size() - 1 - first);
      const auto begin = std::chrono::steady_clock::now();
      QUORUM_TRY(stepper.Step(window, first, rows, false, logits));
      scores.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (reference.any()) QUORUM_TRY(reference.Rows(window, first, rows, vocab, other));
      if (layers != nullptr) layers->Compare();
      const std::size_t skipped = first >= text.skip ? 0 : std::min(rows, text.skip - first);
      const std::size_t at = scores.losses.size();
      scores.losses.resize(at + rows - skipped);
      if (reference.any()) {
        differences.resize(scores.losses.size());
        reference_losses.resize(scores.losses.size());
      }
      stepper.pool().ParallelFor(static_cast<std::int64_t>(rows - skipped), [&](std::int64_t task, int) {
        const std::size_t to = at + static_cast<std::size_t>(task);
        const std::size_t i = skipped + static_cast<std::size_t>(task);
        const auto token = static_cast<std::size_t>(window[first + i + 1]);
        const std::span<const float> row = std::span(logits).subspan(i * vocab, vocab);
        scores.losses[to] = engine::LogSumExp(row) - static_cast<double>(row[token]);
        if (!reference.any()) return;
        const std::span<const float> wanted = std::span(other).subspan(i * vocab, vocab);
        differences[to] = engine::Compare(wanted, row);
        reference_losses[to] = engine::LogSumExp(wanted) - static_cast<double>(wanted[token]);
      });
      for (std::size_t i = 0; save != nullptr && i < rows; ++i) {
        QUORUM_TRY(save->Add(std::span(logits).subspan(i * vocab, vocab)));
      }
    }
  }
  if (reference.any()) scores.difference = engine::Summarize(differences, scores.losses, reference_losses);
  return scores;
}

/// Decoded tokens a second, after a short prompt.
Result<double> DecodeSpeed(Stepper& stepper, const Text& text) {
  const std::size_t most = std::min<std::size_t>(text.tokens.size(), static_cast<std::size_t>(text.window));
  const std::size_t prompt = std::min<std::size_t>(16, most / 2);
  const std::size_t count = std::min<std::size_t>(48, most - prompt);
  if (prompt == 0 || count == 0) return 0.0;
  std::vector<float> logits(stepper.vocab());
  QUORUM_TRY(stepper.Step(text.tokens, 0, prompt, true, logits));
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < count; ++i) QUORUM_TRY(stepper.Step(text.tokens, prompt + i, 1, true, logits));
  return static_cast<double>(count) / std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

Json ToJson(const engine::LogitReport& report) {
  return {{"positions", report.positions},
          {"kl_mean", report.kl.mean},
          {"kl_mean_ci95", report.kl.half_width},
          {"kl_median", report.kl_median},
          {"kl_p99", report.kl_p99},
          {"kl_max", report.kl_max},
          {"top1_agreement", report.same_top},
          {"top1_agreement_ci95", report.same_top_half_width},
          {"nll_difference", report.loss_difference.mean},
          {"nll_difference_ci95", report.loss_difference.half_width}};
}

Json ToJson(const EvalFlags& flags, Stepper& stepper, const Text& text, const Scores& scores) {
  const engine::MeanInterval loss = engine::MeanOf(scores.losses);
  const double perplexity = std::exp(loss.mean);
  Json out = {{"model", flags.model.path},
              {"text", flags.text},
              {"ctx", flags.window},
              {"tokens", text.tokens.size()},
              {"scored", scores.losses.size()},
              {"perplexity", perplexity},
              {"perplexity_stderr", perplexity * loss.half_width / 1.96},
              {"perplexity_ci95", perplexity * loss.half_width},
              {"mean_nll", loss.mean},
              {"kernels", stepper.model().kernels().name},
              {"kv", KvName(stepper.model())},
              {"act", ActivationsName(stepper.model())}};
  if (scores.difference) out["difference"] = ToJson(*scores.difference);
  return out;
}

Json ToJson(const std::vector<engine::LayerDifference>& layers) {
  Json rows = Json::array();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Json row = {{"layer", i}, {"error", layers[i].error}};
    if (layers[i].other_experts) row["other_experts"] = *layers[i].other_experts;
    rows.push_back(std::move(row));
  }
  return rows;
}

void Print(const std::vector<engine::LayerDifference>& layers) {
  const bool routed = std::any_of(layers.begin(), layers.end(),
                                  [](const engine::LayerDifference& layer) { return layer.other_experts.has_value(); });
  fmt::print("layer  relative error of the stream behind it{}\n", routed ? "  tokens sent to other experts" : "");
  for (std::size_t i = 0; i < layers.size(); ++i) {
    fmt::print("{:5}  {:35.6f}", i, layers[i].error);
    if (layers[i].other_experts) fmt::print("  {:26.2f} %", 100 * *layers[i].other_experts);
    fmt::print("\n");
  }
}

void Print(const Text& text, const Scores& scores) {
  const engine::MeanInterval loss = engine::MeanOf(scores.losses);
  const double perplexity = std::exp(loss.mean);
  fmt::print("perplexity {:.4f} ± {:.4f} (95 %)   ({} of {} tokens scored, windows of {})\n", perplexity,
             perplexity * loss.half_width, scores.losses.size(), text.tokens.size(), text.window);
  if (!scores.difference) return;
  const engine::LogitReport& d = *scores.difference;
  fmt::print("KL divergence from the reference: mean {:.6f} ± {:.6f}, median {:.6f}, p99 {:.5f}, max {:.4f} nats\n",
             d.kl.mean, d.kl.half_width, d.kl_median, d.kl_p99, d.kl_max);
  fmt::print("same most likely token: {:.2f} ± {:.2f} %\n", 100 * d.same_top, 100 * d.same_top_half_width);
  fmt::print("perplexity / reference's: {:.5f} (95 %: {:.5f} to {:.5f})\n", std::exp(d.loss_difference.mean),
             std::exp(d.loss_difference.mean - d.loss_difference.half_width),
             std::exp(d.loss_difference.mean + d.loss_difference.half_width));
}

Result<engine::ExpertRequest> Experts(const EvalFlags& flags, const std::string& top_k) {
  engine::ExpertRequest request;
  request.min_weight = flags.min_weight;
  if (top_k == "all") {
    request.dense = true;
  } else if (!top_k.empty()) {
    char* end = nullptr;
    const long value = std::strtol(top_k.c_str(), &end, 10);
    if (*end != '\0' || value < 1 || value > (1 << 20))
      return InvalidArgument("--moe-top-k: '" + top_k + "' is neither a number nor 'all'");
    request.top_k = static_cast<std::int32_t>(value);
  }
  QUORUM_TRY(ParseMask(flags.mask, request));
  return request;
}

/// A file in the temporary folder that goes when its owner does.
class TemporaryPath {
 public:
  TemporaryPath() {
    std::FILE* file = nullptr;
    path_ = "/tmp/quorum-eval-XXXXXX";
    const int fd = ::mkstemp(path_.data());
    if (fd >= 0) file = ::fdopen(fd, "wb");
    if (file != nullptr) std::fclose(file);
  }
  TemporaryPath(const TemporaryPath&) = delete;
  TemporaryPath& operator=(const TemporaryPath&) = delete;
  ~TemporaryPath() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Models and numbers of experts side by side; differences are from the first.
Status Compare(const EvalFlags& flags, const Text& text) {
  std::vector<std::string> paths = {flags.model.path};
  paths.insert(paths.end(), flags.compare.begin(), flags.compare.end());
  const std::vector<std::string> choices = flags.top_k.empty() ? std::vector<std::string>{""} : flags.top_k;
  const TemporaryPath logits_path;
  std::optional<MappedFile> logits_file;
  std::optional<engine::LogitReader> logits;
  Json rows = Json::array();
  if (!flags.json) {
    fmt::print("{:36} {:>7} {:>10} {:>20} {:>10} {:>8} {:>10} {:>10}\n", "model", "experts", "MB", "perplexity", "KL",
               "top-1 %", "prefill/s", "decode/s");
  }
  for (const std::string& path : paths) {
    ModelFlags model_flags = flags.model;
    model_flags.path = path;
    QUORUM_ASSIGN(Stepper stepper, Stepper::Load(model_flags, flags.window, {}));
    const engine::ExpertShape shape = stepper.model().experts();
    for (const std::string& choice : choices) {
      if (shape.most() == 0 && choice != choices.front()) continue;  // dense: one row
      if (shape.most() > 0) {
        QUORUM_ASSIGN(const engine::ExpertRequest request, Experts(flags, choice));
        QUORUM_TRY(stepper.Choose(request));
      }
      const bool first = !logits;
      std::optional<engine::LogitWriter> writer;
      if (first) {
        QUORUM_ASSIGN(writer, engine::LogitWriter::Create(logits_path.path(),
                                                          {static_cast<std::uint32_t>(text.window),
                                                           static_cast<std::uint32_t>(stepper.vocab()), text.tokens}));
      } else if (logits->header().vocab != stepper.vocab()) {
        return InvalidArgument(path + " has another vocabulary than " + paths.front());
      }
      ReferenceLogits reference;
      if (!first) reference.file = &*logits;
      QUORUM_ASSIGN(const Scores scores, Score(stepper, text, reference, writer ? &*writer : nullptr));
      QUORUM_ASSIGN(const double decode, DecodeSpeed(stepper, text));
      if (first) {
        QUORUM_TRY(writer->Finish());
        QUORUM_ASSIGN(logits_file, MappedFile::Open(logits_path.path()));
        QUORUM_ASSIGN(logits, engine::LogitReader::Parse(logits_file->bytes()));
      }
      const std::string experts = shape.most() == 0 ? "dense"
                                  : choice == "all" ? std::to_string(shape.most())
                                  : choice.empty()  ? std::to_string(shape.top_k)
                                                    : choice;
      const double prefill = static_cast<double>(scores.losses.size()) / scores.seconds;
      const auto bytes = static_cast<double>(stepper.model().memory().weights);
      if (flags.json) {
        EvalFlags own = flags;
        own.model.path = path;
        Json row = ToJson(own, stepper, text, scores);
        row["experts"] = experts;
        row["weight_bytes"] = stepper.model().memory().weights;
        row["prefill_tokens_per_second"] = prefill;
        row["decode_tokens_per_second"] = decode;
        rows.push_back(std::move(row));
        continue;
      }
      const engine::MeanInterval loss = engine::MeanOf(scores.losses);
      const std::string name = path.size() > 36 ? "..." + path.substr(path.size() - 33) : path;
      fmt::print("{:36} {:>7} {:10.1f} {:>11.4f} ± {:<6.4f} {:>10} {:>8} {:10.1f} {:10.1f}\n", name, experts,
                 bytes * 1e-6, std::exp(loss.mean), std::exp(loss.mean) * loss.half_width,
                 scores.difference ? fmt::format("{:.6f}", scores.difference->kl.mean) : "",
                 scores.difference ? fmt::format("{:.2f}", 100 * scores.difference->same_top) : "", prefill, decode);
      std::fflush(stdout);
    }
  }
  if (flags.json) fmt::print("{}\n", rows.dump(2));
  return {};
}

Status EvalText(const EvalFlags& flags) {
  QUORUM_ASSIGN(Text text, ReadText(flags));
  if (!flags.compare.empty() || flags.top_k.size() > 1) {
    if (!flags.reference.empty() || !flags.kl.empty() || !flags.save_logits.empty()) {
      return InvalidArgument("a table of models or experts has its first row for reference, and keeps no logits");
    }
    return Compare(flags, text);
  }

  std::optional<MappedFile> logits_file;
  std::optional<engine::LogitReader> logits;
  if (!flags.kl.empty()) {
    QUORUM_ASSIGN(logits_file, MappedFile::Open(flags.kl));
    auto parsed = engine::LogitReader::Parse(logits_file->bytes());
    if (!parsed.ok()) return Error{parsed.error().code, flags.kl + " " + parsed.error().message, {}, {}};
    logits = *std::move(parsed);
    if (!std::ranges::equal(logits->header().tokens, text.tokens) ||
        logits->header().window != static_cast<std::uint32_t>(flags.window)) {
      return InvalidArgument(fmt::format(
          "{} is of another text, vocabulary or --ctx ({} tokens in windows of {}, here {} in windows of {})", flags.kl,
          logits->header().tokens.size(), logits->header().window, text.tokens.size(), flags.window));
    }
  }
  QUORUM_ASSIGN(const engine::ExpertRequest experts, Experts(flags, flags.top_k.empty() ? "" : flags.top_k.front()));
  QUORUM_ASSIGN(Stepper stepper, Stepper::Load(flags.model, flags.window, experts));
  std::optional<Stepper> beside;
  if (!flags.reference.empty()) {
    ModelFlags reference_flags = flags.model;
    reference_flags.path = flags.reference;
    QUORUM_ASSIGN(beside, Stepper::Load(reference_flags, flags.window, {}));
  }
  ReferenceLogits reference{beside ? &*beside : nullptr, logits ? &*logits : nullptr};
  const std::size_t other_vocab = beside ? beside->vocab() : (logits ? logits->header().vocab : stepper.vocab());
  if (other_vocab != stepper.vocab()) {
    return InvalidArgument(fmt::format("the reference has a vocabulary of {}, {} one of {}", other_vocab,
                                       flags.model.path, stepper.vocab()));
  }
  std::optional<engine::LogitWriter> writer;
  if (!flags.save_logits.empty()) {
    QUORUM_ASSIGN(writer, engine::LogitWriter::Create(flags.save_logits,
                                                      {static_cast<std::uint32_t>(flags.window),
                                                       static_cast<std::uint32_t>(stepper.vocab()), text.tokens}));
  }
  std::optional<engine::LayerComparison> layers;
  if (flags.layers) {
    QUORUM_ASSIGN(layers, engine::LayerComparison::Create(beside->model(), stepper.model()));
  }
  QUORUM_ASSIGN(const Scores scores,
                Score(stepper, text, reference, writer ? &*writer : nullptr, layers ? &*layers : nullptr));
  if (writer) QUORUM_TRY(writer->Finish());
  if (flags.json) {
    Json out = ToJson(flags, stepper, text, scores);
    if (layers) out["layers"] = ToJson(layers->Differences());
    fmt::print("{}\n", out.dump(2));
    return {};
  }
  Print(text, scores);
  if (layers) Print(layers->Differences());
  return {};
}

Status Eval(const EvalFlags& flags) {
  if (flags.text.empty() == flags.tasks.empty()) return InvalidArgument("one of --text and --tasks is needed");
  if (!flags.text.empty()) return EvalText(flags);
  if (flags.top_k.size() > 1 || !flags.compare.empty() || !flags.reference.empty() || !flags.kl.empty() ||
      !flags.save_logits.empty()) {
    return InvalidArgument("--tasks takes one model and one --moe-top-k, and no logits");
  }
  QUORUM_ASSIGN(const engine::ExpertRequest experts, Experts(flags, flags.top_k.empty() ? "" : flags.top_k.front()));
  return EvalTasks(flags.model, flags.tasks, flags.window, experts, flags.json);
}

}  // namespace

void AddEval(CLI::App& app, Action& action) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command = app.add_subcommand("eval", "Perplexity, differences from another model, tasks");
  command->footer(
      "The text is cut into windows of --ctx tokens that do not overlap; every token but each window's first is\n"
      "scored given those before it in the window. No BOS is added. Intervals are of 95 %, taking positions as "
      "independent.\n"
      "Task files are JSON lines: {\"prompt\": TEXT, \"choices\": [TEXT, ...], \"answer\": INDEX} or {\"prompt\": "
      "TEXT, \"answer\": TEXT}.");
  AddModelFlags(*command, flags->model);
  command->remove_option(command->get_option("--ctx"));
  command->add_option("--ctx", flags->window, "Tokens in a window")
      ->envname("QUORUM_EVAL_CTX")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  CLI::Option* text = command->add_option("--text", flags->text, "A UTF-8 text file")
                          ->envname("QUORUM_EVAL_TEXT")
                          ->check(CLI::ExistingFile);
  command->add_option("--tasks", flags->tasks, "A file of tasks, JSON lines")
      ->envname("QUORUM_EVAL_TASKS")
      ->check(CLI::ExistingFile)
      ->excludes(text);
  CLI::Option* reference = command->add_option("--reference", flags->reference,
                                               "Compare with this model, which runs beside (KL divergence, top-1)");
  command->add_option("--save-logits", flags->save_logits,
                      "Keep the logits in this file (2 bytes for each token of the vocabulary and position)");
  command->add_option("--kl", flags->kl, "Compare with the logits that --save-logits kept")
      ->check(CLI::ExistingFile)
      ->excludes(reference);
  command
      ->add_option("--moe-top-k", flags->top_k, "Experts a token visits, or 'all'; several, as 1,2,all, make a table")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--moe-min-weight", flags->min_weight, "Leave out experts with a smaller weight")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--mask", flags->mask, "Experts to leave out: 3 or 1,2 in every layer; 0:1,2;5:7 by layer");
  command->add_option("--compare", flags->compare, "Other models, side by side with MODEL: size, quality, speed")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      ->add_flag("--layers", flags->layers,
                 "With --reference: how far the stream between layers is from the reference's behind each of them, and "
                 "how many tokens the router sends to other experts")
      ->envname("QUORUM_EVAL_LAYERS")
      ->needs(reference);
  command
      ->add_flag("--like-llama-perplexity", flags->like_llama,
                 "Score what llama.cpp's llama-perplexity does: the second half of each whole window, with BOS first "
                 "where the model has one")
      ->envname("QUORUM_EVAL_LIKE_LLAMA_PERPLEXITY");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, &action] {
    action = [flags] {
      const Status status = Eval(*flags);
      return status.ok() ? 0 : Fail(status.error());
    };
  });
}

}  // namespace quorum::cli
