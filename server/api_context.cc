#include "server/api_context.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

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

void RequestReports::AddTo(Json& answer) const {
  if (!moe.is_null()) answer["moe"] = moe;
  if (!cache.is_null()) answer["cache"] = cache;
}

Json UsageCount::ToJson() const {
  Json usage = {{"prompt_tokens", prompt},
                {"completion_tokens", completion},
                {"total_tokens", prompt + completion},
                {"prompt_tokens_details", {{"cached_tokens", cached}}}};
  if (reasoning > 0) usage["completion_tokens_details"] = {{"reasoning_tokens", reasoning}};
  return usage;
}

HttpResponse ApiError(const ApiContext& context, const Error& error) {
  HttpResponse response = ErrorResponse(error);
  if (error.code == ErrorCode::kOverloaded || error.code == ErrorCode::kUnavailable) {
    SetRetryAfter(response,
                  context.model == nullptr ? 1.0 : context.metrics.RetryAfter(context.model->engine->Stats()));
  }
  return response;
}

Json ErrorJson(const Error& error) {
  return Json::parse(ErrorBody(HttpStatus(error.code), error.message, error.param, error.reason));
}

HttpResponse JsonResponse(const Json& value) {
  HttpResponse response;
  response.body = DumpJson(value);
  return response;
}

Status CheckStrict(const ApiContext& context, const std::vector<std::string>& ignored) {
  if (!context.strict || ignored.empty()) return {};
  if (std::find(ignored.begin(), ignored.end(), "model") != ignored.end()) {
    return Error{ErrorCode::kNotFound,
                 fmt::format("the model asked for is not served here; '{}' is", context.model->id), "model",
                 "model_not_found"};
  }
  std::string first = ignored.front();
  if (first.starts_with(kClamped)) {
    first.erase(0, kClamped.size());
    return InvalidArgument(
        fmt::format("'{}' is more than the context leaves room for, and the server is strict", first), first,
        "field_not_honoured");
  }
  return InvalidArgument(fmt::format("'{}' is not honoured, and the server is strict: {} field(s) would be ignored",
                                     first, std::set<std::string>(ignored.begin(), ignored.end()).size()),
                         first, "field_not_honoured");
}

namespace {

// Field names are the client's: only harmless characters come back.
void NameFields(HttpResponse& response, const char* header, const std::set<std::string>& names) {
  constexpr std::size_t kMaxLength = 1000;
  std::string list;
  for (const std::string& name : names) {
    std::string safe = name.substr(0, 80);
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
  if (!list.empty()) response.headers.push_back({header, std::move(list)});
}

}  // namespace

void SetIgnored(HttpResponse& response, const std::vector<std::string>& ignored) {
  std::set<std::string> names, clamped;
  for (const std::string& name : ignored) {
    if (name.starts_with(kClamped)) {
      clamped.insert(name.substr(kClamped.size()));
    } else {
      names.insert(name);
    }
  }
  NameFields(response, "x-quorum-ignored", names);
  NameFields(response, "x-quorum-clamped", clamped);
}

}  // namespace quorum::server
