#include "server/connection.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/check.h"

namespace quorum::server {
namespace {

using Clock = std::chrono::steady_clock;
constexpr long kNone = -1, kFailed = -2;

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

Connection::Connection(int fd, std::string remote_addr, SSL* tls)
    : fd_(fd), remote_addr_(std::move(remote_addr)), tls_(tls) {}

Connection::~Connection() {
  if (tls_ != nullptr) ::SSL_free(tls_);
  ::close(fd_);
}

long Connection::TlsResult(int result) const {
  if (result > 0) return result;
  const int error = ::SSL_get_error(tls_, result);
  ::ERR_clear_error();
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return kNone;
  return error == SSL_ERROR_ZERO_RETURN ? 0 : kFailed;
}

long Connection::ReceiveSome(char* into, std::size_t max) {
  if (tls_ != nullptr) {
    ::ERR_clear_error();
    return TlsResult(::SSL_read(tls_, into, static_cast<int>(std::min<std::size_t>(max, 1 << 20))));
  }
  ssize_t count = 0;
  do {
    count = ::recv(fd_, into, max, 0);
  } while (count < 0 && errno == EINTR);
  if (count >= 0) return count;
  return errno == EAGAIN || errno == EWOULDBLOCK ? kNone : kFailed;
}

long Connection::SendSome(std::string_view bytes) {
  if (tls_ != nullptr) {
    ::ERR_clear_error();
    const long count =
        TlsResult(::SSL_write(tls_, bytes.data(), static_cast<int>(std::min<std::size_t>(bytes.size(), 1 << 20))));
    return count == 0 ? kFailed : count;
  }
  ssize_t count = 0;
  do {
    count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  if (count >= 0) return count;
  return errno == EAGAIN || errno == EWOULDBLOCK ? kNone : kFailed;
}

Connection::Fill Connection::FillNow(std::size_t max) {
  if (max == 0) return Fill::kNothing;
  Fill filled = Fill::kNothing;
  do {
    const std::size_t old_size = buffer_.size();
    buffer_.resize(old_size + max);
    const long count = ReceiveSome(buffer_.data() + old_size, max);
    buffer_.resize(old_size + static_cast<std::size_t>(std::max(count, 0L)));
    if (count > 0) filled = Fill::kGot;
    if (count > 0) continue;
    if (filled == Fill::kGot || count == kNone) break;
    return count == 0 ? Fill::kEnd : Fill::kError;
    // What a session has decrypted already does not make the socket readable: it is taken now (at most a record).
  } while (tls_ != nullptr && ::SSL_pending(tls_) > 0);
  return filled;
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
    const long count = SendSome(bytes);
    if (count > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
      continue;
    }
    short revents = 0;
    // A session may have to read before it can write (a handshake, a new key); mostly it waits for room.
    const bool reads = tls_ != nullptr && SSL_want_read(tls_) != 0;
    const short wanted = reads ? POLLIN : POLLOUT;
    if (count != kNone || PollUntil(fd_, wanted, Clock::now() + timeout, &revents) <= 0 || (revents & wanted) == 0) {
      write_failed_ = true;
    }
  }
  return !write_failed_;
}

void Connection::WriteNow(std::string_view bytes) {
  if (SendSome(bytes) != static_cast<long>(bytes.size())) write_failed_ = true;
}

Connection::Peer Connection::PeerState() const {
  if (write_failed_) return Peer::kGone;
  pollfd item{fd_, POLLRDHUP, 0};
  if (::poll(&item, 1, 0) <= 0) return Peer::kThere;
  if ((item.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) return Peer::kGone;
  if ((item.revents & POLLRDHUP) == 0) return Peer::kThere;
  return tls_ == nullptr ? Peer::kSilent : Peer::kGone;
}

void Connection::ShutDownWrite() {
  if (tls_ != nullptr && ::SSL_is_init_finished(tls_) != 0) {
    ::ERR_clear_error();
    ::SSL_shutdown(tls_);
  }
  ::shutdown(fd_, SHUT_WR);
}

void Connection::ShutDown() { ::shutdown(fd_, SHUT_RDWR); }

}  // namespace quorum::server
