// POST /v1/chat/completions.
#pragma once

#include "server/api_context.h"

namespace quorum::server {

/// Validates, queues, and answers at the end or as a stream. Everything that can be wrong with a request is answered
/// before a stream begins.
HttpResponse HandleChat(const ApiContext& context, HttpRequest& http);

}  // namespace quorum::server
