// Texts from files as tokens that belong to topics.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "engine/expert_study.h"
#include "tokenizer/tokenizer.h"

namespace quorum::cli {

struct Texts {
  std::vector<engine::TopicText> texts;  // one a file
  std::vector<std::string> topics;       // names
  std::int64_t tokens = 0;
};

/// Error kInvalidArgument, naming the first bad byte, when the text of `path` is no UTF-8.
Status CheckUtf8(const std::string& path, std::string_view text);

/// Reads UTF-8 files. A topic is a file, or with `by_first_word` what lines begin with: the 32 commonest words, and
/// "(other)". Lines are then tokenized one by one. Warns of bytes that have no token. Errors: MappedFile::Open's;
/// CheckUtf8's; kInvalidArgument for files without two tokens
/// in all.
Result<Texts> ReadTexts(const std::vector<std::string>& paths, const tok::Tokenizer& tokenizer, bool by_first_word);

}  // namespace quorum::cli
