#include "tests/support/raw_client.h"

#include <algorithm>
#include <cstdlib>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace quorum::server {
namespace {

constexpr int kPatienceMs = 10'000;

// The chunked body at `at`; its end, or npos while it is incomplete.
std::size_t JoinChunks(const std::string& text, std::size_t at, std::string& body) {
  for (;;) {
    const std::size_t line = text.find("\r\n", at);
    if (line == std::string::npos) return line;
    const std::size_t size = std::strtoul(text.substr(at, line - at).c_str(), nullptr, 16);
    at = line + 2;
    if (text.size() < at + size + 2) return std::string::npos;
    body.append(text, at, size);
    at += size + 2;
    if (size == 0) return at;
  }
}

}  // namespace

RawClient::RawClient(int port, int receive_buffer) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) Close();
}

RawClient::~RawClient() { Close(); }

bool RawClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

void RawClient::HalfClose() { ::shutdown(fd_, SHUT_WR); }

void RawClient::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void RawClient::Reset() {
  const linger now{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  Close();
}

bool RawClient::More(int ms) {
  pollfd item{fd_, POLLIN, 0};
  if (ended_ || ::poll(&item, 1, ms) <= 0) return false;
  char buffer[16384];
  const ssize_t count = ::recv(fd_, buffer, sizeof buffer, 0);
  if (count <= 0) ended_ = true;
  if (count > 0) pending_.append(buffer, static_cast<std::size_t>(count));
  return count > 0;
}

RawResponse RawClient::Read(bool head_only, bool interim) {
  RawResponse response;
  std::size_t head_end = std::string::npos;
  while ((head_end = pending_.find("\r\n\r\n")) == std::string::npos) {
    if (!More(kPatienceMs)) return response;
  }
  response.status = std::atoi(pending_.substr(9, 3).c_str());
  std::size_t at = pending_.find("\r\n") + 2;
  while (at < head_end + 2) {
    const std::size_t end = pending_.find("\r\n", at);
    const std::size_t colon = pending_.find(':', at);
    std::string name = pending_.substr(at, colon - at);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    const std::size_t value = pending_.find_first_not_of(' ', colon + 1);
    response.headers[name] = pending_.substr(value, end - value);
    at = end + 2;
  }
  at = head_end + 4;
  if (response.status < 200) {
    pending_.erase(0, at);
    response.whole = true;
    return interim ? response : Read(head_only, interim);
  }
  if (head_only || response.status == 204) {
    response.whole = true;
  } else if (response.Header("transfer-encoding") == "chunked") {
    std::size_t end = 0;
    while ((end = JoinChunks(pending_, at, response.body = "")) == std::string::npos) {
      if (!More(kPatienceMs)) break;
    }
    response.whole = end != std::string::npos;
    at = response.whole ? end : pending_.size();
  } else if (response.headers.count("content-length") > 0) {
    const std::size_t size = std::strtoul(response.Header("content-length").c_str(), nullptr, 10);
    while (pending_.size() < at + size && More(kPatienceMs)) {
    }
    response.body = pending_.substr(at, size);
    response.whole = response.body.size() == size;
    at = std::min(at + size, pending_.size());
  } else {
    while (More(kPatienceMs)) {
    }
    response.body = pending_.substr(at);
    response.whole = ended_;
    at = pending_.size();
  }
  pending_.erase(0, at);
  return response;
}

bool RawClient::ReadUntil(std::string_view text) {
  while (pending_.find(text) == std::string::npos) {
    if (!More(kPatienceMs)) return false;
  }
  return true;
}

bool RawClient::ClosedWithin(int ms) {
  while (!ended_ && More(ms)) {
  }
  return ended_;
}

std::string RequestText(std::string_view method, std::string_view path, std::string_view body,
                        std::string_view headers) {
  std::string text = std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: test\r\n";
  text += headers;
  if (!body.empty() || method == "POST") text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  text += "\r\n";
  text += body;
  return text;
}

RawResponse Fetch(int port, std::string_view method, std::string_view path, std::string_view body,
                  std::string_view headers) {
  RawClient client(port);
  client.Send(RequestText(method, path, body, headers));
  return client.Read(method == "HEAD");
}

}  // namespace quorum::server
