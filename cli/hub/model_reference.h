// How a model on a Hugging Face hub is named on the command line: hf:OWNER/REPO[@REVISION][:FILE].
#pragma once

#include <string>
#include <string_view>

#include "engine/base/result.h"

namespace quorum::hub {

struct ModelReference {
  std::string owner;
  std::string repo;
  std::string revision = "main";  // a branch, a tag or a commit
  std::string file;               // a file of the repository, or a word of its name (Q4_K_M); empty: the whole model

  /// As it is written, e.g. hf:Qwen/Qwen3-30B-A3B-GGUF:Q4_K_M.
  std::string Text() const;
};

bool IsReference(std::string_view text);

/// Errors: kInvalidArgument: not of that form, or names that no hub has.
Result<ModelReference> ParseReference(std::string_view text);

/// Whether a file's name from a hub stays inside the folder that it is put in: no absolute path, no "..", nothing
/// hidden, no control characters.
bool IsSafeName(std::string_view name);

}  // namespace quorum::hub
