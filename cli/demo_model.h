// The committee (made by tests/committee/train.py): a small model that is part of the program, for `--demo`.
#pragma once

#include <string>

#include "engine/base/result.h"

namespace quorum::cli {

/// A path under which this process, and only it, can open the model as an ordinary GGUF file, as long as it runs: an
/// anonymous file in memory. The same path each time. Error kInternal when the system gives none.
Result<std::string> DemoModelPath();

/// What it can be asked, for people.
extern const char* const kDemoQuestions;

}  // namespace quorum::cli
