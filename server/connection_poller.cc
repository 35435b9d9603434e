#include "server/connection_poller.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/check.h"
#include "engine/base/log.h"

namespace quorum::server {
namespace {

constexpr int kTickMs = 100;  // how late a deadline may be noticed
constexpr std::size_t kReadStep = 16384;

std::string NumericAddress(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* source = nullptr;
  if (address.ss_family == AF_INET) {
    source = &reinterpret_cast<const sockaddr_in&>(address).sin_addr;
  } else if (address.ss_family == AF_INET6) {
    source = &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
  }
  if (source == nullptr || ::inet_ntop(address.ss_family, source, text.data(), text.size()) == nullptr) return "";
  return text.data();
}

}  // namespace

ConnectionPoller::ConnectionPoller(int listen_fd, PollerOptions options, Dispatch dispatch, Refusal refusal)
    : listen_fd_(listen_fd),
      options_(options),
      dispatch_(std::move(dispatch)),
      refusal_(std::move(refusal)),
      epoll_fd_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  QUORUM_CHECK(epoll_fd_ >= 0 && wake_fd_ >= 0);
  for (const int fd : {listen_fd_, wake_fd_}) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    QUORUM_CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0);
  }
  thread_ = std::thread(&ConnectionPoller::Run, this);
}

ConnectionPoller::~ConnectionPoller() {
  Stop();
  ::close(epoll_fd_);
  ::close(wake_fd_);
}

void ConnectionPoller::Wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

void ConnectionPoller::Stop() {
  if (!stopping_.exchange(true)) {
    Wake();
    thread_.join();
    const std::lock_guard lock(mutex_);
    returned_.clear();
  }
}

void ConnectionPoller::Return(std::shared_ptr<Connection> connection, After after) {
  if (stopping_.load()) {
    connection->ShutDownWrite();
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    returned_.emplace_back(std::move(connection), after);
  }
  Wake();
}

void ConnectionPoller::Run() {
  std::array<epoll_event, 64> events{};
  while (!stopping_.load()) {
    const int count = ::epoll_wait(epoll_fd_, events.data(), static_cast<int>(events.size()), kTickMs);
    for (int i = 0; i < std::max(count, 0); ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == listen_fd_) {
        Accept();
      } else if (fd == wake_fd_) {
        std::uint64_t drained = 0;
        [[maybe_unused]] const ssize_t got = ::read(wake_fd_, &drained, sizeof drained);
      } else {
        OnReadable(fd);
      }
    }
    TakeReturned();
    ExpireDeadlines();
  }
  watched_.clear();
}

void ConnectionPoller::Accept() {
  for (int burst = 0; burst < 64; ++burst) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    const int fd = ::accept4(listen_fd_, reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        if (MakeRoom()) continue;
        // Nothing to close: stop listening for a moment instead of spinning on a ready socket.
        ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, listen_fd_, nullptr);
        accept_again_ = Clock::now() + std::chrono::milliseconds(kTickMs);
        return;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      continue;  // a connection that failed before it was accepted
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ssl_st* session = options_.tls == nullptr ? nullptr : options_.tls->Open(fd);
    auto connection = std::make_shared<Connection>(fd, NumericAddress(address), session);
    if (options_.tls != nullptr && session == nullptr) continue;  // no memory: closed
    ++open_;
    if (open_.load() > options_.max_connections && !MakeRoom()) {
      connection->WriteNow(refusal_({503, "the server has too many connections"}));
      --open_;
      continue;
    }
    Watch(std::move(connection));
  }
}

bool ConnectionPoller::MakeRoom() {
  auto oldest = watched_.end();
  for (auto it = watched_.begin(); it != watched_.end(); ++it) {
    const bool idle = it->second.phase == Phase::kIdle || it->second.phase == Phase::kLinger;
    if (idle && (oldest == watched_.end() || it->second.deadline < oldest->second.deadline)) oldest = it;
  }
  if (oldest == watched_.end()) return false;
  Forget(oldest->first);
  return true;
}

void ConnectionPoller::Watch(std::shared_ptr<Connection> connection) {
  const int fd = connection->fd();
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP;
  event.data.fd = fd;
  if (::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
    --open_;
    return;
  }
  Watched& watched = watched_[fd];
  watched.connection = std::move(connection);
  watched.deadline = Clock::now() + options_.idle_timeout;
  if (!watched.connection->received().empty()) Advance(watched);  // the next request came with the one before
}

