// POST /v1/messages and POST /v1/messages/count_tokens: Anthropic's API.
#pragma once

#include "server/api_context.h"

namespace quorum::server {

/// A message in one piece, or as a stream of named events.
HttpResponse HandleMessages(const ApiContext& context, HttpRequest& http);
/// {"input_tokens"}: the tokens of the prompt that the same request would have.
HttpResponse HandleCountTokens(const ApiContext& context, HttpRequest& http);

/// `response`, an error in OpenAI's shape, in Anthropic's: {"type": "error", "error": {"type", "message"}}.
HttpResponse AnthropicError(HttpResponse response);

}  // namespace quorum::server
