// POST /v1/responses: OpenAI's responses API.
#pragma once

#include "server/api_context.h"
#include "server/response_store.h"

namespace quorum::server {

/// A response in one piece, or as a stream of named events. It is kept in `store` unless the request says no.
HttpResponse HandleResponses(const ApiContext& context, HttpRequest& http, ResponseStore& store);
/// POST /v1/responses/input_tokens: how long the prompt of such a request is; nothing is computed.
HttpResponse HandleResponseTokens(const ApiContext& context, HttpRequest& http, ResponseStore& store);

}  // namespace quorum::server
