// POST /v1/embeddings.
#pragma once

#include "server/api_context.h"

namespace quorum::server {

/// Embeddings of one or more texts: the model's last hidden states, pooled ("pooling": "mean" or "last") and scaled to
/// length 1.
HttpResponse HandleEmbeddings(const ApiContext& context, HttpRequest& http);

/// Little-endian float32 as base64 (RFC 4648).
std::string Base64Floats(const std::vector<float>& values);

}  // namespace quorum::server
