#include "server/connection.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/check.h"

namespace quorum::server {
namespace {

using Clock = std::chrono::steady_clock;

// poll() one descriptor until `deadline`; what poll returned, interruptions aside.
int PollUntil(int fd, short events, Clock::time_point deadline, short* revents) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd item{fd, events, 0};
    const int count = ::poll(&item, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000)));
    if (count < 0 && errno == EINTR) continue;
    *revents = item.revents;
    return count;
  }
}

}  // namespace

Connection::Connection(int fd, std::string remote_addr) : fd_(fd), remote_addr_(std::move(remote_addr)) {}

Connection::~Connection() { ::close(fd_); }

Connection::Fill Connection::FillNow(std::size_t max) {
  if (max == 0) return Fill::kNothing;
  const std::size_t old_size = buffer_.size();
  buffer_.resize(old_size + max);
  ssize_t count = 0;
  do {
    count = ::recv(fd_, buffer_.data() + old_size, max, 0);
  } while (count < 0 && errno == EINTR);
  buffer_.resize(old_size + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  if (count > 0) return Fill::kGot;
  if (count == 0) return Fill::kEnd;
  return errno == EAGAIN || errno == EWOULDBLOCK ? Fill::kNothing : Fill::kError;
}

void Connection::Consume(std::size_t count) {
  QUORUM_CHECK(count <= buffer_.size() - consumed_);
  consumed_ += count;
  if (consumed_ == buffer_.size()) {
    buffer_.clear();
    consumed_ = 0;
    if (buffer_.capacity() > 65536) buffer_.shrink_to_fit();
  } else if (consumed_ > 16384) {
    buffer_.erase(0, consumed_);
    consumed_ = 0;
  }
}

Connection::Wait Connection::WaitReadable(std::chrono::milliseconds timeout) const {
  short revents = 0;
  const int count = PollUntil(fd_, POLLIN, Clock::now() + timeout, &revents);
  if (count == 0) return Wait::kTimeout;
  return count > 0 && (revents & POLLIN) != 0 ? Wait::kReady : Wait::kClosed;
}

bool Connection::Write(std::string_view bytes, std::chrono::milliseconds timeout) {
  while (!bytes.empty() && !write_failed_) {
    const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    short revents = 0;
    const bool full = count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (!full || PollUntil(fd_, POLLOUT, Clock::now() + timeout, &revents) <= 0 || (revents & POLLOUT) == 0) {
      write_failed_ = true;
    }
  }
  return !write_failed_;
}

void Connection::WriteNow(std::string_view bytes) {
  const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (count != static_cast<ssize_t>(bytes.size())) write_failed_ = true;
}

bool Connection::PeerGone() const {
  if (write_failed_) return true;
  pollfd item{fd_, POLLRDHUP, 0};
  return ::poll(&item, 1, 0) > 0 && (item.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

void Connection::ShutDownWrite() { ::shutdown(fd_, SHUT_WR); }

void Connection::ShutDown() { ::shutdown(fd_, SHUT_RDWR); }

}  // namespace quorum::server
