#include "cli/text_model.h"

#include <algorithm>
#include <string>

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
  return std::min(wanted > 0 ? wanted : kTextWindow, model.context_length());
}

CLI::Option* AddWindowFlag(CLI::App& command, std::int32_t& window) {
  return command
      .add_option("--ctx", window, "Tokens in a window of the text; 0: 512, or the model's context where that is less")
      ->check(CLI::Range(0, 1 << 20))
      ->check([](const std::string& text) { return text == "1" ? "a window has at least 2 tokens" : std::string(); })
      ->capture_default_str();
}

}  // namespace quorum::cli
