#include "server/service.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include <fmt/format.h>

#include "engine/base/log.h"
#include "server/chat_handler.h"
#include "server/completion_handler.h"
#include "server/error_body.h"
#include "server/info_handlers.h"
#include "server/web_page.h"

namespace quorum::server {
namespace {

constexpr std::string_view kModelPrefix = "/v1/models/";

bool PathMatches(std::string_view path, std::string_view pattern) {
  if (pattern.size() > 1 && pattern.back() == '/') {
    return path.size() > pattern.size() && path.substr(0, pattern.size()) == pattern;
  }
  return path == pattern;
}

HttpResponse NotReady(std::string_view message, std::string_view code) {
  HttpResponse response = ErrorResponse(503, message, {}, code);
  SetRetryAfter(response, 2);
  return response;
}

}  // namespace

Service::Service(ServiceOptions options) : options_(std::move(options)) {}

const std::vector<Service::Route>& Service::Routes() {
  static const std::vector<Route> routes = {
      {"GET", "/", Needs::kNothing, &Service::Page},
      {"GET", "/health", Needs::kNothing, &Service::Health},
      {"GET", "/metrics", Needs::kKey, &Service::MetricsText},
      {"GET", "/v1/models", Needs::kModel, &Service::Models},
      {"GET", kModelPrefix, Needs::kModel, &Service::Model},
      {"POST", "/v1/chat/completions", Needs::kModel, &Service::Chat},
      {"POST", "/v1/completions", Needs::kModel, &Service::Completion},
      {"POST", "/tokenize", Needs::kModel, &Service::Tokenize},
      {"POST", "/detokenize", Needs::kModel, &Service::Detokenize},
  };
  return routes;
}

void Service::SetModel(std::shared_ptr<const ServedModel> model) {
  const std::lock_guard lock(mutex_);
  model_ = std::move(model);
}

HttpResponse Service::Handle(HttpRequest& request) {
  std::string_view route = "other";
  HttpResponse response = Dispatch(request, route);
  AddCors(response);
  metrics_.CountRequest(route, response.status);
  Log(LogLevel::kDebug, "{} {} {} {} from {}", request.request_id, request.method, route, response.status,
      request.remote_addr);
  return response;
}

HttpResponse Service::Dispatch(HttpRequest& request, std::string_view& route_name) {
  const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
  const Route* found = nullptr;
  std::string allow;
  for (const Route& route : Routes()) {
    if (!PathMatches(request.path, route.path)) continue;
    route_name = route.path;
    if (route.method == method) found = &route;
    allow += fmt::format("{}{}", allow.empty() ? "" : ", ", route.method);
    if (route.method == "GET") allow += ", HEAD";
  }
  if (request.method == "OPTIONS") return Preflight(allow.empty() ? "OPTIONS" : allow + ", OPTIONS");
  if (method != "GET" && !OriginAllowed(request)) {
    return ErrorResponse(403, "pages of another origin may not use this server (--cors-origin allows one)", {},
                         "origin_not_allowed");
  }
  if (found == nullptr || found->needs != Needs::kNothing) {
    if (const Status checked = options_.keys.Check(request); !checked.ok()) {
      HttpResponse response = ErrorResponse(checked.error());
      response.headers.push_back({"WWW-Authenticate", "Bearer"});
      return response;
    }
  }
  if (found == nullptr && allow.empty()) {
    return ErrorResponse(404, "there is nothing at this path; the API is under /v1", {}, "not_found");
  }
  if (found == nullptr) {
    HttpResponse response = ErrorResponse(405, fmt::format("this path answers only {}", allow));
    response.headers.push_back({"Allow", allow});
    return response;
  }
  ApiContext context{nullptr, metrics_, options_.heartbeat, static_cast<std::int64_t>(std::time(nullptr))};
  {
    const std::lock_guard lock(mutex_);
    context.model = model_;
  }
  if (found->needs == Needs::kModel) {
    if (context.model == nullptr) return NotReady("the model is still being loaded", "model_loading");
    if (found->method == "POST" && draining_.load()) return NotReady("the server is shutting down", "shutting_down");
  }
  return (this->*found->handler)(context, request);
}

// A page of another site that a user visits must not spend this machine's time: browsers send such requests without
// asking first, and name their origin.
bool Service::OriginAllowed(const HttpRequest& request) const {
  const std::string* origin = request.FindHeader("Origin");
  if (origin == nullptr || options_.cors_origin == "*" || *origin == options_.cors_origin) return true;
  const std::string* host = request.FindHeader("Host");
  const std::size_t scheme = origin->find("://");
  return host != nullptr && scheme != std::string::npos && EqualsIgnoreCase(origin->substr(scheme + 3), *host);
}

HttpResponse Service::Preflight(std::string_view allow) const {
  HttpResponse response;
  response.status = 204;
  response.headers.push_back({"Allow", std::string(allow)});
  if (!options_.cors_origin.empty()) {
    response.headers.push_back({"Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS"});
    response.headers.push_back({"Access-Control-Allow-Headers", "*, Authorization, Content-Type"});
    response.headers.push_back({"Access-Control-Max-Age", "86400"});
  }
  return response;
}

void Service::AddCors(HttpResponse& response) const {
  if (options_.cors_origin.empty()) return;
  response.headers.push_back({"Access-Control-Allow-Origin", options_.cors_origin});
  response.headers.push_back({"Access-Control-Expose-Headers", "x-request-id, x-quorum-ignored, retry-after"});
  if (options_.cors_origin != "*") response.headers.push_back({"Vary", "Origin"});
}

HttpResponse Service::Page(const ApiContext&, HttpRequest&) {
  HttpResponse response;
  response.content_type = "text/html; charset=utf-8";
  response.body = WebPage();
  response.headers = {{"Content-Security-Policy", std::string(kWebPagePolicy)}, {"Cache-Control", "no-cache"}};
  return response;
}

HttpResponse Service::Health(const ApiContext& context, HttpRequest&) {
  const char* status = draining_.load() ? "draining" : context.model == nullptr ? "loading" : "ok";
  HttpResponse response = JsonResponse({{"status", status}});
  if (draining_.load() || context.model == nullptr) response.status = 503;
  return response;
}

HttpResponse Service::MetricsText(const ApiContext& context, HttpRequest&) {
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  if (context.model == nullptr) {
    response.body = metrics_.Text(nullptr);
  } else {
    const engine::EngineStats stats = context.model->engine->Stats();
    response.body = metrics_.Text(&stats);
  }
  return response;
}

HttpResponse Service::Models(const ApiContext& context, HttpRequest&) { return HandleModels(context); }

HttpResponse Service::Model(const ApiContext& context, HttpRequest& request) {
  return HandleModel(context, std::string_view(request.path).substr(kModelPrefix.size()));
}

HttpResponse Service::Chat(const ApiContext& context, HttpRequest& request) { return HandleChat(context, request); }

HttpResponse Service::Completion(const ApiContext& context, HttpRequest& request) {
  return HandleCompletion(context, request);
}

HttpResponse Service::Tokenize(const ApiContext& context, HttpRequest& request) {
  return HandleTokenize(context, request);
}

HttpResponse Service::Detokenize(const ApiContext& context, HttpRequest& request) {
  return HandleDetokenize(context, request);
}

}  // namespace quorum::server
