// quorum quantize: a model's weights become smaller, in a file that every GGUF program reads.
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/calibrate.h"
#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/long_work.h"
#include "cli/output_file.h"
#include "cli/quantize_budget.h"
#include "cli/quantize_report.h"
#include "cli/quantize_source.h"
#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "quant/equalize.h"
#include "quant/imatrix.h"
#include "quant/quantize_model.h"

namespace quorum::cli {
namespace {

/// The importance matrix of --imatrix or --calibrate; empty without.
Result<std::optional<quant::ImportanceMatrix>> Importance(const QuantizeFlags& flags,
                                                          const std::vector<quant::SourceTensor>& sources) {
  std::optional<quant::ImportanceMatrix> matrix;
  if (!flags.imatrix.empty()) {
    QUORUM_ASSIGN(matrix, quant::ImportanceMatrix::Open(flags.imatrix));
    const auto unknown = quant::CheckImportance(*matrix, sources);
    if (!unknown.ok()) return InvalidArgument(flags.imatrix + ": " + unknown.error().message);
    if (!unknown->empty()) {
      Log(LogLevel::kWarn, "{}: {} of {} entries name no tensor of the model, such as {}", flags.imatrix,
          unknown->size(), matrix->entries.size(), unknown->front());
    }
  } else if (!flags.calibrate.empty()) {
    QUORUM_ASSIGN(matrix, Calibrate(flags.src, flags.calibrate, flags.thread_count(), sources));
  }
  if (!flags.save_imatrix.empty()) QUORUM_TRY(matrix->Write(flags.save_imatrix, flags.replace));
  return matrix;
}

Status Quantize(const QuantizeFlags& flags) {
  quant::QuantizeOptions options;
  options.plan.base = *quant::FindEncoding(flags.type);
  options.plan.pure = flags.pure;
  options.threads = flags.thread_count();
  options.replace = flags.replace;
  options.requantize = flags.requantize;
  options.measure = flags.measure;
  options.verify = flags.verify;
  if (!flags.plan.empty()) {
    QUORUM_ASSIGN(const MappedFile file, MappedFile::Open(flags.plan));
    const auto rules = quant::ParsePlan({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
    if (!rules.ok()) return InvalidArgument(flags.plan + ": " + rules.error().message);
    options.plan.rules = *rules;
  }
  options.note = [](const std::string& line) { Log(LogLevel::kWarn, "{}", line); };
  const bool matrix_only = flags.dst.empty() && !flags.dry_run;
  QUORUM_ASSIGN(QuantizeSource source, QuantizeSource::Open(flags.src));
  std::error_code unused;
  if (std::filesystem::equivalent(flags.src, flags.dst, unused))
    return InvalidArgument("SRC and DST are the same file");
  std::vector<quant::SourceTensor>& sources = source.tensors();
  // What is wrong is said before long work.
  if (!flags.dst.empty() && !flags.dry_run) QUORUM_TRY(CheckOutput(flags.dst, flags.replace));
  if (!flags.save_imatrix.empty()) QUORUM_TRY(CheckOutput(flags.save_imatrix, flags.replace));
  if (const auto choices = quant::ChooseTypes(sources, options); !matrix_only && !choices.ok()) return choices.error();
  QUORUM_ASSIGN(std::optional<quant::ImportanceMatrix> importance, Importance(flags, sources));
  if (importance) options.importance = &*importance;
  if (matrix_only) {
    WarnUnknown(*importance, importance->Unvisited());
    PrintMatrix(flags, *importance);
    return {};
  }
  quant::GgufWriter writer;
  QUORUM_TRY(source.Describe(writer));
  if (flags.equalize) {
    QUORUM_ASSIGN(const quant::EqualizeShape shape, source.Shape());
    const quant::EqualizeOptions how{options.plan, options.threads, [](std::int64_t done, std::int64_t layers) {
                                       return ShowCount("evening channels: layers", done, layers);
                                     }};
    QUORUM_ASSIGN(const std::int64_t equalized, quant::Equalize(shape, how, sources, *importance));
    if (equalized > 0) writer.SetUint32("quorum.quantize.equalized", static_cast<std::uint32_t>(equalized));
  }
  if (flags.target()) QUORUM_TRY(SpendBudget(flags, sources, writer, options));
  if (flags.dry_run) return DryRun(flags, sources, options);
  const auto start = std::chrono::steady_clock::now();
  QUORUM_ASSIGN(const auto report, quant::QuantizeTensors(writer, sources, options, flags.dst, ShowBytes));
  if (const Status same = source.Check(flags.dst); !same.ok()) {
    std::filesystem::remove(flags.dst, unused);
    return same;
  }
  Warn(report);
  if (importance) WarnUnknown(*importance, report.no_importance);
  Print(flags, report, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return {};
}

std::string IsEncoding(const std::string& name) {
  return quant::FindEncoding(name) ? "" : "'" + name + "' is no type; there are " + quant::EncodingNames();
}

/// What contradicts itself, is missing or would have no effect.
void CheckUsage(const CLI::App& command, const QuantizeFlags& flags) {
  if (flags.dst.empty() && !flags.dry_run) {
    if (flags.save_imatrix.empty()) throw CLI::RequiredError("DST");
    Refuse(command,
           {"--type", "--plan", "--target-bpw", "--target-size", "--equalize", "--pure", "--requantize", "--measure",
            "--verify"},
           "has no effect without DST");
  }
  if (flags.equalize && flags.imatrix.empty() && flags.calibrate.empty()) {
    throw CLI::RequiredError("--calibrate or --imatrix, from which --equalize knows the channels,");
  }
  if (flags.target()) {
    Refuse(command, {"--type", "--pure"}, "has no effect with --target-bpw or --target-size, which choose the types");
  } else {
    Refuse(command, {"--target-types", "--by-expert"}, "has no effect without --target-bpw or --target-size");
  }
  if (flags.dry_run) Refuse(command, {"--measure", "--verify"}, "has no effect with --dry-run, which writes nothing");
}

}  // namespace

void AddQuantize(CLI::App& app, Action& action) {
  auto flags = std::make_shared<QuantizeFlags>();
  CLI::App* command = app.add_subcommand("quantize", "Make a model smaller");
  command->footer(
      "The file is plain GGUF, for every program that reads it. q4x is Q4_K whose weights are exact in eight "
      "bits, which Quorum multiplies fastest. Rows that a type's blocks do not fit get the type of llama.cpp's "
      "choice. Unless --pure, the output matrix of a model in fewer than six bits gets q6_k. Norms, routers "
      "and vectors stay as they are. Memory is bounded whatever the model's size. An interrupted run goes on "
      "when the same command is given again.\nA plan is lines of PATTERN TYPE, later ones win: "
      "\"blk.*.ffn_down* q5_k\"; \"blk.3.ffn_*_exps.weight[0-3,7] q8_0\" gives experts of a layer a type of "
      "their own (its experts' tensors are then stored one by one, which llama.cpp may refuse).");
  command->add_option("SRC", flags->src, "A GGUF file, of a split model the first part; or a Hugging Face folder")
      ->required();
  command->add_option("DST", flags->dst, "The GGUF file to write");
  command->add_option("--type", flags->type, "Type of the matrices: " + quant::EncodingNames())
      ->check(IsEncoding)
      ->capture_default_str();
  command->add_option("--plan", flags->plan, "A file of rules for tensors and experts")->check(CLI::ExistingFile);
  CLI::Option* imatrix =
      command->add_option("--imatrix", flags->imatrix, "An importance matrix as llama-imatrix writes it")
          ->check(CLI::ExistingFile);
  CLI::Option* calibrate =
      command
          ->add_option("--calibrate", flags->calibrate,
                       "A UTF-8 text: columns count by what they are multiplied with while SRC reads it (of experts, "
                       "each one's own). Some ten thousand tokens do")
          ->check(CLI::ExistingFile)
          ->excludes(imatrix);
  command
      ->add_option("--save-imatrix", flags->save_imatrix,
                   "Keep what --calibrate found as llama.cpp's importance matrix (GGUF, or the older format for names "
                   "in .dat); without DST nothing else is done")
      ->type_name("FILE")
      ->needs(calibrate);
  CLI::Option* bits =
      command
          ->add_option(
              "--target-bpw", flags->target_bits,
              "Bits a weight in all, at the most: each matrix' type is chosen by measured error, instead of --type")
          ->check(CLI::Range(0.1, 64.0));
  command
      ->add_option("--target-size", flags->target_size,
                   "Size of the file at the most, as 900M or 4.5GB; types as with --target-bpw")
      ->check([](const std::string& text) {
        const auto bytes = ParseBytes(text);
        return bytes.ok() ? std::string() : bytes.error().message;
      })
      ->excludes(bits);
  command->add_option("--target-types", flags->target_types, "With a target: types to choose from")
      ->delimiter(',')
      ->check(IsEncoding)
      ->capture_default_str();
  command->add_flag("--by-expert", flags->by_expert,
                    "With a target: experts of a layer may get different types (stored one by one)");
  command->add_option("--threads", flags->threads, "Threads; 0: as many CPUs as cpuset and cgroup quota allow")
      ->envname("QUORUM_THREADS")
      ->check(CLI::Range(0, 1024));
  command->add_flag("--equalize", flags->equalize,
                    "Even out channels (norms against matrices, V against output, up against down) before quantizing; "
                    "llama and qwen kinds");
  command->add_flag("--pure", flags->pure, "Give every matrix the same type, where its rows fit");
  command->add_flag("--requantize", flags->requantize,
                    "Also quantize what the source has quantized already (f32, f16 and bf16 need it not)");
  command->add_flag("--measure", flags->measure, "Report the error of each type, with --json of each tensor");
  command->add_flag("--dry-run", flags->dry_run, "Only list what each tensor would become");
  command->add_flag("--verify", flags->verify, "Read the file from the disk again and compare its SHA-256");
  command->add_flag("--force", flags->replace, "Write over an existing file");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, command, &action] {
    CheckUsage(*command, *flags);
    action = [flags] {
      CatchInterrupts();
      return Exit(Quantize(*flags));
    };
  });
}

}  // namespace quorum::cli
