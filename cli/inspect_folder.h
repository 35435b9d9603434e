// quorum inspect for a Hugging Face folder.
#pragma once

#include <string>

namespace quorum::cli {

/// Prints what the folder at `path` holds; returns the exit code.
int InspectFolder(const std::string& path, bool tensors, bool json);

}  // namespace quorum::cli
