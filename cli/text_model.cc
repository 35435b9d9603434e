#include "cli/text_model.h"

#include <algorithm>

#include "engine/text_run.h"

namespace quorum::cli {

Result<LoadedModel> LoadTextModel(ModelFlags flags, const std::string& path, std::int32_t window) {
  flags.path = path;
  engine::LoadOptions options;
  options.max_batch = 1;
  options.max_step_tokens = engine::kTextRows;
  options.max_step_logits = engine::kTextRows;
  options.context = window;
  return LoadModel(flags, options);
}

std::int32_t TextWindow(std::int32_t wanted, const engine::Model& model) {
  return std::min(wanted > 0 ? wanted : 512, model.context_length());
}

}  // namespace quorum::cli
