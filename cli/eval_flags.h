// What the command line of `quorum eval` says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/model_flags.h"
#include "engine/expert_options.h"

namespace quorum::cli {

struct EvalFlags {
  ModelFlags model;
  std::string text, tasks, reference, save_logits, kl, mask;
  std::vector<std::string> compare, top_k;
  float min_weight = 0;
  std::int32_t window = 0;  // 0: that of --kl's file, or 512, or the model's context where that is less
  bool json = false, like_llama = false, layers = false, replace = false;

  /// Models or numbers of experts side by side.
  bool table() const { return !compare.empty() || top_k.size() > 1; }
};

/// The experts to ask for with one of --moe-top-k's values, or without one for "". Errors: kInvalidArgument naming the
/// flag, what is wrong with it and where.
Result<engine::ExpertRequest> ExpertsOf(const EvalFlags& flags, const std::string& top_k);

/// Reads "3", "1,2" (in every layer) or "0:1,2;5:7" (layer 0's experts 1 and 2, layer 5's expert 7).
Status ParseMask(const std::string& text, engine::ExpertRequest& experts);

}  // namespace quorum::cli
