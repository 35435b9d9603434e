#include "server/request_head.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace quorum::server {
namespace {

// RFC 9110 5.6.2: the characters of methods and header names.
bool IsTokenChar(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool IsToken(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), IsTokenChar); }

bool IsControlChar(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Whether the comma-separated list `value` has the element `name`.
bool ListHas(std::string_view value, std::string_view name) {
  while (!value.empty()) {
    const std::size_t comma = std::min(value.find(','), value.size());
    if (EqualsIgnoreCase(Trim(value.substr(0, comma)), name)) return true;
    value.remove_prefix(std::min(comma + 1, value.size()));
  }
  return false;
}

std::optional<HeadRefusal> ParseTarget(std::string_view target, RequestHead& head) {
  if (std::any_of(target.begin(), target.end(), [](char c) { return c <= 0x20 || c == 0x7F; })) {
    return HeadRefusal{400, "the request target has a character that a URL cannot have"};
  }
  // A proxy's absolute form: http://host/path.
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() > scheme.size() && EqualsIgnoreCase(target.substr(0, scheme.size()), scheme)) {
      const std::size_t slash = target.find('/', scheme.size());
      target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
    }
  }
  if (target == "*" && head.method == "OPTIONS") target = "/";
  if (target.empty() || target.front() != '/') return HeadRefusal{400, "the request target is not a path"};
  target = target.substr(0, target.find('#'));
  const std::size_t question = target.find('?');
  if (question != std::string_view::npos) head.query = target.substr(question + 1);
  auto path = PercentDecode(target.substr(0, question));
  if (!path.ok()) return HeadRefusal{400, path.error().message};
  if (std::any_of(path->begin(), path->end(), IsControlChar)) {
    return HeadRefusal{400, "the path has a control character"};
  }
  head.path = std::move(*path);
  return std::nullopt;
}

std::optional<HeadRefusal> ParseRequestLine(std::string_view line, RequestHead& head) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) return HeadRefusal{400, "the request line is malformed"};
  const std::string_view version = line.substr(last + 1);
  head.method = line.substr(0, first);
  if (!IsToken(head.method) || head.method.size() > 20) return HeadRefusal{400, "the request method is malformed"};
  if (version != "HTTP/1.1" && version != "HTTP/1.0") {
    const bool other = version.substr(0, 5) == "HTTP/";
    return HeadRefusal{other ? 505 : 400,
                       other ? "only HTTP/1.0 and HTTP/1.1 are spoken here" : "the request line is malformed"};
  }
  head.minor_version = version.back() - '0';
  return ParseTarget(line.substr(first + 1, last - first - 1), head);
}

std::optional<HeadRefusal> ParseHeaderLine(std::string_view line, RequestHead& head) {
  const std::size_t colon = line.find(':');
  // A space before the colon and a folded line are how two programs come to read two different requests.
  if (colon == std::string_view::npos || !IsToken(line.substr(0, colon))) {
    return HeadRefusal{400, "a header line is malformed"};
  }
  const std::string_view value = Trim(line.substr(colon + 1));
  if (std::any_of(value.begin(), value.end(), [](char c) { return IsControlChar(c) && c != '\t'; })) {
    return HeadRefusal{400, "a header has a control character"};
  }
  head.headers.push_back({std::string(line.substr(0, colon)), std::string(value)});
  return std::nullopt;
}

// Everything that decides where this request ends, and what we cannot do.
std::optional<HeadRefusal> CheckFraming(RequestHead& head) {
  std::size_t hosts = 0, lengths = 0, encodings = 0;
  head.keep_alive = head.minor_version >= 1;
  for (const Header& header : head.headers) {
    if (EqualsIgnoreCase(header.name, "Host")) {
      ++hosts;
    } else if (EqualsIgnoreCase(header.name, "Content-Length")) {
      ++lengths;
      const char* end = header.value.data() + header.value.size();
      const auto parsed = std::from_chars(header.value.data(), end, head.content_length);
      if (header.value.empty() || parsed.ec != std::errc() || parsed.ptr != end) {
        return HeadRefusal{400, "Content-Length is not a number"};
      }
    } else if (EqualsIgnoreCase(header.name, "Transfer-Encoding")) {
      ++encodings;
      if (!EqualsIgnoreCase(header.value, "chunked")) {
        return HeadRefusal{501, "the only Transfer-Encoding that is understood is chunked"};
      }
      head.chunked = true;
    } else if (EqualsIgnoreCase(header.name, "Content-Encoding")) {
      if (!header.value.empty() && !EqualsIgnoreCase(header.value, "identity")) {
        return HeadRefusal{415, "compressed request bodies are not accepted; send the body without Content-Encoding"};
      }
    } else if (EqualsIgnoreCase(header.name, "Expect")) {
      if (!EqualsIgnoreCase(header.value, "100-continue")) {
        return HeadRefusal{417, "the only expectation that is understood is 100-continue"};
      }
      head.expect_continue = head.minor_version >= 1;
    } else if (EqualsIgnoreCase(header.name, "Connection")) {
      if (ListHas(header.value, "keep-alive")) head.keep_alive = true;
      if (ListHas(header.value, "close")) head.keep_alive = false;
    }
  }
  if (hosts > 1 || (hosts == 0 && head.minor_version >= 1)) {
    return HeadRefusal{400, "an HTTP/1.1 request needs exactly one Host header"};
  }
  if (lengths > 1) return HeadRefusal{400, "Content-Length is given more than once"};
  if (encodings > 1) return HeadRefusal{400, "Transfer-Encoding is given more than once"};
  if (lengths > 0 && encodings > 0) {
    return HeadRefusal{400, "Content-Length and Transfer-Encoding contradict each other"};
  }
  if (encodings > 0 && head.minor_version == 0) return HeadRefusal{400, "HTTP/1.0 has no Transfer-Encoding"};
  if (head.method == "HEAD" && head.has_body()) return HeadRefusal{400, "a HEAD request has no body"};
  return std::nullopt;
}

