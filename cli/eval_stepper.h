// Runs one sequence through a model, some tokens at a time: what `quorum eval` needs of an engine.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cli/model_flags.h"
#include "engine/expert_options.h"
#include "engine/model.h"

namespace quorum::cli {

/// Rows of logits computed at once: enough to use the kernels well, little memory.
constexpr std::int32_t kScoredRows = 64;

class Stepper {
 public:
  /// A model for windows of `context` tokens. Errors: those of loading; kUnsupported for encoder-decoders;
  /// kInvalidArgument for experts that it does not have.
  static Result<Stepper> Load(const ModelFlags& flags, std::int32_t context, const engine::ExpertRequest& experts);

  /// Logits (rows, vocab) of tokens [first, first + rows) of the sequence, given those before, which were computed by
  /// earlier calls. `rows` is kScoredRows at most. With `last_only` only the last row's logits: (1, vocab). Errors:
  /// those of Model::Step; kDataLoss for logits that are not finite.
  Status Step(std::span<const tok::TokenId> sequence, std::size_t first, std::size_t rows, bool last_only,
              std::span<float> logits);

  engine::Model& model() { return *loaded_.model; }
  engine::ThreadPool& pool() { return *loaded_.pool; }
  std::size_t vocab() const { return static_cast<std::size_t>(loaded_.model->vocab_size()); }
  /// Other experts from now on.
  Status Choose(const engine::ExpertRequest& experts);

 private:
  Stepper(LoadedModel loaded, std::string name, std::int32_t context);
  LoadedModel loaded_;
  std::string name_;
  std::vector<std::int32_t> pages_;
  engine::ExpertOptions experts_;
  bool own_routing_ = true;
};

}  // namespace quorum::cli
