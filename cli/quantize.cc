// quorum quantize: a model's weights become smaller, in a file that every GGUF program reads.
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/calibrate.h"
#include "cli/command.h"
#include "cli/long_work.h"
#include "cli/quantize_source.h"
#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "engine/thread_pool.h"
#include "quant/bit_budget.h"
#include "quant/equalize.h"
#include "quant/imatrix.h"
#include "quant/quantize_model.h"

namespace quorum::cli {
namespace {

/// What the command line says.
struct Flags {
  std::string src, dst, type = "q4x", plan, imatrix, calibrate, save_imatrix, target_size;
  std::vector<std::string> target_types = {"q2_k", "q3_k", "q4x", "q5_k", "q6_k", "q8_0"};
  double target_bits = 0;
  int threads = 0;
  bool pure = false, replace = false, requantize = false, measure = false, dry_run = false, equalize = false,
       json = false, verify = false, by_expert = false;
};

int Threads(const Flags& flags) { return flags.threads > 0 ? flags.threads : engine::UsableCpus(); }

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
  fmt::print("  {:.2f} MB, {:.3f} bits a weight, {:.1f} s; sha256 {}{}\n",
             static_cast<double>(report.file_bytes) * 1e-6, Bits(bytes, report.elements), seconds, report.sha256,
             flags.verify ? ", verified" : "");
}

/// All of "name[3]", "name[4]", "other", as "name[3-4], other".
std::string Compact(const std::vector<std::string>& names) {
  std::string list;
  std::string stack;
  std::int64_t first = -1, last = -2;
  const auto end_run = [&] {
    if (last > first) list += fmt::format("-{}", last);
    first = -1;
    last = -2;
  };
  for (const std::string& name : names) {
    const std::size_t at = name.find('[');
    const std::string base = name.substr(0, at);
    const std::int64_t i = at == std::string::npos ? -1 : std::strtol(name.c_str() + at + 1, nullptr, 10);
    if (i >= 0 && base == stack && i == last + 1) {
      last = i;
      continue;
    }
    end_run();
    if (base != stack || i < 0) {
      if (!stack.empty()) list += ']';
      list += (list.empty() ? "" : ", ") + base;
      if (i >= 0) list += '[';
      stack = i >= 0 ? base : "";
    } else {
      list += ',';
    }
    if (i >= 0) list += std::to_string(i);
    first = last = i;
  }
  end_run();
  if (!stack.empty()) list += ']';
  return list;
}

void WarnUnknown(const std::vector<std::string>& names) {
  if (names.empty()) return;
  Log(LogLevel::kWarn,
      "the importance matrix says nothing about {} matrices, of experts because no token visited them: their columns "
      "count alike. They are {}",
      names.size(), Compact(names));
}

void Warn(const quant::QuantizeReport& report) {
  std::int64_t requantized = 0;
  for (const quant::TensorReport& tensor : report.tensors) requantized += tensor.requantized ? 1 : 0;
  if (requantized > 0) {
    Log(LogLevel::kWarn,
        "{} tensors were quantized in the source already; a file made of the original weights is better", requantized);
  }
  WarnUnknown(report.no_importance);
}

/// The importance matrix of --imatrix or --calibrate; empty without.
Result<std::optional<quant::ImportanceMatrix>> Importance(const Flags& flags,
                                                          const std::vector<quant::SourceTensor>& sources) {
  std::optional<quant::ImportanceMatrix> matrix;
  if (!flags.imatrix.empty()) {
    QUORUM_ASSIGN(matrix, quant::ImportanceMatrix::Open(flags.imatrix));
  } else if (!flags.calibrate.empty()) {
    QUORUM_ASSIGN(matrix, Calibrate(flags.src, flags.calibrate, Threads(flags), sources));
  }
  if (!flags.save_imatrix.empty()) QUORUM_TRY(matrix->Write(flags.save_imatrix, flags.replace));
  return matrix;
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

/// "900M", "4.5GB", "123456789": bytes, K, M and G being powers of 1000, Ki, Mi and Gi of 1024.
Result<std::uint64_t> ParseBytes(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  std::string unit(end);
  if (!unit.empty() && (unit.back() == 'B' || unit.back() == 'b')) unit.pop_back();
  double factor = 0;
  for (const auto& [name, size] : {std::pair<const char*, double>{"", 1.0},
                                   {"K", 1e3},
                                   {"M", 1e6},
                                   {"G", 1e9},
                                   {"T", 1e12},
                                   {"Ki", 1024.0},
                                   {"Mi", 1048576.0},
                                   {"Gi", 1073741824.0},
                                   {"k", 1e3}}) {
    if (unit == name) factor = size;
  }
  const double bytes = value * factor;
  if (!(bytes >= 1 && bytes < 1e18))
    return InvalidArgument("--target-size: '" + text + "' is no size like 900M or 4.5GB");
  return static_cast<std::uint64_t>(bytes);
}

/// Rules that meet --target-bpw or --target-size, added to the plan.
Status SpendBudget(const Flags& flags, const std::vector<quant::SourceTensor>& sources, const quant::GgufWriter& writer,
                   quant::QuantizeOptions& options) {
  quant::BudgetOptions budget;
  for (const std::string& name : flags.target_types) {
    const auto type = quant::FindEncoding(name);
    if (!type)
      return InvalidArgument("--target-types: '" + name + "' is not known; there are " + quant::EncodingNames());
    budget.types.push_back(*type);
  }
  budget.by_expert = flags.by_expert;
  budget.progress = [](std::int64_t done, std::int64_t total) { return ShowCount("measuring: matrices", done, total); };
  QUORUM_ASSIGN(const auto units, quant::MeasureUnits(sources, options, budget));
  std::uint64_t target = 0;  // of the file
  if (!flags.target_size.empty()) {
    QUORUM_ASSIGN(target, ParseBytes(flags.target_size));
  }
  const std::vector<quant::PlanRule> own = options.plan.rules;
  // What all else takes is known once there are rules; longer ones make a longer file, so once more where it is too
  // long.
  std::uint64_t bytes = 0;
  for (const quant::BudgetUnit& unit : units) bytes += unit.prices.front().bytes;
  for (int attempt = 0; attempt < 8; ++attempt) {
    auto rules = quant::SpendBytes(units, bytes);
    if (!rules.ok()) {
      return InvalidArgument(
          (target > 0 ? "--target-size " + flags.target_size : fmt::format("--target-bpw {}", flags.target_bits)) +
          " cannot be met: " + rules.error().message);
    }
    options.plan.rules = own;
    options.plan.rules.insert(options.plan.rules.end(), rules->begin(), rules->end());
    QUORUM_ASSIGN(const quant::PlannedSize size, quant::SizeOf(writer, sources, options));
    const auto wanted =
        target > 0 ? static_cast<double>(target) : flags.target_bits * static_cast<double>(size.elements) / 8.0;
    const auto has = static_cast<double>(target > 0 ? size.file_bytes : size.tensor_bytes);
    if (attempt > 0 && has <= wanted) return {};
    // The first attempt has the smallest types: what is left is for better ones.
    bytes = static_cast<std::uint64_t>(std::max(0.0, std::floor(wanted - has) + static_cast<double>(bytes)));
  }
  return InvalidArgument("no plan meets the target");
}

Status Quantize(const Flags& flags) {
  quant::QuantizeOptions options;
  const auto base = quant::FindEncoding(flags.type);
  if (!base) return InvalidArgument("--type " + flags.type + " is not known; there are " + quant::EncodingNames());
  options.plan.base = *base;
  options.plan.pure = flags.pure;
  options.threads = Threads(flags);
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
  if (flags.equalize && flags.imatrix.empty() && flags.calibrate.empty()) {
    return InvalidArgument("--equalize needs --calibrate or --imatrix");
  }
  const bool matrix_only = flags.dst.empty() && !flags.dry_run;
  if (matrix_only && flags.save_imatrix.empty()) return InvalidArgument("DST is missing");
  QUORUM_ASSIGN(QuantizeSource source, QuantizeSource::Open(flags.src));
  std::error_code unused;
  if (std::filesystem::equivalent(flags.src, flags.dst, unused))
    return InvalidArgument("SRC and DST are the same file");
  std::vector<quant::SourceTensor>& sources = source.tensors();
  if (!flags.dst.empty() && !flags.replace && !flags.dry_run && std::filesystem::exists(flags.dst, unused))
    return InvalidArgument(flags.dst + " exists already");  // said before long work
  if (!flags.save_imatrix.empty() && !flags.replace && std::filesystem::exists(flags.save_imatrix, unused))
    return InvalidArgument(flags.save_imatrix + " exists already");
  QUORUM_ASSIGN(std::optional<quant::ImportanceMatrix> importance, Importance(flags, sources));
  if (importance) options.importance = &*importance;
  if (matrix_only) {
    WarnUnknown(importance->Unvisited());
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
  if (flags.target_bits > 0 || !flags.target_size.empty()) QUORUM_TRY(SpendBudget(flags, sources, writer, options));
  if (flags.dry_run) return DryRun(flags, sources, options);
  const auto start = std::chrono::steady_clock::now();
  QUORUM_ASSIGN(const auto report, quant::QuantizeTensors(writer, sources, options, flags.dst, ShowBytes));
  if (const Status same = source.Check(flags.dst); !same.ok()) {
    std::filesystem::remove(flags.dst, unused);
    return same;
  }
  Warn(report);
  Print(flags, report, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return {};
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
  command->add_option("SRC", flags->src, "A GGUF file, of a split model the first part; or a Hugging Face folder")
      ->required()
      ->envname("QUORUM_MODEL");
  command->add_option("DST", flags->dst, "The GGUF file to write");
  command->add_option("--type", flags->type, "Type of the matrices: " + quant::EncodingNames())
      ->envname("QUORUM_QUANTIZE_TYPE")
      ->capture_default_str();
  command->add_option("--plan", flags->plan, "A file of rules for tensors and experts")
      ->envname("QUORUM_QUANTIZE_PLAN")
      ->check(CLI::ExistingFile);
  CLI::Option* imatrix =
      command->add_option("--imatrix", flags->imatrix, "An importance matrix as llama-imatrix writes it")
          ->envname("QUORUM_QUANTIZE_IMATRIX")
          ->check(CLI::ExistingFile);
  CLI::Option* calibrate =
      command
          ->add_option("--calibrate", flags->calibrate,
                       "A UTF-8 text: columns count by what they are multiplied with while SRC reads it (of experts, "
                       "each one's own). Some ten thousand tokens do")
          ->envname("QUORUM_QUANTIZE_CALIBRATE")
          ->check(CLI::ExistingFile)
          ->excludes(imatrix);
  command
      ->add_option("--save-imatrix", flags->save_imatrix,
                   "Keep what --calibrate found as llama.cpp's importance matrix (GGUF, or the older format for names "
                   "in .dat); without DST nothing else is done")
      ->envname("QUORUM_QUANTIZE_SAVE_IMATRIX")
      ->needs(calibrate);
  CLI::Option* bits = command
                          ->add_option("--target-bpw", flags->target_bits,
                                       "Bits a weight in all: types are chosen by measured error (not --type)")
                          ->envname("QUORUM_QUANTIZE_TARGET_BPW")
                          ->check(CLI::Range(0.1, 64.0));
  command
      ->add_option("--target-size", flags->target_size,
                   "Size of the file at the most, as 900M or 4.5GB; types as with --target-bpw")
      ->envname("QUORUM_QUANTIZE_TARGET_SIZE")
      ->excludes(bits);
  command->add_option("--target-types", flags->target_types, "Types to choose from")
      ->delimiter(',')
      ->capture_default_str();
  command->add_flag("--by-expert", flags->by_expert,
                    "With a target: experts of a layer may get different types (stored one by one)");
  command->add_option("--threads", flags->threads, "Threads; 0: as many CPUs as cpuset and cgroup quota allow")
      ->envname("QUORUM_THREADS")
      ->check(CLI::Range(0, 1024));
  command
      ->add_flag("--equalize", flags->equalize,
                 "Even out channels (norms against matrices, V against output, up against down) before quantizing; "
                 "llama and qwen kinds")
      ->envname("QUORUM_QUANTIZE_EQUALIZE");
  command->add_flag("--pure", flags->pure, "Give every matrix the same type")->envname("QUORUM_QUANTIZE_PURE");
  command
      ->add_flag("--requantize", flags->requantize,
                 "Also quantize what the source has quantized already (f32, f16 and bf16 need it not)")
      ->envname("QUORUM_QUANTIZE_REQUANTIZE");
  command->add_flag("--measure", flags->measure, "Report the error of each type, with --json of each tensor")
      ->envname("QUORUM_QUANTIZE_MEASURE");
  command->add_flag("--dry-run", flags->dry_run, "Only list what each tensor would become");
  command->add_flag("--verify", flags->verify, "Read the file from the disk again and compare its SHA-256")
      ->envname("QUORUM_QUANTIZE_VERIFY");
  command->add_flag("--force", flags->replace, "Write over an existing file");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, &action] {
    action = [flags] {
      CatchInterrupts();
      return Exit(Quantize(*flags));
    };
  });
}

}  // namespace quorum::cli
