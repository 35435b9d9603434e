// MODEL as hf:OWNER/REPO[:FILE], once it has been pulled.
#pragma once

#include <CLI/CLI.hpp>

namespace quorum::cli {

/// What MODEL may be, for its --help.
inline constexpr const char* kModelHelp =
    "A GGUF file (of a split model the first part), a Hugging Face folder, or hf:OWNER/REPO[:FILE] after quorum pull";

/// Puts the path of a pulled model in the place of its reference; other values stay. Used as `option->transform`.
CLI::Validator PulledModel();

}  // namespace quorum::cli
