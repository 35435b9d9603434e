// The committee (made by tests/committee/train.py): a small model that is part of the program, for `--demo`.
#pragma once

#include <string>

#include "engine/base/result.h"

namespace quorum::cli {

/// The path under which this process can open the model as an ordinary GGUF file (MappedFile::Name): what people type
/// for it, "--demo". Error kInternal when the system has no memory for it.
Result<std::string> DemoModelPath();

/// What tables and the API call it.
inline constexpr const char* kDemoName = "demo";

/// What it can be asked, for people.
extern const char* const kDemoQuestions;

}  // namespace quorum::cli
