#include "cli/model_flags.h"

#include <unistd.h>

#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/command_line.h"
#include "cli/demo_model.h"
#include "cli/long_work.h"
#include "cli/pulled_model.h"
#include "engine/base/log.h"
#include "engine/base/units.h"
#include "engine/cpu_limits.h"
#include "engine/model_files.h"
#include "engine/numa.h"

namespace quorum::cli {
namespace {

const std::map<std::string, engine::KvType> kKvTypes = {
    {"int8", engine::KvType::kInt8}, {"bf16", engine::KvType::kBf16}, {"f32", engine::KvType::kF32}};

const std::map<std::string, engine::WeightChoice> kWeights = {{"auto", engine::WeightChoice::kAuto},
                                                              {"f32", engine::WeightChoice::kF32},
                                                              {"bf16", engine::WeightChoice::kBf16},
                                                              {"q8", engine::WeightChoice::kQ8},
                                                              {"q4", engine::WeightChoice::kQ4}};

const std::map<std::string, engine::ActPrecision> kActivations = {{"int8", engine::ActPrecision::kInt8},
                                                                  {"int16", engine::ActPrecision::kInt16}};

const std::map<std::string, engine::NumaMode> kNumaModes = {
    {"one", engine::NumaMode::kOne}, {"all", engine::NumaMode::kAll}, {"experts", engine::NumaMode::kExperts}};

template <typename T>
std::string NameOf(const std::map<std::string, T>& names, T value) {
  for (const auto& [name, at] : names) {
    if (at == value) return name;
  }
  return "unknown";
}

/// A bar on one line, drawn anew when a percent more is done. False after Ctrl-C.
bool ShowProgress(std::int64_t done, std::int64_t total) {
  static const bool terminal = ::isatty(STDERR_FILENO) == 1;
  static std::int64_t shown = -1;
  const std::int64_t percent = total > 0 ? done * 100 / total : 100;
  if (!terminal || (percent == shown && done != total)) return !WasInterrupted();
  shown = percent;
  constexpr std::size_t kWidth = 30;
  const std::size_t filled = static_cast<std::size_t>(percent) * kWidth / 100;
  const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
  fmt::print(stderr, "\rloading [{}] {:3} %  {} of {}\x1b[K{}", bar, percent, FormatBytes(done), FormatBytes(total),
             done == total ? "\n" : "");
  return !WasInterrupted();
}

void AddDemo(CLI::App& command, ModelFlags& flags, CLI::Option* model) {
  command
      .add_flag_callback(
          "--demo",
          [&command, &flags, model] {
            // What stands on the command line comes before what only the environment says.
            const bool demo_given = Given(command, "--demo");
            const bool model_given = Given(command, "MODEL");
            if (model->count() > 0 && model_given && !demo_given) return;
            if (model->count() > 0 && model_given == demo_given) throw CLI::ExcludesError("--demo", "MODEL");
            Result<std::string> path = DemoModelPath();
            if (!path.ok()) throw CLI::ValidationError("--demo", path.error().message);
            flags.path = *path;
            flags.demo = true;
            model->required(false);
          },
          "Instead of MODEL a small one that is part of this program: eight tasks, sixteen experts")
      ->envname("QUORUM_DEMO");
}

}  // namespace

std::string ModelFlags::Name() const { return demo ? kDemoName : path; }

void AddModelOption(CLI::App& command, ModelFlags& flags, const ModelFlagChoice& choice) {
  CLI::Option* model =
      command.add_option("MODEL", flags.path, choice.model)->required(choice.required)->transform(PulledModel());
  if (choice.named) return;
  model->envname("QUORUM_MODEL");
  AddDemo(command, flags, model);
}

void AddModelFlags(CLI::App& command, ModelFlags& flags, const ModelFlagChoice& choice) {
  AddModelOption(command, flags, choice);
  command.option_defaults()->group("How the model is kept and computed");
  command.add_option("--threads", flags.threads, "Compute threads; 0: as many CPUs as cpuset and cgroup quota allow")
      ->envname("QUORUM_THREADS")
      ->check(CLI::Range(0, 1024));
  command
      .add_option(
          "--numa", flags.numa,
          "With several memory nodes: one: threads and memory on one of them, if it has CPUs enough; all: threads "
          "on all, memory spread over them; experts: each expert lies on one and is computed by its threads")
      ->envname("QUORUM_NUMA")
      ->check(CLI::IsMember({"one", "all", "experts"}))
      ->capture_default_str();
  if (choice.context) {
    command.add_option("--ctx", flags.context, "Longest context of one sequence in tokens; 0: the model's own")
        ->envname("QUORUM_CTX")
        ->check(AtLeast(0));
  }
  command
      .add_option(
          "--weights", flags.weights,
          "How matrices are kept: auto: as in the file (F8 as q8); f32 or bf16: all in floats; q8 or q4: unquantized "
          "ones are quantized while loading")
      ->envname("QUORUM_WEIGHTS")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "q8", "q4"}))
      ->capture_default_str();
  command
      .add_option(
          "--float-gemm", flags.float_gemm,
          "What multiplies with float matrices: own kernels, or onednn, whose bits may depend on the batch and the "
          "machine")
      ->envname("QUORUM_FLOAT_GEMM")
      ->check(CLI::IsMember({"own", "onednn"}))
      ->capture_default_str();
  command
      .add_option("--kv", flags.kv,
                  "How keys and values are stored: int8, bf16 or f32; auto: f32 for small models, else int8")
      ->envname("QUORUM_KV")
      ->check(CLI::IsMember({"auto", "int8", "bf16", "f32"}))
      ->capture_default_str();
  command
      .add_option("--act", flags.activations,
                  "How finely activations are quantized: int16 (two planes of int8, follows a float32 run) or int8 "
                  "(half the arithmetic, as llama.cpp does); auto: int16 for small models, else int8")
      ->envname("QUORUM_ACT")
      ->check(CLI::IsMember({"auto", "int8", "int16"}))
      ->capture_default_str();
  command.option_defaults()->group("Options");
}

