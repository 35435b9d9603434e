#include "server/error_body.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace quorum::server {
namespace {

std::string_view ErrorType(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 429: return "rate_limit_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

// What OpenAI's API calls it, where the error itself has no better word.
std::string_view DefaultCode(int status) {
  switch (status) {
    case 401: return "invalid_api_key";
    case 405: return "method_not_allowed";
    case 408: return "request_timeout";
    case 413: return "request_too_large";
    case 415: return "unsupported_media_type";
    case 429: return "rate_limit_exceeded";
    case 503: return "service_unavailable";
    default: return "";
  }
}

constexpr std::size_t kMaxMessage = 600;
constexpr std::size_t kMaxParam = 200;

}  // namespace

std::string Excerpt(std::string_view text, std::size_t max) {
  constexpr std::string_view kGap = " ... ";
  if (text.size() <= max) return std::string(text);
  const auto inside = [text](std::size_t at) { return (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U; };
  const std::size_t kept = max - std::min(max, kGap.size());
  std::size_t head = kept - kept / 3, tail = text.size() - kept / 3;
  while (head > 0 && inside(head)) --head;
  while (tail < text.size() && inside(tail)) ++tail;
  return fmt::format("{}{}{}", text.substr(0, head), kGap, text.substr(tail));
}

std::string ErrorBody(int status, std::string_view message, std::string_view param, std::string_view code) {
  if (code.empty()) code = DefaultCode(status);
  nlohmann::ordered_json error = {
      {"message", Excerpt(message, kMaxMessage)}, {"type", ErrorType(status)}, {"param", nullptr}, {"code", nullptr}};
  if (!param.empty()) error["param"] = Excerpt(param, kMaxParam);
  if (!code.empty()) error["code"] = code;
  return nlohmann::ordered_json{{"error", std::move(error)}}.dump(-1, ' ', false,
                                                                  nlohmann::ordered_json::error_handler_t::replace);
}

HttpResponse ErrorResponse(int status, std::string_view message, std::string_view param, std::string_view code) {
  HttpResponse response;
  response.status = status;
  response.body = ErrorBody(status, message, param, code);
  if (status == 500) response.headers.push_back({"x-should-retry", "false"});
  return response;
}

HttpResponse ErrorResponse(const Error& error) {
  return ErrorResponse(HttpStatus(error.code), error.message, error.param, error.reason);
}

HttpResponse MethodNotAllowed(const std::string& allow) {
  HttpResponse response = ErrorResponse(405, fmt::format("this path answers only {}", allow));
  response.headers.push_back({"Allow", allow});
  return response;
}

void SetRetryAfter(HttpResponse& response, double seconds) {
  const double wait = std::isfinite(seconds) ? std::clamp(seconds, 0.1, 120.0) : 1.0;
  response.headers.push_back({"retry-after", fmt::format("{}", static_cast<int>(std::ceil(wait)))});
  response.headers.push_back({"retry-after-ms", fmt::format("{}", static_cast<int>(std::ceil(wait * 1000)))});
}

}  // namespace quorum::server
