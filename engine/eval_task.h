// Task files for evaluation: JSON lines, one question each.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace quorum::engine {

/// {"prompt": TEXT, "choices": [TEXT, ...], "answer": INDEX} asks which choice is the likeliest to follow;
/// {"prompt": TEXT, "answer": TEXT} asks for that very text. "id" and "max_tokens" (1 to 4096) may be there; other keys
/// are ignored.
struct EvalTask {
  std::string id;
  std::string prompt;
  std::vector<std::string> choices;  // empty: exact match
  std::size_t answer = 0;            // index of the right choice
  std::string text;                  // the right text
  std::int32_t max_tokens = 64;      // of a text
};

/// Errors: kInvalidArgument naming the line; an empty file.
Result<std::vector<EvalTask>> ParseEvalTasks(std::string_view jsonl);

/// Whether a generated text is the answer: its first line equals the answer's, white space at both ends aside.
bool MatchesAnswer(std::string_view generated, std::string_view answer);

}  // namespace quorum::engine
