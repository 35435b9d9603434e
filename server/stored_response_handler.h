// /v1/responses/{id} and what is below it: responses that were kept.
#pragma once

#include <string_view>

#include "server/api_context.h"
#include "server/response_store.h"

namespace quorum::server {

/// `path` is what follows /v1/responses/. GET {id}: the response as it was answered. GET {id}/input_items: what it
/// answered, a page at a time (`limit`, `order`, `after`). DELETE {id}. POST {id}/cancel: refused, because nothing runs
/// in the background. 404 for what is not (or no longer) kept, 405 for other methods.
HttpResponse HandleStoredResponse(const ApiContext& context, const HttpRequest& http, std::string_view path,
                                  ResponseStore& store);

}  // namespace quorum::server
