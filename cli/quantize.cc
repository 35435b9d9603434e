// quorum quantize: a model's weights become smaller, in a file that every GGUF program reads.
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "engine/model_config.h"
#include "engine/model_files.h"
#include "engine/thread_pool.h"
#include "quant/equalize.h"
#include "quant/gguf.h"
#include "quant/imatrix.h"
#include "quant/quantize_model.h"

namespace quorum::cli {
namespace {

constexpr int kCancelledStatus = 130;  // as a shell reports SIGINT

volatile sig_atomic_t g_interrupted = 0;

struct Flags {
  std::string src, dst, type = "q4x", plan, imatrix;
  int threads = 0;
  bool pure = false, replace = false, requantize = false, measure = false, dry_run = false, equalize = false,
       json = false;
};

// A line on the terminal, several times a second at the most; nothing when stderr is a file. False after Ctrl-C.
bool ShowProgress(std::uint64_t done, std::uint64_t total) {
  static std::chrono::steady_clock::time_point last;
  static const auto start = std::chrono::steady_clock::now();
  if (g_interrupted != 0) return false;
  if (::isatty(STDERR_FILENO) == 0) return true;
  const auto now = std::chrono::steady_clock::now();
  if (done < total && now - last < std::chrono::milliseconds(100)) return true;
  last = now;
  const double seconds = std::chrono::duration<double>(now - start).count();
  const double part = static_cast<double>(done) / static_cast<double>(total);
  std::fprintf(stderr, "\r%3d %%  %.2f of %.2f GB, %.0f s to go ", static_cast<int>(100.0 * part),
               static_cast<double>(done) * 1e-9, static_cast<double>(total) * 1e-9,
               part > 0 ? seconds / part - seconds : 0);
  if (done == total) std::fprintf(stderr, "\r\x1b[K");
  return true;
}

double Bits(std::uint64_t bytes, std::int64_t elements) {
  return elements > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(elements) : 0;
}

double Relative(double error, double squares) { return squares > 0 ? std::sqrt(error / squares) : 0; }

/// Elements and bytes by type.
struct TypeSum {
  std::int64_t tensors = 0, elements = 0;
  std::uint64_t bytes = 0;
  double squares = 0, error = 0;
};

std::map<std::string, TypeSum> SumByType(const std::vector<quant::TensorReport>& tensors) {
  std::map<std::string, TypeSum> sums;
  for (const quant::TensorReport& tensor : tensors) {
    TypeSum& sum = sums[quant::NameOf(tensor.encoding)];
    ++sum.tensors;
    sum.elements += tensor.elements;
    sum.bytes += tensor.bytes;
    sum.squares += tensor.squares;
    sum.error += tensor.error_squares;
  }
  return sums;
}

void Print(const Flags& flags, const quant::QuantizeReport& report, double seconds) {
  std::uint64_t bytes = 0;
  std::int64_t requantized = 0;
  for (const quant::TensorReport& tensor : report.tensors) {
    bytes += tensor.bytes;
    requantized += tensor.requantized ? 1 : 0;
  }
  if (flags.json) {
    nlohmann::ordered_json out = {{"file", flags.dst},
                                  {"type", flags.type},
                                  {"file_bytes", report.file_bytes},
                                  {"tensor_bytes", bytes},
                                  {"elements", report.elements},
                                  {"bits_per_weight", Bits(bytes, report.elements)},
                                  {"seconds", seconds},
                                  {"sha256", report.sha256},
                                  {"requantized", requantized},
                                  {"without_importance", report.no_importance}};
    for (const quant::TensorReport& tensor : report.tensors) {
      nlohmann::ordered_json row = {{"name", tensor.name},
                                    {"type", quant::NameOf(tensor.encoding)},
                                    {"bytes", tensor.bytes},
                                    {"elements", tensor.elements},
                                    {"copied", tensor.copied}};
      if (flags.measure && !tensor.copied) {
        row["rmse"] = tensor.elements > 0 ? std::sqrt(tensor.error_squares / static_cast<double>(tensor.elements)) : 0;
        row["relative_error"] = Relative(tensor.error_squares, tensor.squares);
        if (tensor.weighted_squares > 0) {
          row["weighted_error"] = Relative(tensor.weighted_error, tensor.weighted_squares);
        }
      }
      out["tensors"].push_back(std::move(row));
    }
    fmt::print("{}\n", out.dump(2));
    return;
  }
  fmt::print("{}\n", flags.dst);
  for (const auto& [type, sum] : SumByType(report.tensors)) {
    fmt::print("  {:6} {:5} tensors  {:10.2f} M weights  {:10.2f} MB", type, sum.tensors,
               static_cast<double>(sum.elements) * 1e-6, static_cast<double>(sum.bytes) * 1e-6);
    if (sum.squares > 0) fmt::print("  relative error {:.5f}", Relative(sum.error, sum.squares));
    fmt::print("\n");
  }
  fmt::print("  {:.2f} MB, {:.3f} bits a weight, {:.1f} s; verified, sha256 {}\n",
             static_cast<double>(report.file_bytes) * 1e-6, Bits(bytes, report.elements), seconds, report.sha256);
}

void Warn(const quant::QuantizeReport& report) {
  std::int64_t requantized = 0;
  for (const quant::TensorReport& tensor : report.tensors) requantized += tensor.requantized ? 1 : 0;
  if (requantized > 0) {
    Log(LogLevel::kWarn,
        "{} tensors were quantized in the source already; a file made of the original weights is better", requantized);
  }
  if (!report.no_importance.empty()) {
    std::string list;
    for (std::size_t i = 0; i < report.no_importance.size() && i < 20; ++i)
      list += (i == 0 ? "" : ", ") + report.no_importance[i];
    if (report.no_importance.size() > 20) list += ", ...";
    Log(LogLevel::kWarn,
        "the importance matrix says nothing about {} matrices (no token visited them), whose columns count alike: {}",
        report.no_importance.size(), list);
  }
}

/// What would be done, tensor by tensor.
Status DryRun(const Flags& flags, const std::vector<quant::SourceTensor>& sources,
              const quant::QuantizeOptions& options) {
  QUORUM_ASSIGN(const auto choices, quant::ChooseTypes(sources, options));
  std::uint64_t bytes = 0;
  std::int64_t elements = 0;
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const quant::TensorChoice& choice : choices) {
    const std::int64_t n = choice.rows * choice.source->dims[0];
    const auto size = static_cast<std::uint64_t>(quant::BytesOf(choice.encoding.type, n));
    bytes += size;
    elements += n;
    const std::string type = quant::NameOf(choice.encoding);
    if (flags.json) {
      rows.push_back(
          {{"name", choice.name}, {"from", quant::Info(choice.source->type).name}, {"type", type}, {"bytes", size}});
    } else {
      fmt::print("{:40} {:>6} -> {:6} {:12} bytes\n", choice.name, quant::Info(choice.source->type).name, type, size);
    }
  }
  if (flags.json) {
    fmt::print(
        "{}\n",
        nlohmann::ordered_json{{"tensor_bytes", bytes}, {"bits_per_weight", Bits(bytes, elements)}, {"tensors", rows}}
            .dump(2));
  } else {
    fmt::print("{:.2f} MB of tensors, {:.3f} bits a weight\n", static_cast<double>(bytes) * 1e-6,
               Bits(bytes, elements));
  }
  return {};
}

Status Quantize(const Flags& flags) {
  quant::QuantizeOptions options;
  const auto base = quant::FindEncoding(flags.type);
  if (!base) return InvalidArgument("--type " + flags.type + " is not known; there are " + quant::EncodingNames());
  options.plan.base = *base;
  options.plan.pure = flags.pure;
  options.threads = flags.threads > 0 ? flags.threads : engine::UsableCpus();
  options.replace = flags.replace;
  options.requantize = flags.requantize;
  options.measure = flags.measure;
  if (!flags.plan.empty()) {
    QUORUM_ASSIGN(const MappedFile file, MappedFile::Open(flags.plan));
    const auto rules = quant::ParsePlan({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
    if (!rules.ok()) return InvalidArgument(flags.plan + ": " + rules.error().message);
    options.plan.rules = *rules;
  }
  quant::ImportanceMatrix importance;
  if (!flags.imatrix.empty()) {
    QUORUM_ASSIGN(importance, quant::ImportanceMatrix::Open(flags.imatrix));
    options.importance = &importance;
  }
  if (engine::IsFolder(flags.src)) return Unsupported(flags.src + " is a folder: quantize takes GGUF files");
  QUORUM_ASSIGN(const quant::GgufFile file, quant::GgufFile::Open(flags.src));
  std::vector<quant::SourceTensor> sources = quant::SourcesOf(file);
  std::int64_t equalized = 0;
  if (flags.equalize) {
    if (options.importance == nullptr) return InvalidArgument("--equalize needs --calibrate or --imatrix");
    QUORUM_ASSIGN(const engine::ModelSpec spec, engine::SpecFromGguf(file));
    const quant::EqualizeShape shape{spec.architecture, spec.attention.heads, spec.attention.kv_heads};
    QUORUM_ASSIGN(equalized, quant::Equalize(shape, sources, importance));
  }
  if (flags.dry_run) return DryRun(flags, sources, options);
  if (flags.dst.empty()) return InvalidArgument("DST is missing");
  std::error_code unused;
  if (std::filesystem::equivalent(flags.src, flags.dst, unused))
    return InvalidArgument("SRC and DST are the same file");
  quant::GgufWriter writer;
  quant::CopyMetadata(file, writer);
  writer.SetString("quorum.quantize.source", std::filesystem::path(flags.src).filename().string());
  writer.SetUint64("quorum.quantize.source_bytes", file.file_bytes());
  if (equalized > 0) writer.SetUint32("quorum.quantize.equalized", static_cast<std::uint32_t>(equalized));
  const auto start = std::chrono::steady_clock::now();
  QUORUM_ASSIGN(const auto report, quant::QuantizeTensors(writer, sources, options, flags.dst, ShowProgress));
  QUORUM_TRY(file.CheckIntact());
  Warn(report);
  Print(flags, report, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return {};
}

int Run(const Flags& flags) {
  struct sigaction interrupt{};
  interrupt.sa_handler = [](int) { g_interrupted = 1; };
  ::sigaction(SIGINT, &interrupt, nullptr);
  ::sigaction(SIGTERM, &interrupt, nullptr);
  const Status done = Quantize(flags);
  if (done.ok()) return 0;
  if (::isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\r\x1b[K");
  const int status = Fail(done.error());
  return done.error().code == ErrorCode::kCancelled ? kCancelledStatus : status;
}

}  // namespace

void AddQuantize(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("quantize", "Make a model smaller");
  command->footer(
      "The file is plain GGUF, for every program that reads it. q4x is Q4_K whose weights are exact in eight bits, "
      "which Quorum\n"
      "multiplies fastest. Rows that a type's blocks do not fit get the type of llama.cpp's choice. Unless --pure, the "
      "output\n"
      "matrix of a model in fewer than six bits gets q6_k. Norms, routers and vectors stay as they are. Memory is "
      "bounded\n"
      "whatever the model's size. An interrupted run goes on when the same command is given again.\n"
      "A plan is lines of PATTERN TYPE, later ones win: \"blk.*.ffn_down* q5_k\"; \"blk.3.ffn_*_exps.weight[0-3,7] "
      "q8_0\" gives\n"
      "experts of a layer a type of their own (its experts' tensors are then stored one by one, which llama.cpp may "
      "refuse).");
  command->add_option("SRC", flags->src, "A GGUF file, of a split model the first part")
      ->required()
      ->envname("QUORUM_MODEL");
  command->add_option("DST", flags->dst, "The GGUF file to write");
  command->add_option("--type", flags->type, "Type of the matrices: " + quant::EncodingNames())
      ->envname("QUORUM_QUANTIZE_TYPE")
      ->capture_default_str();
  command->add_option("--plan", flags->plan, "A file of rules for tensors and experts")
      ->envname("QUORUM_QUANTIZE_PLAN")
      ->check(CLI::ExistingFile);
  command->add_option("--imatrix", flags->imatrix, "An importance matrix as llama-imatrix or --calibrate wrote it")
      ->envname("QUORUM_QUANTIZE_IMATRIX")
      ->check(CLI::ExistingFile);
  command->add_option("--threads", flags->threads, "Threads; 0: as many CPUs as cpuset and cgroup quota allow")
      ->envname("QUORUM_THREADS")
      ->check(CLI::Range(0, 1024));
  command
      ->add_flag("--equalize", flags->equalize,
                 "Even out channels (norms against matrices, V against output, up against down) before quantizing; "
                 "llama and qwen kinds")
      ->envname("QUORUM_QUANTIZE_EQUALIZE");
  command->add_flag("--pure", flags->pure, "Give every matrix the same type")->envname("QUORUM_QUANTIZE_PURE");
  command->add_flag("--requantize", flags->requantize, "Also quantize what the source has quantized already")
      ->envname("QUORUM_QUANTIZE_REQUANTIZE");
  command->add_flag("--measure", flags->measure, "Report the error of each type, with --json of each tensor")
      ->envname("QUORUM_QUANTIZE_MEASURE");
  command->add_flag("--dry-run", flags->dry_run, "Only list what each tensor would become");
  command->add_flag("--force", flags->replace, "Write over an existing file");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, &action] { action = [flags] { return Run(*flags); }; });
}

}  // namespace quorum::cli
