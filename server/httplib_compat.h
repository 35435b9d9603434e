// cpp-httplib 0.11 (Debian 12) and 0.18 (Debian 13) behind one face. The only file that includes it, included only by
// http_server.cc.
//
// Neither packaged version is safe on an open port by itself: both buffer without limits, let a client choose between
// two ways to delimit a request, inflate bodies past every limit, and spend a thread on every idle connection. So
// connections are accepted, heads checked and bodies delimited by our own code (connection_poller.h, request_head.h,
// body_reader.h), and the library is handed one checked exchange at a time through its own `Stream`: a canonical head
// that holds nothing of the client's, then the bytes of the body. What is left to the library is what it does well:
// running the handler, and writing the answer (framing, chunks, HEAD).
#pragma once

#include <string>

#include <httplib.h>

namespace quorum::server {

/// The library's server without its sockets.
class HttplibServer : public httplib::Server {
 public:
  /// The library stops chunked answers when its listening socket is closed; it has none here, and any number other
  /// than INVALID_SOCKET tells it to go on.
  HttplibServer() { svr_sock_ = 0; }
  ~HttplibServer() override { svr_sock_ = INVALID_SOCKET; }

  /// Reads one request from `stream`, runs its handler and writes the answer. False when writing failed.
  template <typename AnyStream>
  bool Exchange(AnyStream& stream) {
    bool closed = false;
    // 0.11 asks the stream for the addresses, 0.18 wants them as arguments. Ours are elsewhere (HttpRequest).
    if constexpr (requires {
                    this->process_request(stream, std::string(), 0, std::string(), 0, false, closed, nullptr);
                  }) {
      return this->process_request(stream, std::string(), 0, std::string(), 0, false, closed, nullptr);
    } else {
      return this->process_request(stream, false, closed, nullptr);
    }
  }
};

}  // namespace quorum::server
