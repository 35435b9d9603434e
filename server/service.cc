#include "server/service.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include <arpa/inet.h>
#include <fmt/format.h>

#include "engine/base/log.h"
#include "server/anthropic_handler.h"
#include "server/chat_handler.h"
#include "server/completion_handler.h"
#include "server/embedding_handler.h"
#include "server/error_body.h"
#include "server/expert_handler.h"
#include "server/info_handlers.h"
#include "server/response_handler.h"
#include "server/stored_response_handler.h"
#include "server/web_page.h"

namespace quorum::server {
namespace {

constexpr std::string_view kModelPrefix = "/v1/models/";
constexpr std::string_view kResponsePrefix = "/v1/responses/";
constexpr std::string_view kAnthropicPrefix = "/v1/messages";  // errors below it have Anthropic's shape

bool PathMatches(std::string_view path, std::string_view pattern) {
  if (pattern.size() > 1 && pattern.back() == '/') {
    return path.size() > pattern.size() && path.substr(0, pattern.size()) == pattern;
  }
  return path == pattern;
}

// "localhost" and names below it, and addresses: what no foreign name server can speak for.
bool IsLocalHost(std::string_view host) {
  if (host.starts_with('[')) return true;  // IPv6
  host = host.substr(0, host.find(':'));
  if (host.ends_with('.')) host.remove_suffix(1);
  constexpr std::string_view kLocal = "localhost", kBelow = ".localhost";
  if (EqualsIgnoreCase(host, kLocal)) return true;
  if (host.size() > kBelow.size() && EqualsIgnoreCase(host.substr(host.size() - kBelow.size()), kBelow)) return true;
  in_addr address{};
  return ::inet_pton(AF_INET, std::string(host).c_str(), &address) == 1;
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
      {"GET", "/page/", Needs::kNothing, &Service::Page},
      {"GET", "/health", Needs::kNothing, &Service::Health},
      {"GET", "/readyz", Needs::kNothing, &Service::Health},
      {"GET", "/livez", Needs::kNothing, &Service::Live},
      {"GET", "/metrics", Needs::kKey, &Service::MetricsText},
      {"GET", "/v1/models", Needs::kModel, &Service::Models},
      {"GET", kModelPrefix, Needs::kModel, &Service::Model},
      {"GET", "/v1/experts", Needs::kModel, &Service::Call<HandleExperts>},
      {"POST", "/v1/chat/completions", Needs::kModel, &Service::Call<HandleChat>},
      {"POST", "/v1/completions", Needs::kModel, &Service::Call<HandleCompletion>},
      {"POST", "/v1/embeddings", Needs::kModel, &Service::Call<HandleEmbeddings>},
      {"POST", "/v1/responses", Needs::kModel, &Service::Responses},
      {"GET", kResponsePrefix, Needs::kKey, &Service::StoredResponse},
      {"DELETE", kResponsePrefix, Needs::kKey, &Service::StoredResponse},
      {"POST", kResponsePrefix, Needs::kKey, &Service::StoredResponse},
      {"POST", "/v1/responses/input_tokens", Needs::kModel, &Service::ResponseTokens},
      {"POST", kAnthropicPrefix, Needs::kModel, &Service::Call<HandleMessages>},
      {"POST", "/v1/messages/count_tokens", Needs::kModel, &Service::Call<HandleCountTokens>},
      {"POST", "/tokenize", Needs::kModel, &Service::Call<HandleTokenize>},
      {"POST", "/detokenize", Needs::kModel, &Service::Call<HandleDetokenize>},
      {"POST", "/apply-template", Needs::kModel, &Service::Call<HandleApplyTemplate>},
  };
  return routes;
}

void Service::SetModel(std::shared_ptr<const ServedModel> model) {
  const std::lock_guard lock(mutex_);
  model_ = std::move(model);
}

HttpResponse Service::Handle(HttpRequest& request) {
  std::string_view route = "other";
  if (options_.log_prompts) LogBody(request);
  const auto scope = std::make_shared<RequestScope>(request.request_id);
  HttpResponse response = Dispatch(request, route, scope);
  AddCors(request, response);
  if (request.path.starts_with(kAnthropicPrefix)) {
    response = AnthropicError(std::move(response));
    response.headers.push_back({"request-id", request.request_id});
  }
  metrics_.CountRequest(route, response.status);
  LogAtEnd(request, route, scope, response);
  return response;
}

// Nothing of a prompt is logged unless the operator asked for it.
void Service::LogBody(HttpRequest& request) const {
  request.read_body = [read = std::move(request.read_body), id = request.request_id] {
    Result<std::string> body = read();
    constexpr std::size_t kLogged = 16384;
    if (body.ok()) LogFields(LogLevel::kInfo, "request body", {{"request_id", id}, {"body", body->substr(0, kLogged)}});
    return body;
  };
}

// One line for each answer, when its last byte is out.
void Service::LogAtEnd(const HttpRequest& request, std::string_view route, const std::shared_ptr<RequestScope>& scope,
                       HttpResponse& response) const {
  const LogLevel level = request.method == "POST" || response.status >= 500 ? LogLevel::kInfo : LogLevel::kDebug;
  if (!LogEnabled(level)) return;
  const auto log = [level, scope, method = request.method, route = std::string(route), from = request.remote_addr,
                    status = response.status, streamed = response.stream != nullptr] {
    LogFields(level, "answered",
              {{"request_id", scope->id()},
               {"method", method},
               {"route", route},
               {"status", fmt::format("{}", status)},
               {"seconds", fmt::format("{:.3f}", scope->seconds())},
               {"prompt_tokens", fmt::format("{}", scope->prompt())},
               {"cached_tokens", fmt::format("{}", scope->cached())},
               {"generated_tokens", fmt::format("{}", scope->generated())},
               {"streamed", streamed ? "true" : "false"},
               {"key", scope->key_name()},
               {"from", from}});
  };
  if (!response.stream) {
    log();
    return;
  }
  response.stream = [write = std::move(response.stream), log](StreamWriter& out) {
    write(out);
    log();
  };
}

HttpResponse Service::Dispatch(HttpRequest& request, std::string_view& route_name,
                               const std::shared_ptr<RequestScope>& scope) {
  const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
  const Route* found = nullptr;
  std::string allow;
  for (const Route& route : Routes()) {
    if (!PathMatches(request.path, route.path)) continue;
    route_name = route.path;
    if (route.method == method) found = &route;  // the most particular comes last
    if (allow.find(route.method) != std::string::npos) continue;
    allow += fmt::format("{}{}", allow.empty() ? "" : ", ", route.method);
    if (route.method == "GET") allow += ", HEAD";
  }
  if (request.method == "OPTIONS") return Preflight(allow.empty() ? "OPTIONS" : allow + ", OPTIONS");
  if (method != "GET" && !OriginAllowed(request)) {
    return ErrorResponse(403, "pages of another origin may not use this server (--cors-origin allows one)", {},
                         "origin_not_allowed");
  }
  if (found == nullptr || found->needs != Needs::kNothing) {
    const auto account = options_.keys.Check(request);
    if (!account.ok()) {
      HttpResponse response = ErrorResponse(account.error());
      response.headers.push_back({"WWW-Authenticate", "Bearer"});
      return response;
    }
    if (*account != nullptr) scope->NameKey((*account)->name());
    const bool works = found != nullptr && found->needs == Needs::kModel && found->method == "POST";
    if (*account != nullptr && works) {
      if (const auto refusal = (*account)->Enter(KeyAccount::Clock::now()); refusal.has_value()) {
        HttpResponse response = ErrorResponse(429, refusal->message, {}, "rate_limit_exceeded");
        SetRetryAfter(response, refusal->wait);
        return response;
      }
      scope->HoldPlace(*account);
    }
  }
  if (found == nullptr && allow.empty()) {
    return ErrorResponse(404, "there is nothing at this path; the API is under /v1", {}, "not_found");
  }
  if (found == nullptr) return MethodNotAllowed(allow);
  ApiContext context{nullptr,         metrics_, options_.heartbeat, static_cast<std::int64_t>(std::time(nullptr)),
                     options_.strict, scope};
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
  if (origin == nullptr || AllowedOrigin(request) != nullptr) return true;
  const std::string* host = request.FindHeader("Host");
  const std::size_t scheme = origin->find("://");
  const bool same =
      host != nullptr && scheme != std::string::npos && EqualsIgnoreCase(origin->substr(scheme + 3), *host);
  // A foreign name may have been pointed at this machine (DNS rebinding): its pages would then be of the same origin.
  return same && (!options_.only_local || options_.keys.required() || IsLocalHost(*host));
}

const std::string* Service::AllowedOrigin(const HttpRequest& request) const {
  const std::string* origin = request.FindHeader("Origin");
  for (const std::string& allowed : options_.cors_origins) {
    if (allowed == "*" || (origin != nullptr && allowed == *origin)) return &allowed;
  }
  return nullptr;
}

HttpResponse Service::Preflight(std::string_view allow) const {
  HttpResponse response;
  response.status = 204;
  response.headers.push_back({"Allow", std::string(allow)});
  if (!options_.cors_origins.empty()) {
    response.headers.push_back({"Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE, OPTIONS"});
    response.headers.push_back({"Access-Control-Allow-Headers", "*, Authorization, Content-Type"});
    response.headers.push_back({"Access-Control-Max-Age", "86400"});
  }
  return response;
}

void Service::AddCors(const HttpRequest& request, HttpResponse& response) const {
  if (options_.cors_origins.empty()) return;
  const std::string* allowed = AllowedOrigin(request);
  if (allowed == nullptr || *allowed != "*") response.headers.push_back({"Vary", "Origin"});
  if (allowed == nullptr) return;
  response.headers.push_back({"Access-Control-Allow-Origin", *allowed});
  response.headers.push_back(
      {"Access-Control-Expose-Headers", "x-request-id, x-quorum-ignored, x-quorum-clamped, retry-after"});
}

HttpResponse Service::Page(const ApiContext&, HttpRequest& request) {
  const WebFile* file = FindWebFile(request.path);
  if (file == nullptr) return ErrorResponse(404, "the page has no such file", {}, "not_found");
  HttpResponse response;
  response.content_type = file->content_type;
  response.body = file->content;
  response.headers = {{"Content-Security-Policy", std::string(kWebPagePolicy)}, {"Cache-Control", "no-cache"}};
  return response;
}

HttpResponse Service::Live(const ApiContext&, HttpRequest&) { return JsonResponse({{"status", "alive"}}); }

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
    return response;
  }
  Metrics::Model model{context.model->engine->Stats(), {}, {}};
  if (context.model->expert_stats) model.experts = context.model->expert_stats();
  if (context.model->bytes_read) model.bytes_read = context.model->bytes_read();
  response.body = metrics_.Text(&model);
  return response;
}

HttpResponse Service::Models(const ApiContext& context, HttpRequest& request) { return HandleModels(context, request); }

HttpResponse Service::Model(const ApiContext& context, HttpRequest& request) {
  return HandleModel(context, request, std::string_view(request.path).substr(kModelPrefix.size()));
}

HttpResponse Service::Responses(const ApiContext& context, HttpRequest& request) {
  return HandleResponses(context, request, responses_);
}

HttpResponse Service::ResponseTokens(const ApiContext& context, HttpRequest& request) {
  return HandleResponseTokens(context, request, responses_);
}

HttpResponse Service::StoredResponse(const ApiContext& context, HttpRequest& request) {
  return HandleStoredResponse(context, request, std::string_view(request.path).substr(kResponsePrefix.size()),
                              responses_);
}

}  // namespace quorum::server
