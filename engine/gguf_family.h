// Which architecture of GGUF a `model_type` is: private to gguf_export*.cc.
#pragma once

#include <string_view>

#include "engine/base/result.h"
#include "engine/model_spec.h"

namespace quorum::engine {

struct GgufFamily {
  std::string_view model_type;
  std::string_view architecture;
  bool interleaved = false;  // rotary pairs of the architecture lie side by side

  /// Whether rows of Q and K change their order.
  bool Permutes(const ModelSpec& spec) const { return interleaved && spec.rope.pairs == RopePairs::kNeox; }
};

/// Errors: kUnsupported.
Result<const GgufFamily*> GgufFamilyOf(const ModelSpec& spec);

}  // namespace quorum::engine