// Empty lines before a request line are skipped (RFC 9112 2.2).
std::string_view SkipEmptyLines(std::string_view bytes) {
  while (bytes.substr(0, 2) == "\r\n") bytes.remove_prefix(2);
  return bytes;
}

}  // namespace

std::size_t FindHeadEnd(std::string_view bytes, std::size_t from) {
  const std::size_t start = bytes.size() - SkipEmptyLines(bytes).size();
  const std::size_t at = bytes.find("\r\n\r\n", std::max(start, from < 3 ? 0 : from - 3));
  return at == std::string_view::npos ? 0 : at + 4;
}

std::optional<HeadRefusal> CheckPartialHead(std::string_view bytes, const HeadLimits& limits) {
  if (bytes.size() > limits.max_head) {
    return HeadRefusal{431, fmt::format("the request head is over {} bytes", limits.max_head)};
  }
  const std::string_view text = SkipEmptyLines(bytes);
  const std::size_t line = text.find("\r\n");
  if (std::min(line, text.size()) > limits.max_request_line) {
    return HeadRefusal{414, fmt::format("the request line is over {} bytes", limits.max_request_line)};
  }
  if (!text.empty() && text.front() != '\r' && !IsTokenChar(text.front())) {
    return HeadRefusal{400, "this is not an HTTP request (TLS is not spoken on this port)"};
  }
  if (line != std::string_view::npos) {
    std::size_t headers = 0;
    for (std::size_t at = line; (at = text.find("\r\n", at + 2)) != std::string_view::npos;) ++headers;
    if (headers > limits.max_headers) {
      return HeadRefusal{431, fmt::format("the request has more than {} headers", limits.max_headers)};
    }
  }
  return std::nullopt;
}

std::optional<HeadRefusal> ParseRequestHead(std::string_view bytes, const HeadLimits& limits, RequestHead& head) {
  head = RequestHead{};
  if (bytes.size() > limits.max_head) return CheckPartialHead(bytes, limits);
  bytes = SkipEmptyLines(bytes);
  const std::size_t line_end = bytes.find("\r\n");
  if (line_end == std::string_view::npos) return HeadRefusal{400, "the request line is malformed"};
  if (line_end > limits.max_request_line) return CheckPartialHead(bytes, limits);
  // A bare CR or LF ends a line for some programs and not for others.
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const bool cr = bytes[i] == '\r', lf = bytes[i] == '\n';
    if ((cr && (i + 1 == bytes.size() || bytes[i + 1] != '\n')) || (lf && (i == 0 || bytes[i - 1] != '\r'))) {
      return HeadRefusal{400, "a line of the request head does not end with CR LF"};
    }
  }
  if (auto refusal = ParseRequestLine(bytes.substr(0, line_end), head)) return refusal;
  bytes.remove_prefix(line_end + 2);
  while (!bytes.empty() && bytes.substr(0, 2) != "\r\n") {
    const std::size_t end = std::min(bytes.find("\r\n"), bytes.size());
    if (head.headers.size() == limits.max_headers) {
      return HeadRefusal{431, fmt::format("the request has more than {} headers", limits.max_headers)};
    }
    if (auto refusal = ParseHeaderLine(bytes.substr(0, end), head)) return refusal;
    bytes.remove_prefix(std::min(end + 2, bytes.size()));
  }
  return CheckFraming(head);
}

}  // namespace quorum::server
