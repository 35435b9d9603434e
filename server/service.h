// The API: which path is answered by whom, and what holds for all of them (keys, origins, readiness, metrics, log).
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "server/api_context.h"
#include "server/auth.h"
#include "server/http_message.h"
#include "server/metrics.h"
#include "server/response_store.h"

namespace quorum::server {

struct ServiceOptions {
  ApiKeys keys;
  std::vector<std::string> cors_origins = {};  // or "*"; pages of other origins are refused
  bool only_local = false;  // listens on loopback alone: same-origin pages count only under a local name
  std::chrono::milliseconds heartbeat{5'000};
  bool strict = false;       // fields that would be ignored are refused
  bool log_prompts = false;  // request bodies are logged
};

/// Thread-safe.
class Service {
 public:
  explicit Service(ServiceOptions options);

  /// Until then every answer that needs a model is 503.
  void SetModel(std::shared_ptr<const ServedModel> model);
  /// From now on /health and new work are answered with 503; what runs goes on.
  void StartDraining() { draining_.store(true); }

  HttpResponse Handle(HttpRequest& request);

  const Metrics& metrics() const { return metrics_; }

 private:
  enum class Needs { kNothing, kKey, kModel };  // each needs what those before it need
  using Handler = HttpResponse (Service::*)(const ApiContext&, HttpRequest&);
  struct Route {
    std::string_view method;
    std::string_view path;  // ending in '/': everything below it (but "/" is only itself)
    Needs needs;
    Handler handler;
  };
  static const std::vector<Route>& Routes();

  HttpResponse Dispatch(HttpRequest& request, std::string_view& route_name, const std::shared_ptr<RequestScope>& scope);
  HttpResponse Preflight(std::string_view allow) const;
  bool OriginAllowed(const HttpRequest& request) const;
  const std::string* AllowedOrigin(const HttpRequest& request) const;
  void AddCors(const HttpRequest& request, HttpResponse& response) const;
  void LogBody(HttpRequest& request) const;
  void LogAtEnd(const HttpRequest& request, std::string_view route, const std::shared_ptr<RequestScope>& scope,
                HttpResponse& response) const;
  template <HttpResponse (*function)(const ApiContext&, HttpRequest&)>
  HttpResponse Call(const ApiContext& context, HttpRequest& request) {
    return function(context, request);
  }

  HttpResponse Page(const ApiContext& context, HttpRequest& request);
  HttpResponse Live(const ApiContext& context, HttpRequest& request);
  HttpResponse Health(const ApiContext& context, HttpRequest& request);
  HttpResponse MetricsText(const ApiContext& context, HttpRequest& request);
  HttpResponse Models(const ApiContext& context, HttpRequest& request);
  HttpResponse Model(const ApiContext& context, HttpRequest& request);
  HttpResponse Responses(const ApiContext& context, HttpRequest& request);
  HttpResponse ResponseTokens(const ApiContext& context, HttpRequest& request);
  HttpResponse StoredResponse(const ApiContext& context, HttpRequest& request);

  const ServiceOptions options_;
  Metrics metrics_;
  ResponseStore responses_;
  std::atomic<bool> draining_{false};
  mutable std::mutex mutex_;
  std::shared_ptr<const ServedModel> model_;
};

}  // namespace quorum::server
