// What every API handler needs, and what their answers have in common.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/http_message.h"
#include "server/json_input.h"
#include "server/metrics.h"
#include "server/request_scope.h"
#include "server/served_model.h"

namespace quorum::server {

struct ApiContext {
  std::shared_ptr<const ServedModel> model;
  Metrics& metrics;
  std::chrono::milliseconds heartbeat{5'000};  // longest silence of a stream
  std::int64_t now_unix = 0;
  bool strict = false;                  // fields that are not honoured are refused
  std::shared_ptr<RequestScope> scope;  // never null in a handler
};

/// The fields that all chunks, or the whole answer, of one request share.
struct ResponseFrame {
  std::string id;
  std::string object;
  std::int64_t created = 0;
  std::string model;
  std::string fingerprint;

  /// An object with them and `choices`.
  Json With(Json choices) const;
};

/// What a response says about its own computation, where that was asked for: its "moe" and "cache".
struct RequestReports {
  Json moe;
  Json cache;

  bool empty() const { return moe.is_null() && cache.is_null(); }
  void AddTo(Json& answer) const;
};

/// Tokens of a whole request.
struct UsageCount {
  std::int64_t prompt = 0;
  std::int64_t cached = 0;
  std::int64_t completion = 0;
  std::int64_t reasoning = 0;  // of completion
  Json ToJson() const;
};

/// The error of an engine or a parser as an answer, with `retry-after` where trying again makes sense.
HttpResponse ApiError(const ApiContext& context, const Error& error);

/// The same as a JSON document, for a stream whose head is out already.
Json ErrorJson(const Error& error);

/// An answer of one JSON document.
HttpResponse JsonResponse(const Json& value);

/// How `ignored` spells a limit that was lowered to what is possible: it is named in `x-quorum-clamped`.
inline constexpr std::string_view kClamped = "clamped ";

/// In strict mode, refuses a request of which something is not honoured. Before anything is submitted.
Status CheckStrict(const ApiContext& context, const std::vector<std::string>& ignored);

/// Names the fields that were sent and not honoured in `x-quorum-ignored` (nothing silent; DESIGN 1.4), safely and in
/// bounded length.
void SetIgnored(HttpResponse& response, const std::vector<std::string>& ignored);

}  // namespace quorum::server
