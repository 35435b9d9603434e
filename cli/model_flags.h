// Flags that every subcommand that runs a model shares, and loading with them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "cli/pulled_model.h"
#include "engine/base/result.h"
#include "engine/load_tokenizer.h"
#include "engine/model.h"
#include "engine/thread_pool.h"

namespace quorum::cli {

struct ModelFlags {
  std::string path;
  bool demo = false;  // `path` is the program's own model
  int threads = 0;    // 0: as many as this process may use
  std::string numa = "one";
  std::int32_t context = 0;  // 0: the model's own
  std::string weights = "auto";
  std::string float_gemm = "own";
  std::string kv = "auto";
  std::string activations = "auto";

  /// What tables and reports call the model.
  std::string Name() const;
};

/// Which of the flags a command has.
struct ModelFlagChoice {
  const char* model = kModelHelp;  // of MODEL
  bool required = true;            // MODEL, or --demo
  bool named = false;   // the command writes files: MODEL has to be said on the command line, and --demo is none
  bool context = true;  // --ctx
};

/// Adds MODEL and --demo.
void AddModelOption(CLI::App& command, ModelFlags& flags, const ModelFlagChoice& choice = {});

/// Adds these, --threads, --numa, --ctx, --weights, --float-gemm, --kv and --act.
void AddModelFlags(CLI::App& command, ModelFlags& flags, const ModelFlagChoice& choice = {});

/// A model and the threads that it runs on.
struct LoadedModel {
  std::unique_ptr<engine::ThreadPool> pool;
  std::unique_ptr<engine::Model> model;
};

/// Loads the model of `flags`; what they do not say comes from `options`. Shows progress where stderr is a terminal.
Result<LoadedModel> LoadModel(const ModelFlags& flags, engine::LoadOptions options);

/// The tokenizer of a GGUF file or a Hugging Face folder whose model has `embeddings` (0: not known).
Result<engine::LoadedTokenizer> LoadModelTokenizer(const std::string& path, std::int64_t embeddings);

/// How `model` stores keys and values and quantizes activations, as the flags spell it.
std::string KvName(const engine::Model& model);
std::string ActivationsName(const engine::Model& model);

}  // namespace quorum::cli
