// What the server counts and times, for Prometheus; prometheus-cpp stays behind this header.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/bytes_read.h"
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
  /// From submission to the first step that computes some of a request.
  void QueueTime(double seconds);
  void TimeToFirstToken(double seconds);
  void InterTokenTime(double seconds);
  /// A generation from submission to its last event, `waited` of it for its first step.
  void GenerationTime(double seconds, double waited);

  /// Seconds until those that wait should have begun, from how long recent generations took once they had. 0.1 to 120.
  double RetryAfter(const engine::EngineStats& stats) const;

  /// What the served model says of itself.
  struct Model {
    engine::EngineStats engine;
    std::optional<engine::ExpertStats> experts;  // nothing: a dense model
    std::optional<engine::BytesRead> bytes_read;
  };
  /// The text exposition format. `model` is null before there is one.
  std::string Text(const Model* model) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace quorum::server