/// The threads, and on machines with several nodes the calling thread and its memory, where --numa wants them.
std::unique_ptr<engine::ThreadPool> MakePool(const ModelFlags& flags) {
  const std::vector<int> cpus = engine::AllowedCpus();
  const std::vector<engine::NumaNode> nodes = engine::NumaNodes(cpus);
  const engine::Placement placement =
      engine::PlaceThreads(kNumaModes.at(flags.numa), flags.threads, engine::UsableCpus(), cpus, nodes);
  if (nodes.size() > 1) {
    const std::vector<int>& used =
        placement.preferred_nodes.empty() ? placement.group_nodes : placement.preferred_nodes;
    Log(LogLevel::kInfo, "memory nodes: {} of {} (--numa {})", fmt::join(used, ", "), nodes.size(), flags.numa);
  }
  if (!engine::BindThread(placement)) {
    Log(LogLevel::kWarn, "the kernel refuses to bind threads or memory to nodes: speed may vary");
  }
  return std::make_unique<engine::ThreadPool>(placement);
}

Result<LoadedModel> LoadModel(const ModelFlags& flags, engine::LoadOptions options) {
  LoadedModel loaded;
  loaded.pool = MakePool(flags);
  options.pool = loaded.pool.get();
  options.weights = kWeights.at(flags.weights);
  options.one_dnn = flags.float_gemm == "onednn";
  if (flags.kv != "auto") options.kv_type = kKvTypes.at(flags.kv);
  if (flags.activations != "auto") options.activations = kActivations.at(flags.activations);
  if (flags.context > 0) options.context = flags.context;
  options.progress = ShowProgress;
  options.stop = WasInterrupted;
  QUORUM_ASSIGN(loaded.model, engine::Model::Load(flags.path, options));
  return loaded;
}

Result<engine::LoadedTokenizer> LoadModelTokenizer(const std::string& path, std::int64_t embeddings) {
  if (engine::IsFolder(path)) return engine::LoadTokenizerFromFolder(path, embeddings);
  QUORUM_ASSIGN(const quant::GgufFile file, quant::GgufFile::Open(path));
  return engine::LoadTokenizer(file);
}

std::string KvName(const engine::Model& model) { return NameOf(kKvTypes, model.kv_type()); }
std::string ActivationsName(const engine::Model& model) { return NameOf(kActivations, model.activations()); }

}  // namespace quorum::cli
