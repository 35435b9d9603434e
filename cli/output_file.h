// Whether a file can be written, before the work whose result it is to hold.
#pragma once

#include <string>

#include "engine/base/result.h"
#include "quant/gguf.h"

namespace quorum::cli {

/// Nothing where a file can be made at `path`, or written over (with `replace`). Leaves nothing behind. Error
/// kInvalidArgument: there is no such folder, it cannot be written into, `path` is a folder, or exists and is to stay.
Status CheckOutput(const std::string& path, bool replace);

/// The same for a model made of `source`, which it must not be itself.
Status CheckNewModel(const quant::GgufFile& source, const std::string& path, bool replace);

}  // namespace quorum::cli
