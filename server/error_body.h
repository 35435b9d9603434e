// Errors in OpenAI's shape: {"error": {"message", "type", "param", "code"}}.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "server/http_message.h"

namespace quorum::server {

/// `text`, or its beginning and end where it is longer than `max` bytes. Characters (UTF-8) stay whole.
std::string Excerpt(std::string_view text, std::size_t max);

/// The body. Messages repeat what clients sent: of a long one only the beginning and the end are said. `param` and
/// `code` are null in it where they are empty; `code` is always a string otherwise.
std::string ErrorBody(int status, std::string_view message, std::string_view param = {}, std::string_view code = {});

/// A whole answer, with `x-should-retry: false` where the SDKs would retry (>= 500) what will fail again.
HttpResponse ErrorResponse(int status, std::string_view message, std::string_view param = {},
                           std::string_view code = {});
HttpResponse ErrorResponse(const Error& error);

/// 405 for a path that answers the methods of `allow` ("GET, HEAD") only.
HttpResponse MethodNotAllowed(const std::string& allow);

/// Adds `retry-after` and `retry-after-ms`. OpenAI's clients wait so long; above 120 s they would not retry at all.
void SetRetryAfter(HttpResponse& response, double seconds);

}  // namespace quorum::server
