// A model ready to generate: weights, tokenizer, chat template and engine, for the commands that talk.
#pragma once

#include <memory>
#include <string>

#include "cli/model_flags.h"
#include "engine/base/result.h"
#include "engine/engine.h"
#include "engine/expert_log_writer.h"
#include "server/served_model.h"

namespace quorum::cli {

struct ServingFlags {
  ModelFlags model;
  engine::EngineOptions engine{.max_itl_ms = 250, .speculate = 4};
  std::string name;                // as the API calls it; empty: the file's name without ".gguf"
  std::string chat_template_file;  // instead of the model's own
  std::string tool_parser = "auto";
  engine::ExpertLogOptions expert_log;  // path empty: none
  bool expert_log_text = false;
};

/// Adds AddModelFlags' flags, --chat-template, --tool-parser and others of the engine; with `many` --max-batch.
void AddServingFlags(CLI::App& command, ServingFlags& flags, bool many = true);

/// Destroyed in the right order: the engine before what it runs on.
struct ServingModel {
  LoadedModel loaded;
  std::shared_ptr<server::ServedModel> served;
};

/// Errors that can be told before the weights are loaded, which may take long: of the model's files, of the template,
/// of what is to be written. To be called before LoadServingModel.
Status CheckServing(const ServingFlags& flags);

/// Loads all of it. A model without a chat template gets ChatML if its vocabulary has ChatML's tokens, else none.
Result<ServingModel> LoadServingModel(const ServingFlags& flags);

}  // namespace quorum::cli
