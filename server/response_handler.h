// POST /v1/responses, and GET and DELETE /v1/responses/{id}: OpenAI's responses API.
#pragma once

#include <string>

#include "server/api_context.h"
#include "server/response_store.h"

namespace quorum::server {

/// A response in one piece, or as a stream of named events. It is kept in `store` unless the request says no.
HttpResponse HandleResponses(const ApiContext& context, HttpRequest& http, ResponseStore& store);
/// POST /v1/responses/input_tokens: how long the prompt of such a request is; nothing is computed.
HttpResponse HandleResponseTokens(const ApiContext& context, HttpRequest& http, ResponseStore& store);
HttpResponse HandleStoredResponse(const HttpRequest& http, const std::string& id, ResponseStore& store);

}  // namespace quorum::server