void ConnectionPoller::TakeReturned() {
  std::vector<std::pair<std::shared_ptr<Connection>, After>> returned;
  {
    const std::lock_guard lock(mutex_);
    returned.swap(returned_);
  }
  for (auto& [connection, after] : returned) {
    const int fd = connection->fd();
    if (after == After::kKeepAlive) {
      Watch(std::move(connection));
      continue;
    }
    connection->Consume(connection->received().size());
    Watch(std::move(connection));
    if (const auto it = watched_.find(fd); it != watched_.end()) Linger(it->second);
  }
}

void ConnectionPoller::OnReadable(int fd) {
  const auto it = watched_.find(fd);
  if (it == watched_.end()) return;
  Watched& watched = it->second;
  Connection& connection = *watched.connection;
  switch (connection.FillNow(kReadStep)) {
    case Connection::Fill::kGot: break;
    case Connection::Fill::kNothing: return;
    // A client may half close after a whole request; what is incomplete by now stays so.
    case Connection::Fill::kEnd:
    case Connection::Fill::kError: Forget(fd); return;
  }
  if (watched.phase == Phase::kLinger) {
    connection.Consume(connection.received().size());
    return;
  }
  Advance(watched);
}

bool ConnectionPoller::Advance(Watched& watched) {
  Connection& connection = *watched.connection;
  if (watched.phase != Phase::kBody) {
    const std::string_view received = connection.received();
    const std::size_t end = FindHeadEnd(received, watched.searched);
    if (end == 0) {
      watched.searched = received.size();
      if (watched.phase == Phase::kIdle) {
        watched.phase = Phase::kHead;
        watched.deadline = Clock::now() + options_.head_timeout;
      }
      if (const auto refusal = CheckPartialHead(received, options_.head)) {
        Refuse(watched, *refusal);
        return false;
      }
      return true;
    }
    watched.searched = 0;
    if (const auto refusal = ParseRequestHead(received.substr(0, end), options_.head, watched.head)) {
      Refuse(watched, *refusal);
      return false;
    }
    connection.Consume(end);
    watched.phase = Phase::kBody;
    watched.deadline = Clock::now() + options_.body_timeout;
  }
  const RequestHead& head = watched.head;
  if (!head.chunked && !head.expect_continue && head.content_length <= options_.body_ahead &&
      connection.received().size() < head.content_length) {
    return true;
  }
  auto taken = watched.connection;
  RequestHead request = std::move(watched.head);
  const int fd = taken->fd();
  ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
  watched_.erase(fd);  // `watched` is gone; the connection stays counted as open
  if (!dispatch_(taken, std::move(request))) {
    taken->Consume(taken->received().size());
    Watch(taken);
    if (const auto it = watched_.find(fd); it != watched_.end()) {
      Refuse(it->second, {503, "every worker of the server is busy; try again later"});
    }
  }
  return false;
}

void ConnectionPoller::Refuse(Watched& watched, const HeadRefusal& refusal) {
  watched.connection->Consume(watched.connection->received().size());
  watched.connection->WriteNow(refusal_(refusal));
  Linger(watched);
}

// Closing with unread bytes would reset the connection, and the client might never read its answer: say that nothing
// more comes, and read what the client still sends for a moment.
void ConnectionPoller::Linger(Watched& watched) {
  watched.connection->ShutDownWrite();
  watched.phase = Phase::kLinger;
  watched.deadline = Clock::now() + options_.linger_timeout;
}

void ConnectionPoller::Forget(int fd) {
  if (watched_.erase(fd) > 0) --open_;  // closing the descriptor takes it out of the epoll set
}

void ConnectionPoller::ExpireDeadlines() {
  const auto now = Clock::now();
  if (now < next_scan_) return;
  next_scan_ = now + std::chrono::milliseconds(kTickMs);
  if (accept_again_ != Clock::time_point{} && now >= accept_again_) {
    accept_again_ = {};
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = listen_fd_;
    ::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, listen_fd_, &event);
  }
  std::vector<int> expired;  // refusing and forgetting change the map
  for (const auto& [fd, watched] : watched_) {
    if (now >= watched.deadline) expired.push_back(fd);
  }
  for (const int fd : expired) {
    Watched& watched = watched_.at(fd);
    if (watched.phase == Phase::kHead || watched.phase == Phase::kBody) {
      Refuse(watched, {408, "the request did not arrive in time"});
    } else {
      Forget(fd);
    }
  }
}

}  // namespace quorum::server
