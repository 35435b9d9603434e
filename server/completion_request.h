// The body of POST /v1/completions.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/generation_fields.h"

namespace quorum::server {

/// Text, or the token ids themselves.
using Prompt = std::variant<std::string, std::vector<tok::TokenId>>;

struct CompletionRequest {
  GenerationFields generation;  // request.n choices are returned for each prompt
  std::vector<Prompt> prompts;
  std::int32_t best_of = 1;  // choices that are generated for each prompt; >= n
  bool echo = false;
  bool limit_given = false;  // max_tokens was
};

/// Texts or token ids, in each form that OpenAI's API has for `field`.
Status ReadPrompts(JsonFields& fields, const char* field, std::size_t max, std::vector<Prompt>& out);

/// Checks and reads a body. Errors: kInvalidArgument or kUnsupported with the field as param.
Result<CompletionRequest> ParseCompletionRequest(std::string_view body);

}  // namespace quorum::server
