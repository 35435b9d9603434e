#include "server/listen_socket.h"

#include <cerrno>
#include <memory>
#include <string>
#include <system_error>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace quorum::server {
namespace {

Error CannotListen(const std::string& host, int port, const std::string& reason) {
  return {ErrorCode::kUnavailable, fmt::format("cannot listen on {}:{}: {}", host, port, reason), {}, {}};
}

// The errno of the first call that failed, or 0.
int BindAndListen(int fd, const addrinfo& address, int backlog, int send_buffer) {
  const int on = 1;
  if (::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return errno;
  if (send_buffer > 0 && ::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer) != 0) return errno;
  if (::bind(fd, address.ai_addr, address.ai_addrlen) != 0) return errno;
  return ::listen(fd, backlog) != 0 ? errno : 0;
}

}  // namespace

bool IsLoopback(const std::string& host) {
  in_addr v4{};
  in6_addr v6{};
  if (::inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  if (::inet_pton(AF_INET6, host.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6) != 0;
  return host == "localhost";
}

Result<int> ListenOn(const std::string& host, int port, int backlog, int send_buffer) {
  if (port < 0 || port > 65535) return CannotListen(host, port, "a port is a number from 0 to 65535");
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int failed = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (failed != 0) return CannotListen(host, port, ::gai_strerror(failed));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(list, &::freeaddrinfo);

  int reason = EADDRNOTAVAIL;
  for (const int family : {AF_INET, AF_INET6}) {  // "localhost" is 127.0.0.1 first: what clients try
    for (const addrinfo* address = list; address != nullptr; address = address->ai_next) {
      if (address->ai_family != family) continue;
      const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      if (fd < 0) {
        reason = errno;
        continue;
      }
      reason = BindAndListen(fd, *address, backlog, send_buffer);
      if (reason == 0) return fd;
      ::close(fd);
      if (reason == EADDRINUSE) break;
    }
    if (reason == EADDRINUSE) break;
  }
  if (reason == EADDRINUSE) {
    return CannotListen(host, port, "the port is in use by another program (choose another with --port, 0 for any)");
  }
  return CannotListen(host, port, std::system_category().message(reason));
}

int BoundPort(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

}  // namespace quorum::server
