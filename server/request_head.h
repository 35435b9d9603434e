// The head of an HTTP/1.x request (RFC 9112), read strictly: what is malformed or could be read in two ways is refused
// here, before the HTTP library sees a byte of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http_message.h"

namespace quorum::server {

struct HeadLimits {
  std::size_t max_request_line = 8192;  // bytes; longer: 414
  std::size_t max_head = 32768;         // bytes of the whole head; longer: 431
  std::size_t max_headers = 100;        // more: 431
};

struct RequestHead {
  std::string method;
  std::string path;  // percent-decoded
  std::string query;
  int minor_version = 1;  // HTTP/1.minor
  std::vector<Header> headers;
  std::uint64_t content_length = 0;
  bool chunked = false;
  bool keep_alive = true;
  bool expect_continue = false;

  bool has_body() const { return chunked || content_length > 0; }
};

/// An answer that ends the connection.
struct HeadRefusal {
  int status = 400;
  std::string message;
};

/// Length of the head at the start of `bytes`, its blank line included; 0 while it is incomplete.
/// `from` is where an earlier search of the same bytes ended (its size then), to keep the work linear.
std::size_t FindHeadEnd(std::string_view bytes, std::size_t from = 0);

/// What is wrong with a head that is still incomplete: over a limit, or not HTTP at all. Nothing: wait for more.
std::optional<HeadRefusal> CheckPartialHead(std::string_view bytes, const HeadLimits& limits);

/// Reads a complete head (as FindHeadEnd delimits it) into `head`. Returns why it is refused, or nothing.
std::optional<HeadRefusal> ParseRequestHead(std::string_view bytes, const HeadLimits& limits, RequestHead& head);

}  // namespace quorum::server
