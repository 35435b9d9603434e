// Which of a repository's files make up a model.
#pragma once

#include <string>
#include <vector>

#include "engine/base/result.h"

namespace quorum::hub {

struct ModelChoice {
  std::vector<std::string> files;  // all that belong to the model
  std::string path;                // what is loaded: the (first) GGUF file, or "" for the folder itself
};

/// `wanted`: a file's name, or a word that the name of one GGUF file contains, in any case (Q4_K_M); empty: the
/// folder's safetensors with its configuration and tokenizer, or the only GGUF file. All parts of a split GGUF file
/// belong together. Errors: kNotFound; kInvalidArgument: several fit, which are named.
Result<ModelChoice> ChooseFiles(std::vector<std::string> names, const std::string& wanted);

}  // namespace quorum::hub
