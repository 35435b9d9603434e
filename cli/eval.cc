// quorum eval: how well a model predicts a text, how it differs from another model, how many tasks it solves.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/eval_report.h"
#include "cli/eval_score.h"
#include "cli/eval_table.h"
#include "cli/eval_tasks.h"
#include "cli/long_work.h"
#include "cli/model_header.h"
#include "cli/output_file.h"
#include "cli/text_model.h"
#include "engine/base/mapped_file.h"

namespace quorum::cli {
namespace {

/// Logits that --save-logits kept, and the mapping that they lie in.
struct SavedLogits {
  std::optional<MappedFile> file;
  std::optional<engine::LogitReader> reader;
};

Result<SavedLogits> OpenLogits(const std::string& path) {
  SavedLogits saved;
  if (path.empty()) return saved;
  QUORUM_ASSIGN(saved.file, MappedFile::Open(path));
  auto parsed = engine::LogitReader::Parse(saved.file->bytes());
  if (!parsed.ok()) return Error{parsed.error().code, path + " " + parsed.error().message, {}, {}};
  saved.reader = *std::move(parsed);
  return saved;
}

/// Whatever the files say of themselves is judged before any model is loaded, which may take long. Settles the window.
Status CheckModels(EvalFlags& flags, const SavedLogits& saved) {
  QUORUM_ASSIGN(const engine::ModelSpec spec, ReadSpec(flags.model.path));
  if (flags.window == 0) {
    flags.window = saved.reader ? static_cast<std::int32_t>(saved.reader->header().window)
                                : std::min(kTextWindow, spec.context_length);
  }
  std::vector<std::string> choices = flags.top_k;
  if (choices.empty()) choices.emplace_back();
  std::vector<std::string> others = flags.compare;
  if (!flags.reference.empty()) others.push_back(flags.reference);
  std::vector<std::pair<std::string, engine::ModelSpec>> models = {{flags.model.Name(), spec}};
  for (const std::string& path : others) {
    QUORUM_ASSIGN(engine::ModelSpec other, ReadSpec(path));
    models.emplace_back(path, std::move(other));
  }
  for (const auto& [name, model] : models) {
    if (!model.encoder.empty()) {
      return Unsupported(name + " is an encoder-decoder: it has no perplexity of a text by itself");
    }
    if (model.vocab_size != spec.vocab_size) {
      return InvalidArgument(fmt::format("{} has a vocabulary of {} tokens, {} one of {}: they cannot be compared",
                                         name, model.vocab_size, models.front().first, spec.vocab_size));
    }
    const engine::ExpertShape shape = ExpertShapeOf(model);
    const bool asked = &model == &models.front().second ? !flags.table() || shape.most() > 0
                                                        : flags.reference.empty() && shape.most() > 0;
    for (const std::string& choice : choices) {
      QUORUM_ASSIGN(const engine::ExpertRequest request, ExpertsOf(flags, choice));
      if (asked) QUORUM_TRY(CheckExperts(name, request, shape));
    }
  }
  if (saved.reader && saved.reader->header().vocab != static_cast<std::uint32_t>(spec.vocab_size)) {
    return InvalidArgument(fmt::format("{} is of a vocabulary of {} tokens, {} has {}", flags.kl,
                                       saved.reader->header().vocab, models.front().first, spec.vocab_size));
  }
  if (flags.layers) QUORUM_TRY(engine::LayerComparison::CheckComparable(models.back().second, spec));
  return {};
}

Status EvalText(EvalFlags flags) {
  QUORUM_ASSIGN(const SavedLogits saved, OpenLogits(flags.kl));
  QUORUM_TRY(CheckModels(flags, saved));
  if (!flags.save_logits.empty()) QUORUM_TRY(CheckOutput(flags.save_logits, flags.replace));
  QUORUM_ASSIGN(const Text text, ReadText(flags));
  if (flags.table()) return CompareModels(flags, text);
  if (saved.reader && (!std::ranges::equal(saved.reader->header().tokens, text.tokens) ||
                       saved.reader->header().window != static_cast<std::uint32_t>(flags.window))) {
    return InvalidArgument(fmt::format(
        "{} is of another text, vocabulary or --ctx ({} tokens in windows of {}, here {} in windows of {})", flags.kl,
        saved.reader->header().tokens.size(), saved.reader->header().window, text.tokens.size(), flags.window));
  }
  QUORUM_ASSIGN(const engine::ExpertRequest experts, ExpertsOf(flags, flags.top_k.empty() ? "" : flags.top_k.front()));
  QUORUM_ASSIGN(Stepper stepper, Stepper::Load(flags.model, flags.window, experts));
  std::optional<Stepper> beside;
  if (!flags.reference.empty()) {
    ModelFlags reference_flags = flags.model;
    reference_flags.path = flags.reference;
    reference_flags.demo = false;
    QUORUM_ASSIGN(beside, Stepper::Load(reference_flags, flags.window, {}));
  }
  const ReferenceLogits reference{beside ? &*beside : nullptr, saved.reader ? &*saved.reader : nullptr};
  std::optional<engine::LogitWriter> writer;
  if (!flags.save_logits.empty()) {
    QUORUM_ASSIGN(writer, engine::LogitWriter::Create(flags.save_logits,
                                                      {static_cast<std::uint32_t>(flags.window),
                                                       static_cast<std::uint32_t>(stepper.vocab()), text.tokens},
                                                      flags.replace));
  }
  std::optional<engine::LayerComparison> layers;
  if (flags.layers) {
    QUORUM_ASSIGN(layers, engine::LayerComparison::Create(beside->model(), stepper.model()));
  }
  QUORUM_ASSIGN(const Scores scores,
                Score(stepper, text, reference, writer ? &*writer : nullptr, layers ? &*layers : nullptr));
  if (writer) QUORUM_TRY(writer->Finish());
  if (flags.json) {
    nlohmann::ordered_json out = ToJson(flags.model.Name(), flags, stepper, text, scores);
    if (layers) out["layers"] = ToJson(layers->Differences());
    fmt::print("{}\n", out.dump(2));
    return {};
  }
  Print(flags, text, scores);
  if (layers) Print(layers->Differences());
  return {};
}

Status Eval(EvalFlags flags) {
  if (!flags.text.empty()) return EvalText(std::move(flags));
  QUORUM_TRY(CheckModels(flags, {}));
  QUORUM_ASSIGN(const engine::ExpertRequest experts, ExpertsOf(flags, flags.top_k.empty() ? "" : flags.top_k.front()));
  return EvalTasks(flags, experts);
}

/// What contradicts itself or would have no effect.
void CheckUsage(const CLI::App& command, const EvalFlags& flags) {
  if (flags.text.empty() && flags.tasks.empty()) throw CLI::RequiredError("one of --text and --tasks");
  if (!flags.tasks.empty()) {
    Refuse(command, {"--like-llama-perplexity"}, "has no effect with --tasks");
    if (flags.table() || !flags.reference.empty() || !flags.kl.empty() || !flags.save_logits.empty()) {
      throw CLI::ValidationError("--tasks", "takes one model and one --moe-top-k, and no logits");
    }
  }
  if (flags.table() && (!flags.reference.empty() || !flags.kl.empty() || !flags.save_logits.empty())) {
    throw CLI::ValidationError(flags.compare.empty() ? "--moe-top-k" : "--compare",
                               "makes a table whose first row is the reference; it takes no --reference, --kl or "
                               "--save-logits");
  }
  if (flags.save_logits.empty()) Refuse(command, {"--force"}, "has no effect without --save-logits");
  for (const std::string& choice : flags.top_k) {
    if (const auto experts = ExpertsOf(flags, choice); !experts.ok())
      throw CLI::ParseError(experts.error().message, kUsageStatus);
  }
  if (const auto experts = ExpertsOf(flags, ""); !experts.ok())
    throw CLI::ParseError(experts.error().message, kUsageStatus);
}

}  // namespace

void AddEval(CLI::App& app, Action& action) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command = app.add_subcommand("eval", "Perplexity, differences from another model, tasks");
  command->footer(
      "The text is cut into windows of --ctx tokens that do not overlap; every token but each window's first "
      "is scored given those before it in the window. No BOS is added. Intervals are of 95 %, taking positions "
      "as independent.\nTask files are JSON lines: {\"prompt\": TEXT, \"choices\": [TEXT, ...], \"answer\": "
      "INDEX} or {\"prompt\": TEXT, \"answer\": TEXT}. Without choices the first line that is generated has "
      "to equal the answer, but for white space around both; prompts are taken as they are, without a template.");
  AddModelFlags(*command, flags->model, {.context = false});
  AddWindowFlag(*command, flags->window);
  CLI::Option* text =
      command->add_option("--text", flags->text, "A UTF-8 text file to predict; this or --tasks is needed")
          ->check(CLI::ExistingFile);
  command->add_option("--tasks", flags->tasks, "A file of tasks to solve, JSON lines (see below)")
      ->check(CLI::ExistingFile)
      ->excludes(text);
  CLI::Option* reference = command
                               ->add_option("--reference", flags->reference,
                                            "Compare with this model, which runs beside (KL divergence, top-1). --kv, "
                                            "--act, --weights and --threads are for both; --moe-top-k, "
                                            "--moe-min-weight and --mask for MODEL alone")
                               ->type_name("FILE");
  command
      ->add_option("--save-logits", flags->save_logits,
                   "Keep the logits in this file (2 bytes for each token of the vocabulary and position)")
      ->type_name("FILE");
  command->add_flag("--force", flags->replace, "Write over an existing file");
  command->add_option("--kl", flags->kl, "Compare with the logits that --save-logits kept")
      ->check(CLI::ExistingFile)
      ->excludes(reference);
  command
      ->add_option("--moe-top-k", flags->top_k,
                   "Experts a token visits, or 'all'; several, as 1,2,all, make a table, whose first row is the "
                   "others' reference")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--moe-min-weight", flags->min_weight, "Leave out experts with a smaller weight, below 1");
  command->add_option("--mask", flags->mask, "Experts to leave out: 3 or 1,2 in every layer; 0:1,2;5:7 by layer");
  command
      ->add_option(
          "--compare", flags->compare,
          "Other models, side by side with MODEL, from which KL divergence and top-1 are: size, quality, speed")
      ->type_name("FILE")
      ->delimiter(',')
      ->allow_extra_args(false);
  command
      ->add_flag("--layers", flags->layers,
                 "With --reference: how far the stream between layers is from the reference's behind each of them, and "
                 "how many tokens the router sends to other experts")
      ->needs(reference);
  command->add_flag(
      "--like-llama-perplexity", flags->like_llama,
      "Score what llama.cpp's llama-perplexity does: the second half of each whole window, with BOS first "
      "where the tokenizer adds one");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, command, &action] {
    CheckUsage(*command, *flags);
    action = [flags] {
      CatchInterrupts();
      return Exit(Eval(*flags));
    };
  });
}

}  // namespace quorum::cli
