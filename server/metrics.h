// What the server counts and times, for Prometheus; prometheus-cpp stays behind this header.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/engine.h"
#include "engine/moe_router.h"

namespace quorum::server {

/// Thread-safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  /// One answered HTTP request. `route` is one of the server's own paths, never the client's text.
  void CountRequest(std::string_view route, int status);
  void TimeToFirstToken(double seconds);
  void InterTokenTime(double seconds);
  /// A generation from submission to its last event.
  void GenerationTime(double seconds);

  /// Seconds until a place should be free, from how long recent generations took. 0.1 to 120.
  double RetryAfter(const engine::EngineStats& stats) const;

  /// The text exposition format. `stats` may be null (no model yet), and so may `experts` (a dense model).
  std::string Text(const engine::EngineStats* stats, const engine::ExpertStats* experts) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quorum::server
