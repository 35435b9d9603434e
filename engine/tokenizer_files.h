// The small files beside a Hugging Face folder's vocabulary.
#pragma once

#include <cstdint>
#include <string>

#include "engine/base/result.h"
#include "tokenizer/tokenizer.h"

namespace quorum::engine {

/// What tokenizer_config.json, special_tokens_map.json, added_tokens.json, generation_config.json and config.json say,
/// and `embeddings`. Errors: kInvalidArgument, naming file and key.
Result<tok::HfTokenizerConfig> ReadTokenizerFiles(const std::string& folder, std::int64_t embeddings);

}  // namespace quorum::engine
