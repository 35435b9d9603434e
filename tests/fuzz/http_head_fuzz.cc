// HTTP request heads and bodies on any bytes, as they come over a socket: the first byte says into how many pieces they
// are cut. A head that is accepted can be read in one way only.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/check.h"
#include "server/body_reader.h"
#include "server/connection.h"
#include "server/request_head.h"

namespace quorum::server {
namespace {

void CheckHead(const RequestHead& head) {
  int lengths = 0, encodings = 0;
  for (const Header& header : head.headers) {
    lengths += EqualsIgnoreCase(header.name, "Content-Length") ? 1 : 0;
    encodings += EqualsIgnoreCase(header.name, "Transfer-Encoding") ? 1 : 0;
    QUORUM_CHECK(header.name.find_first_of(" \t\r\n:") == std::string::npos);
    QUORUM_CHECK(header.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
  }
  QUORUM_CHECK(lengths + encodings <= 1);
  QUORUM_CHECK(head.chunked == (encodings == 1));
  QUORUM_CHECK(!head.path.empty() && head.path.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
}

void ReadBody(std::string_view rest, const RequestHead& head) {
  int pair[2];
  QUORUM_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
  const ssize_t sent = ::send(pair[0], rest.data(), std::min<std::size_t>(rest.size(), 60'000), MSG_NOSIGNAL);
  ::shutdown(pair[0], SHUT_WR);
  Connection connection(pair[1], "");
  BodyLimits limits;
  limits.max_bytes = 10'000;
  BodyReader body(connection, head, limits);
  char buffer[701];
  std::size_t total = 0;
  while (const std::size_t count = body.Read(buffer, sizeof buffer)) total += count;
  ::close(pair[0]);
  QUORUM_CHECK(body.state() != BodyReader::State::kReading && body.state() != BodyReader::State::kTimeout);
  QUORUM_CHECK(total <= limits.max_bytes && total <= static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
  if (body.complete() && !head.chunked) QUORUM_CHECK(total == head.content_length);
}

void Fuzz(std::string_view text) {
  if (text.empty()) return;
  const std::size_t pieces = static_cast<unsigned char>(text.front()) % 8 + 1;
  text.remove_prefix(1);
  const HeadLimits limits;
  const std::size_t end = FindHeadEnd(text);
  // Found the same when the bytes come in pieces.
  std::size_t searched = 0;
  for (std::size_t i = 1; i <= pieces; ++i) {
    const std::string_view part = text.substr(0, text.size() * i / pieces);
    const std::size_t found = FindHeadEnd(part, searched);
    if (found > 0) {
      QUORUM_CHECK(found == end);
      break;
    }
    (void)CheckPartialHead(part, limits);
    searched = part.size();
    QUORUM_CHECK(i < pieces || end == 0);
  }
  if (end == 0) return;
  RequestHead head;
  const auto refusal = ParseRequestHead(text.substr(0, end), limits, head);
  if (refusal.has_value()) {
    QUORUM_CHECK(refusal->status >= 400 && refusal->status < 600 && !refusal->message.empty());
    return;
  }
  CheckHead(head);
  ReadBody(text.substr(end), head);
}

}  // namespace
}  // namespace quorum::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  quorum::server::Fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
