// The body of POST /v1/messages and /v1/messages/count_tokens, as a chat request
// (https://docs.anthropic.com/en/api/messages).
#pragma once

#include <string_view>

#include "server/chat_request.h"

namespace quorum::server {

/// Checks and reads a body. `counting`: max_tokens may be missing.
/// System blocks that only carry a client's billing header, which differs from request to request, are dropped, so that
/// prompts keep their prefix. Errors: kInvalidArgument or kUnsupported with the field as param.
Result<ChatRequest> ParseAnthropicRequest(std::string_view body, bool counting);

}  // namespace quorum::server
