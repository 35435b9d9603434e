// Models that texts run through from end to end, one sequence at a time.
#pragma once

#include <cstdint>
#include <string>

#include "cli/model_flags.h"

namespace quorum::cli {

/// Loads the model at `path` as `flags` say of theirs, for steps of engine/text_run.h and windows of `window` tokens
/// (0: the model's own context). Errors: LoadModel's.
Result<LoadedModel> LoadTextModel(ModelFlags flags, const std::string& path, std::int32_t window);

/// The tokens of a window where nobody says.
inline constexpr std::int32_t kTextWindow = 512;

/// Adds --ctx, whose 0 stands for kTextWindow or the model's context where that is less.
CLI::Option* AddWindowFlag(CLI::App& command, std::int32_t& window);

/// The window for texts: `wanted`, or where that is 0 kTextWindow; the model's context where it is less.
std::int32_t TextWindow(std::int32_t wanted, const engine::Model& model);

}  // namespace quorum::cli
