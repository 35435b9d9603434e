// The HTTP/1.1 server: sockets, limits and threads; what is answered is one handler's business.
//
// What it holds against hostile clients (tests/server/http_limits_test.cc replays each): connections, heads, headers,
// bodies and waiting are bounded; ambiguous requests are refused; a request whose body was not read ends its
// connection; a connection without a request costs no thread; GET and HEAD have threads of their own, so that a health
// check is answered however many generations run.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/base/result.h"
#include "server/body_reader.h"
#include "server/connection_poller.h"
#include "server/http_message.h"

namespace quorum::server {

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  int port = 8080;  // 0: any free one
  int backlog = 1024;
  int send_buffer = 0;                              // bytes of a connection's kernel buffer; 0: the system's own choice
  std::size_t max_workers = 320;                    // requests with bodies that are answered at once
  std::size_t max_waiting = 64;                     // and those that may wait for a worker; more are refused with 503
  std::size_t light_workers = 8;                    // for requests without a body
  std::chrono::milliseconds write_timeout{10'000};  // a client that reads nothing for so long is cut off
  BodyLimits body;
  std::uint64_t max_bodies_bytes = 64ULL << 20;  // of all bodies over poller.body_ahead at once; others get 503
  std::size_t max_body_readers = 80;             // workers that wait for the rest of a body at once
  PollerOptions poller;
};

class HttpServer {
 public:
  /// Binds and starts to serve: `handler` is called from many threads at once.
  /// Errors: kUnavailable, saying why the address cannot be listened on.
  static Result<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options, HttpHandler handler);

  virtual ~HttpServer() = default;  // Stop(0)

  virtual int port() const = 0;
  virtual std::string url() const = 0;  // "http://127.0.0.1:8080"

  /// Stops accepting, waits up to `grace` for the requests that are being answered, then cuts them off.
  virtual void Stop(std::chrono::milliseconds grace) = 0;
};

}  // namespace quorum::server
