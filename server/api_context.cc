#include "server/api_context.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include "server/error_body.h"

namespace quorum::server {

Json ResponseFrame::With(Json choices) const {
  return {{"id", id},
          {"object", object},
          {"created", created},
          {"model", model},
          {"system_fingerprint", fingerprint},
          {"choices", std::move(choices)}};
}

Json UsageCount::ToJson() const {
  return {{"prompt_tokens", prompt},
          {"completion_tokens", completion},
          {"total_tokens", prompt + completion},
          {"prompt_tokens_details", {{"cached_tokens", cached}}}};
}

HttpResponse ApiError(const ApiContext& context, const Error& error) {
  HttpResponse response = ErrorResponse(error);
  if (error.code == ErrorCode::kOverloaded || error.code == ErrorCode::kUnavailable) {
    SetRetryAfter(response,
                  context.model == nullptr ? 1.0 : context.metrics.RetryAfter(context.model->engine->Stats()));
  }
  return response;
}

HttpResponse JsonResponse(const Json& value) {
  HttpResponse response;
  response.body = DumpJson(value);
  return response;
}

void SetIgnored(HttpResponse& response, const std::vector<std::string>& ignored) {
  constexpr std::size_t kMaxLength = 1000;
  std::string list;
  for (const std::string& name : std::set<std::string>(ignored.begin(), ignored.end())) {
    std::string safe = name.substr(0, 80);  // field names are the client's: only harmless characters come back
    std::replace_if(
        safe.begin(), safe.end(),
        [](char c) {
          return std::isalnum(static_cast<unsigned char>(c)) == 0 &&
                 std::string_view("_-.[]: ").find(c) == std::string_view::npos;
        },
        '?');
    if (list.size() + safe.size() + 2 > kMaxLength) {
      list += ", ...";
      break;
    }
    list += list.empty() ? safe : ", " + safe;
  }
  if (!list.empty()) response.headers.push_back({"x-quorum-ignored", std::move(list)});
}

}  // namespace quorum::server
