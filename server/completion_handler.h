// POST /v1/completions.
#pragma once

#include "server/api_context.h"

namespace quorum::server {

/// Plain completions of one or several prompts: choice c of prompt p has index p * n + c.
HttpResponse HandleCompletion(const ApiContext& context, HttpRequest& http);

}  // namespace quorum::server
