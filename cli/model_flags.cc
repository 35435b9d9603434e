#include "cli/model_flags.h"

#include <unistd.h>

#include <cstdio>
#include <map>
#include <utility>

namespace quorum::cli {
namespace {

const std::map<std::string, engine::KvType> kKvTypes = {
    {"int8", engine::KvType::kInt8}, {"bf16", engine::KvType::kBf16}, {"f32", engine::KvType::kF32}};

const std::map<std::string, engine::ActPrecision> kActivations = {{"int8", engine::ActPrecision::kInt8},
                                                                  {"int16", engine::ActPrecision::kInt16}};

template <typename T>
std::string NameOf(const std::map<std::string, T>& names, T value) {
  for (const auto& [name, at] : names) {
    if (at == value) return name;
  }
  return "unknown";
}

void ShowProgress(std::int64_t done, std::int64_t total) {
  constexpr double kMebi = 1 << 20;
  std::fprintf(stderr, "\rloading %5.0f of %.0f MiB%s", static_cast<double>(done) / kMebi,
               static_cast<double>(total) / kMebi, done == total ? "\n" : "");
}

}  // namespace

void AddModelFlags(CLI::App& command, ModelFlags& flags) {
  command.add_option("MODEL", flags.path, "A GGUF file; of a split model the first part")
      ->required()
      ->envname("QUORUM_MODEL");
  command.add_option("--threads", flags.threads, "Compute threads; 0: as many CPUs as cpuset and cgroup quota allow")
      ->envname("QUORUM_THREADS")
      ->check(CLI::Range(0, 1024));
  command.add_option("--ctx", flags.context, "Longest context of one sequence in tokens; 0: the model's own")
      ->envname("QUORUM_CTX")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--kv", flags.kv, "How keys and values are stored: int8, bf16 or f32; auto: f32 for small models, else int8")
      ->envname("QUORUM_KV")
      ->check(CLI::IsMember({"auto", "int8", "bf16", "f32"}))
      ->capture_default_str();
  command.add_option("--act", flags.activations,
                     "How finely activations are quantized: int16 (two planes of int8, follows a float32 run) or int8 "
                     "(half the arithmetic, as llama.cpp does); auto: int16 for small models, else int8")
      ->envname("QUORUM_ACT")
      ->check(CLI::IsMember({"auto", "int8", "int16"}))
      ->capture_default_str();
}

Result<LoadedModel> LoadModel(const ModelFlags& flags, engine::LoadOptions options) {
  LoadedModel loaded;
  loaded.pool = std::make_unique<engine::ThreadPool>(flags.threads > 0 ? flags.threads : engine::UsableCpus());
  options.pool = loaded.pool.get();
  if (flags.kv != "auto") options.kv_type = kKvTypes.at(flags.kv);
  if (flags.activations != "auto") options.activations = kActivations.at(flags.activations);
  if (flags.context > 0) options.context = flags.context;
  if (::isatty(STDERR_FILENO) == 1) options.progress = ShowProgress;
  QUORUM_ASSIGN(loaded.model, engine::Model::Load(flags.path, options));
  return loaded;
}

std::string KvName(const engine::Model& model) { return NameOf(kKvTypes, model.kv_type()); }
std::string ActivationsName(const engine::Model& model) { return NameOf(kActivations, model.activations()); }

}  // namespace quorum::cli
